"""`CTC`: connectionist temporal classification, labels of a sequence without their times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import argument_error, array_error, check_integer
from bp_arrays.layers import Context
from bp_arrays.losses._loss import Loss, OutputKind, PerSample, Refused
from bp_arrays.typing import Array, Shape

NEVER = -1e30
"""The logarithm of a probability of 0: finite, as −∞ − (−∞) would be NaN."""


@dataclass(frozen=True)
class CTC(Loss):
    """Connectionist temporal classification: −log of the probability of the labels t, at any times.

    At every time the outputs y are logits of the classes, one of which is a blank, p = softmax(y).
    A path, one class for each time, spells the labels that remain when equal neighbors are merged
    and blanks removed; ℓ = −log Σ Π_τ p_τ over all paths that spell t. With γ_τk the probability
    that such a path is at class k at time τ, ∂ℓ/∂y_τk = p_τk − γ_τk.

    Parameters
    ----------
    blank : int, default 0
        The class of the blank.
    padding : int, default -1
        What fills the targets of shorter sequences of labels, at their end; no class.
    reduction : "mean" or "sum", default "mean"

    Raises
    ------
    InputError
        If the blank or the padding is no integer, or the padding a class; in `forward`, if the
        shapes do not fit; in training, for targets that contain the blank, labels after padding,
        and more labels than fit into the times (equal neighbors need a blank between them).

    Notes
    -----
    Outputs are logits (batch, time, classes), targets classes (batch, length). All times take part:
    in padded inputs the network learns to answer the padding with blanks. There is one loss for
    each sample, and weights are per sample. As the sums over paths are computed time after time, in
    the forward and in the backward pass, the number of operations, and JAX's compile time, grow
    with the length.

    PyTorch's `CTCLoss` takes log-probabilities (time, batch, classes), and its "mean" divides the
    loss of each sample by the number of its labels; its "sum" is the same as here. In Keras the
    blank is the last class. Graves et al., "Connectionist Temporal Classification", 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from bp_arrays.layers import Context
    >>> y, t = np.zeros((1, 2, 3)), np.array([[1]])  # the paths 11, 1-, -1, each of 1/9
    >>> value, backward = CTC().forward(y, t, Context(np))
    >>> round(float(np.exp(-value) * 9), 6)
    3.0
    """

    blank: int = 0
    padding: int = -1

    takes_classes: ClassVar[bool] = True
    output_kind: ClassVar[OutputKind | None] = "logits"
    explainable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(self, "blank", at_least=0)
        check_integer(self, "padding")
        if self.padding >= 0:
            raise argument_error("CTC", "padding", self.padding, "a negative integer, no class")

    def per_sample(self, y: Array, t: Array, ctx: Context) -> PerSample:
        xp, times = ctx.xp, y.shape[1]
        shifted = y - xp.max(y, axis=-1, keepdims=True)
        e = xp.exp(shifted)
        total = xp.sum(e, axis=-1, keepdims=True)
        log_p = xp.maximum(shifted - xp.log(total), NEVER)  # of a logit of −∞, too
        states = self._states(t, y, ctx)  # (batch, states, classes): class of each state
        log_q = log_p @ xp.matrix_transpose(states)  # (batch, time, states)
        skips, first, last = self._transitions(t, y, ctx)
        never = xp.full_like(first[:, :1], NEVER)
        twice = xp.concat([never, never], axis=1)

        alpha = [log_q[:, 0, :] + first]  # log of the paths up to a time that end in a state
        for i in range(1, times):
            a = alpha[-1]
            one = xp.concat([never, a[:, :-1]], axis=1)
            two = xp.concat([twice, a[:, :-2]], axis=1) + skips
            alpha.append(log_q[:, i, :] + xp.logaddexp(xp.logaddexp(a, one), two))
        log_z = log_sum(alpha[-1] + last, ctx)

        def derivative(c: Array) -> Array:
            beta = last  # log of the paths after a time, from a state
            gamma = [xp.exp(alpha[-1] + beta - log_z)]
            for i in range(times - 1, 0, -1):
                b = beta + log_q[:, i, :]
                one = xp.concat([b[:, 1:], never], axis=1)
                two = xp.concat([(b + skips)[:, 2:], twice], axis=1)
                beta = xp.logaddexp(xp.logaddexp(b, one), two)
                gamma.append(xp.exp(alpha[i - 1] + beta - log_z))
            gamma.reverse()
            return c * (e / total - xp.stack(gamma, axis=1) @ states)

        return -log_z[:, 0], derivative

    def _states(self, t: Array, y: Array, ctx: Context) -> Array:
        """Return the class of each state as 1 in a row of zeros: a blank, a label, ..., a blank."""
        xp, (rows, length), classes = ctx.xp, t.shape, y.shape[-1]
        number = xp.arange(classes, dtype=t.dtype, device=ctx.device)
        labels = xp.astype(xp.reshape(t, (rows, length, 1)) == number, y.dtype)
        blank = xp.astype(number == self.blank, y.dtype)
        blanks = xp.broadcast_to(blank, (rows, length, classes))
        pairs = xp.reshape(xp.stack([blanks, labels], axis=2), (rows, 2 * length, classes))
        return xp.concat([pairs, blanks[:, :1, :]], axis=1)

    def _transitions(self, t: Array, y: Array, ctx: Context) -> tuple[Array, Array, Array]:
        """Return 0, or NEVER, for a step to a state over the one before it; for a path to start
        and to end in a state. All are (batch, states)."""
        xp, (rows, length) = ctx.xp, t.shape
        changes = xp.astype(t[:, 1:] != t[:, :-1], y.dtype)
        no = xp.zeros((rows, 1), dtype=y.dtype, device=ctx.device)
        labels = xp.concat([no, changes], axis=1)  # no state is two before the first label
        pairs = xp.reshape(xp.stack([xp.zeros_like(labels), labels], axis=2), (rows, 2 * length))
        may_skip = xp.concat([pairs, no], axis=1)
        index = xp.arange(2 * length + 1, dtype=t.dtype, device=ctx.device)
        count = xp.sum(xp.astype(t != self.padding, t.dtype), axis=1, keepdims=True)
        end = 2 * xp.astype(count, t.dtype)
        ends = xp.logical_or(index == end, index == end - 1)
        starts = xp.broadcast_to(index < 2, ends.shape)
        skips = (1.0 - may_skip) * NEVER
        first, last = ((1.0 - xp.astype(each, y.dtype)) * NEVER for each in (starts, ends))
        return skips, first, last

    def counted(self, t: Array) -> Array | None:
        return t != self.padding

    def refused(self, t: Array, y: Shape) -> Refused:
        padded, blank = t == self.padding, t == self.blank
        yield blank, f"labels, other than the blank {self.blank}"
        yield padded[:, :-1] & ~padded[:, 1:], f"the padding {self.padding} at the end only"
        repeated = (t[:, 1:] == t[:, :-1]) & ~padded[:, 1:]
        needed = (~padded).sum(axis=1) + repeated.sum(axis=1)
        yield (
            needed > y[1],
            f"labels that fit into {y[1]} times, with a blank between equal neighbors",
        )

    def check_shapes(self, y: Shape, t: Shape) -> None:
        if len(y) != 3 or y[-1] < 2 or y[-1] <= self.blank:
            expected = f"logits (batch, time, classes), one class the blank {self.blank}"
            raise array_error("CTC", "y", expected, y)
        if len(t) != 2 or t[0] != y[0] or not t[1]:
            raise array_error("CTC", "t", f"labels ({y[0]}, length)", t)


def log_sum(a: Array, ctx: Context) -> Array:
    """Return log Σ eᵃ over the last axis, which is kept."""
    xp = ctx.xp
    largest = xp.max(a, axis=-1, keepdims=True)
    return largest + xp.log(xp.sum(xp.exp(a - largest), axis=-1, keepdims=True))
