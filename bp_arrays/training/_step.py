"""What a training makes small, as a function of the parameters."""

from __future__ import annotations

from collections.abc import Callable

from bp_arrays.data import Batch
from bp_arrays.layers import Context
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.typing import Array, Namespace


def objective_of(
    model: Model, loss: Loss, xp: Namespace | None = None
) -> Callable[[Array, Batch, Context], tuple[Array, Array, Array]]:
    """The function (θ, batch, context) -> (loss, its gradient by θ, output y) of a model.

    `xp` is the namespace that gathers the gradients, the device's own unless given.
    """
    net, layout, fixed = model.net, model.layout, model.fixed_vector
    xp = model.device.xp if xp is None else xp

    def objective(theta: Array, batch: Batch, context: Context) -> tuple[Array, Array, Array]:
        y, backward = net.forward(layout.tree(theta, fixed, xp), batch.x, context)
        value, loss_backward = loss.forward(y, batch.t, context, batch.weight)
        _, gradients = backward(loss_backward())
        return value, layout.gather(gradients, xp), y

    return objective
