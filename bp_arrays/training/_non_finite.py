"""Find the first layer whose output is not finite, after a loss that is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bp_arrays.data import Batch
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.optimizers import SMALLEST_SCALE, TrainingState
from bp_arrays.trees import leaves
from bp_arrays.typing import Array, Backward, ParameterTree

HALF_ADVICE = "; numbers above 65504 are infinite in float16, not with compute_dtype='bfloat16'"


def non_finite_loss(
    model: Model, loss: Loss, theta: Array, batch: Batch, state: TrainingState, index: int
) -> NonFiniteLossError:
    """Return the error for a loss that is not finite, naming the first layer at fault."""
    context = model.context(training=True, needs_input_gradient=False, step=state.step - 1)
    if not is_finite(batch.x, context.xp):
        origin: str | None = "the samples x of that batch, before any layer"
    else:
        origin = _first_non_finite(model.computed_net, model.tree(theta), batch.x, context)
    if origin is None and model.scales_loss and _is_finite_loss(model, loss, theta, batch, context):
        return NonFiniteLossError(
            f"the gradients overflow in float16, in epoch {state.epoch + 1}, batch {index + 1} "
            f"with the smallest scale of the loss, {SMALLEST_SCALE:.1g}, too; the steps before "
            "were skipped. The model keeps its last parameters. compute_dtype='bfloat16' does not "
            "overflow; a smaller loss, or data on a common scale, usually help too"
        )
    where = origin or f"the loss {type(loss).__name__}, all layers being finite"
    return NonFiniteLossError(
        f"the loss became NaN or infinite in epoch {state.epoch + 1}, batch {index + 1}: the "
        f"first values that are not finite come from {where}. The model keeps the last "
        "parameters with a finite loss. A smaller learning rate, ClipByGlobalNorm or data on a "
        f"common scale usually help{HALF_ADVICE if model.scales_loss else ''}"
    )


def _is_finite_loss(model: Model, loss: Loss, theta: Array, batch: Batch, context: Context) -> bool:
    """Return True if the loss itself is finite: it was set to NaN to stop training."""
    objective = Objective(model.computed_net, model.layout, loss)
    _, others = model.current_vectors()
    return is_finite(objective.forward(theta, others, batch, context).loss, context.xp)


def _first_non_finite(net: Layer, params: ParameterTree, x: Array, context: Context) -> str | None:
    """Return the first layer, in order, whose output is not finite; a part before its container."""
    layers: list[str] = []

    def visit(
        layer: Layer, params: ParameterTree, x: Array, ctx: Context
    ) -> tuple[Array, Backward]:
        y, backward = layer.forward(params, x, ctx)
        if not layers and not is_finite(y, ctx.xp):
            layers.append(f"layer {'.'.join(ctx.path) or 'net'} ({type(layer).__name__})")
        return y, backward

    replace(context, visit=visit).forward("", net, params, x, needs_input_gradient=False)
    return layers[0] if layers else None


def is_finite(values: Any, xp: Any) -> bool:
    """Return whether every value of an array, or of a tree of arrays, is finite."""
    return all(bool(xp.all(xp.isfinite(array))) for array in leaves(values))
