"""`EnsembleLoss`: the sum of the losses of the members of an ensemble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from bp_arrays.checks import argument_error, array_error
from bp_arrays.errors import InputError
from bp_arrays.layers import Context
from bp_arrays.losses._combined import CombinedLoss
from bp_arrays.losses._loss import Loss, OutputKind, Refused
from bp_arrays.trees import Tree, map_tree
from bp_arrays.typing import Array, Namespace, Shape


@dataclass(frozen=True, init=False)
class EnsembleLoss(Loss):
    """The sum of a loss over the members of an `Ensemble`, each against the same targets.

    L = Σ_m L_m with the outputs y[:, m]: the gradient by the weights of a member is that of a net
    by itself, so that learning rates mean the same. Divide the recorded loss by the number of
    members for their mean.

    Parameters
    ----------
    loss : Loss
        The loss of one member. Its targets, weights and reduction are those of the ensemble.

    Notes
    -----
    Sample weights are (batch,), or (batch, members): each member then has its own, such as those of
    `bp.data.bootstrap_weights`. The mean is taken with the total weight of a member on average.

    Raises
    ------
    InputError
        If it is no loss of one output, or one that compares the samples of a batch.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> y, t = np.array([[[1.0], [3.0]]]), np.array([[0.0]])  # one sample, two members
    >>> value, backward = bp.EnsembleLoss(bp.L2Loss()).forward(y, t, bp.Context(np))
    >>> float(value), backward().tolist()
    (5.0, [[[1.0], [3.0]]])
    """

    loss: Loss
    reduction: str = field(init=False)

    def __init__(self, loss: Loss) -> None:
        if not isinstance(loss, Loss) or isinstance(loss, (CombinedLoss, EnsembleLoss)):
            expected = "a loss of one output such as MeanSquaredError()"
            raise argument_error("EnsembleLoss", "loss", loss, expected)
        if loss.compares_samples:
            expected = "a loss of single samples, not one that compares those of a batch"
            raise argument_error("EnsembleLoss", "loss", loss, expected)
        object.__setattr__(self, "loss", loss)
        object.__setattr__(self, "reduction", loss.reduction)

    @property
    def takes_classes(self) -> bool:  # type: ignore[override]
        return self.loss.takes_classes

    @property
    def target_range(self) -> tuple[float, float] | None:  # type: ignore[override]
        return self.loss.target_range

    @property
    def target_values(self) -> tuple[float, ...] | None:  # type: ignore[override]
        return self.loss.target_values

    @property
    def targets_sum_to_one(self) -> bool:  # type: ignore[override]
        return self.loss.targets_sum_to_one

    @property
    def output_kind(self) -> OutputKind | None:  # type: ignore[override]
        return self.loss.output_kind

    @property
    def uses_inputs(self) -> bool:  # type: ignore[override]
        return self.loss.uses_inputs

    def forward(
        self, y: Array, t: Array, ctx: Context, weight: Array | None = None
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the loss of a batch, and the function that returns δ; y is (batch, members, ...).

        The members are further rows of one batch of the inner loss.
        """
        xp = ctx.xp
        self.check_shapes(tuple(y.shape), tuple(t.shape))
        batch, members = y.shape[:2]
        axes = (1, 0, *range(2, y.ndim))
        if weight is not None:
            self.check_weight_shape(tuple(y.shape), tuple(weight.shape))
            weight = self._row_weights(weight, y, xp)

        def repeated(array: Array) -> Array:
            return _repeated(array, members, xp)

        ctx = replace(ctx, x=map_tree(repeated, ctx.x))
        rows = _member_rows(y, xp)
        value, rows_backward = self.loss.forward(rows, repeated(t), ctx, weight)
        # the mean over the rows of all members is that of one member on average
        factor = float(members) if self.reduction == "mean" else 1.0

        def backward() -> Array:
            delta = xp.reshape(rows_backward(), (members, batch, *y.shape[2:]))
            return factor * xp.permute_dims(delta, axes)

        return factor * value, backward

    def per_sample(self, y: Array, t: Array, ctx: Context) -> NoReturn:
        raise InputError("EnsembleLoss: its values are those of the members, call forward")

    def positions(self, y: Shape) -> Shape:
        return self.loss.positions(_of_member(y))

    def weighted_positions(self, y: Shape) -> Shape:
        """Return (batch, members); for a loss of the positions of a sample, their shape."""
        of_member = self.loss.weighted_positions(_of_member(y))
        return y[:2] if of_member == y[:1] else of_member

    def _row_weights(self, weight: Array, y: Array, xp: Namespace) -> Array:
        """Return the weights of the rows of all members: (members * batch, ...)."""
        if self._has_own_weights(weight, y):
            return _member_rows(weight, xp)
        return _repeated(weight, y.shape[1], xp)

    def _has_own_weights(self, weight: Array | None, y: Array) -> bool:
        """Return whether weights are (batch, members), and not those of positions."""
        shape = tuple(y.shape)
        positions = self.loss.weighted_positions(_of_member(shape))
        return weight is not None and weight.ndim == 2 and positions == shape[:1]

    def target_shape(self, y: Shape) -> Shape:
        if len(y) < 3:
            raise self._no_members(y)
        return self.loss.target_shape(_of_member(y))

    def target_classes(self, y: Shape) -> int | None:
        return self.loss.target_classes(_of_member(y))

    def refused(self, t: Array, y: Shape) -> Refused:
        return self.loss.refused(t, _of_member(y))

    def counted(self, t: Array) -> Array | None:
        return self.loss.counted(t)

    def total_weight(self, t: Tree, y: Array, ctx: Context, weight: Array | None) -> Any:
        """Return the divisor of the mean of a batch: that of one member, or of all on average."""
        if weight is None or not self._has_own_weights(weight, y):
            return self.loss.total_weight(t, y[:, 0, ...], ctx, weight)
        xp, members = ctx.xp, y.shape[1]
        t = _repeated(t, members, xp)
        weight = _member_rows(weight, xp)
        return self.loss.total_weight(t, _member_rows(y, xp), ctx, weight) / float(members)

    def _no_members(self, y: Shape) -> InputError:
        expected = "outputs (batch, members, ...) of an Ensemble"
        advice = "write bp.Ensemble(net, members), or the loss without EnsembleLoss"
        return array_error("EnsembleLoss", "y", expected, y, advice)

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) < 2 or len(y) == 2 <= len(t):
            raise self._no_members(y)
        self.loss.check_shapes(_of_member(y), t)


def _of_member(y: Shape) -> Shape:
    """Return the shape of the outputs of one member."""
    return (*y[:1], *y[2:])


def _member_rows(array: Array, xp: Namespace) -> Array:
    """Return arrays (batch, members, ...) as rows, the members one after the other."""
    batch, members = array.shape[:2]
    axes = (1, 0, *range(2, array.ndim))
    return xp.reshape(xp.permute_dims(array, axes), (members * batch, *array.shape[2:]))


def _repeated(array: Array, members: int, xp: Namespace) -> Array:
    """Return a batch once for each member: (members * batch, ...)."""
    shape = tuple(array.shape)
    whole = xp.broadcast_to(xp.expand_dims(array, axis=0), (members, *shape))
    return xp.reshape(whole, (members * shape[0], *shape[1:]))
