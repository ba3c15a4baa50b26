"""`Objective`: the loss of a net on a batch and its gradient, as functions of the parameters.

    loss, weight, g, state, sums = objective.gradient(theta, state, batch, ctx)

Everything that changes is passed in and returned. `fit`, `Model.gradients`, `evaluate`, L-BFGS and
the checks all use this definition; a runner decides only how it is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from bp_arrays.errors import InputError
from bp_arrays.kernels import narrowed
from bp_arrays.layers import Context, Layer
from bp_arrays.losses import Loss
from bp_arrays.model._layout import Layout
from bp_arrays.trees import leaves, map_tree
from bp_arrays.typing import Array, Namespace


class PartFactors(NamedTuple):
    """The factors by which a part of a larger batch contributes to its gradient.

    Parameters
    ----------
    by_weight : array (1,)
        1 / rows of the whole batch: times the divisor of the mean of the part, or its number of
        rows where the divisor is proportional to it, the factor of the gradient.
    shares : array (losses,), optional
        A factor of each loss of a `CombinedLoss`.
    """

    by_weight: Array
    shares: Array | None = None


Penalty = Callable[[Array, Any, Namespace], tuple[Array, Array]]
"""(θ, total weight of the batch, xp) -> (penalty added to its loss, the gradient of that by θ)."""


class Forward(NamedTuple):
    """The result of a forward pass, and the function for its backward pass.

    Parameters
    ----------
    loss : 0-d array
        With the penalty, if there is one.
    weight : 0-d array or float
        The divisor of the mean, a sum of weights; 1 for the reduction "sum".
    state : array
        The non-trainable parameters with the updates of the layers.
    sums : tuple
        The sums of each metric.
    gradients : function
        Yields the gradient of each trainable parameter as a vector, in the order of θ, without
        that of the penalty. To be called once.
    penalty : array or None
        The penalty's gradient by θ.
    """

    loss: Array
    weight: Any
    state: Array
    sums: tuple[tuple[Any, ...], ...]
    gradients: Callable[[], Iterator[Array]]
    penalty: Array | None


class Gradient(NamedTuple):
    """The loss of a batch, its gradient by θ, and the other results of a step; see `Forward`."""

    loss: Array
    weight: Any
    g: Array
    state: Array
    sums: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Objective:
    """The function that training minimizes: the loss of a net's outputs, and a penalty.

    Parameters
    ----------
    net : Layer
    layout : Layout
        The offset of each parameter in the vectors θ and state.
    loss : Loss
    metrics : tuple of metrics
        Computed from the same outputs.
    penalty : function, optional
        A function of θ, part of the loss.
    """

    net: Layer
    layout: Layout
    loss: Loss
    metrics: tuple[Any, ...] = ()
    penalty: Penalty | None = None

    def forward(
        self, theta: Array, state: Array, batch: Any, ctx: Context, scale: PartFactors | None = None
    ) -> Forward:
        """Compute the loss of a batch (x, t, weight), and return the function for its gradients.

        Parameters
        ----------
        theta : array (parameters,)
            The trainable parameters.
        state : array (others,)
            The non-trainable parameters.
        batch : (x, t, weight)
            Checked arrays on the device; weight may be None.
        ctx : Context
        scale : PartFactors, optional
            If the batch is a part of a larger one: the gradient, not the loss, is its contribution
            to that of the whole batch.
        """
        xp = ctx.xp
        x, t, sample_weight = batch
        y, backward = self.net.forward(self.layout.tree(theta, state, xp), x, ctx)
        options = {} if scale is None or scale.shares is None else {"shares": scale.shares}
        ctx_of_loss = replace(ctx, x=x)
        loss, loss_backward = self.loss.forward(y, t, ctx_of_loss, sample_weight, **options)
        weight = self._weight(y, t, ctx, sample_weight)
        penalty_gradient = None
        if self.penalty is not None:
            penalty, penalty_gradient = self.penalty(theta, weight, xp)
            loss = loss + penalty
        options = {} if sample_weight is None else {"weight": sample_weight}
        sums = tuple(metric.sums(y, t, ctx_of_loss, **options) for metric in self.metrics)
        new_state = self.layout.with_updates(state, ctx.state_updates, xp)

        if ctx.state_updates:
            ctx.state_updates.clear()  # what appears from here on came from a backward

        def gradients() -> Iterator[Array]:
            delta = loss_backward()  # ∂L/∂y
            if scale is not None and self.loss.reduction == "mean":
                rows = float(next(leaves(x)).shape[0])
                factor = scale.by_weight * (rows if isinstance(weight, float) else weight)
                delta = map_tree(lambda d: d * narrowed(factor, d.dtype, xp), delta)
            _, by_layer = backward(delta)
            if ctx.state_updates:
                raise InputError(
                    f"update_state({', '.join(path[-1] for path in ctx.state_updates)}): expected "
                    "a call in forward, got one in backward; the new state is read after forward"
                )
            return self.layout.flat(by_layer, theta, xp)

        return Forward(loss, weight, new_state, sums, gradients, penalty_gradient)

    def gradient(
        self, theta: Array, state: Array, batch: Any, ctx: Context, scale: PartFactors | None = None
    ) -> Gradient:
        """Compute the loss of a batch and its gradient by θ; parameters as for `forward`."""
        result = self.forward(theta, state, batch, ctx, scale)
        loss, weight, state, sums, gradients, penalty = result
        parts = list(gradients())
        if not parts:  # a net without trainable parameters
            return Gradient(loss, weight, theta, state, sums)
        g = parts[0] if len(parts) == 1 else ctx.xp.concat(parts)
        if penalty is not None:
            g = g + penalty
        return Gradient(loss, weight, g, state, sums)

    def _weight(self, y: Array, t: Array, ctx: Context, sample_weight: Array | None) -> Any:
        """Return the divisor of the loss of a batch: 1 for the reduction "sum"."""
        if self.loss.reduction != "mean":
            return 1.0
        return self.loss.total_weight(t, y, ctx, sample_weight)
