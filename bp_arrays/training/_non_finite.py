"""Where a loss that is not finite comes from."""

from __future__ import annotations

from typing import Any

from bp_arrays.data import Batch
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.layers import Context, Layer, Sequential
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import TrainingState
from bp_arrays.typing import Array, ParameterTree


def non_finite_loss(
    model: Model, loss: Loss, theta: Array, batch: Batch, state: TrainingState, index: int
) -> NonFiniteLossError:
    """The error for the batch whose loss is not finite, naming the first layer at fault."""
    context = model.context(training=True, needs_input_gradient=False, step=state.step - 1)
    params = model.tree(theta)
    xp: Any = context.xp
    if not bool(xp.all(xp.isfinite(batch.x))):
        culprit: str | None = "the samples x of that batch, before any layer"
    else:
        culprit, _ = _first_non_finite(model.net, params, batch.x, context, "")
    where = culprit or f"the loss {type(loss).__name__}, all layers being finite"
    return NonFiniteLossError(
        f"the loss became NaN or infinite in epoch {state.epoch + 1}, batch {index + 1}: the "
        f"first values that are not finite come from {where}. The model keeps the last "
        "parameters with a finite loss. A smaller learning rate, ClipByGlobalNorm or data on a "
        "common scale usually help"
    )


def _first_non_finite(
    layer: Layer, params: ParameterTree, x: Array, context: Context, path: str
) -> tuple[str | None, Array]:
    """The first layer, in order, whose output is not finite, and the output of the whole."""
    if isinstance(layer, Sequential):
        for k, part in enumerate(layer):
            name = f"{path}.{k}" if path else str(k)
            culprit, x = _first_non_finite(part, params.get(str(k), {}), x, context, name)
            if culprit:
                return culprit, x
        return None, x
    y, _ = layer.forward(params, x, context)
    xp: Any = context.xp
    if not bool(xp.all(xp.isfinite(y))):
        return f"layer {path or 'net'} ({type(layer).__name__})", y
    return None, y
