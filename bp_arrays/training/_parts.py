"""Parts of a batch: what several processes, or several passes one after the other, compute of it.

An update is made on a batch of all rows of its parts. The gradient of a mean over the batch is

    g = Σ_p ω_p g_p / Σ_p ω_p        ω_p = W_p / rows of the batch

with g_p the gradient of the mean over part p and W_p its divisor, such as its number of rows or the
sum of its sample weights: not a mean of means. Each pass computes ω_p g_p, one sum over the
processes adds up these vectors, and the loss and ω_p, which travel with them. The penalty is added
once, to the sum; clipping, which is a part of the optimizer, sees the sum.

The parameters that a forward pass changes, such as the running values of BatchNorm, are those of
before the update in every part; their changes are averaged over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data import Batch, BlockFeed, Feed, rows_of
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError
from bp_arrays.layers import Dropout, Layer, layers_of
from bp_arrays.losses import CombinedLoss, Loss
from bp_arrays.model import Model
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._pauses import Pauses
from bp_arrays.typing import HostArray

SHARING = "number of processes that share blocks"
"""The name of a setting that must not change in the middle of an epoch."""

EXTRAS = 5
"""The numbers that are summed with a gradient: see `Sums`."""


class Sums(NamedTuple):
    """The sums over the parts of a batch, besides that of the gradients.

    Parameters
    ----------
    omega, loss : float
        Σ ω_p, and Σ ω_p L_p.
    weight : float
        Σ W_p, the divisor of the loss of the whole batch.
    rows : float
    due : float
        The number of processes that have to pause: for a checkpoint, or after a signal.
    """

    omega: float
    loss: float
    weight: float
    rows: float
    due: float


class Part(NamedTuple):
    """Rows of the batch of an update that one pass computes.

    Parameters
    ----------
    batch : Batch, or None
        None for no rows.
    rows, first, total : int
        The number of its rows, of those of the batch before them, and of all of the batch.
    whole : Batch, optional
        The rows of all processes that compute a part with this one, if every process reads them.
    """

    batch: Batch | None
    rows: int
    first: int
    total: int
    whole: Batch | None = None


@dataclass(frozen=True)
class Division:
    """The division of the batch of an update into parts.

    Parameters
    ----------
    accumulate : int, default 1
        The number of batches of an update.
    group : ProcessGroup, optional
        The processes that share each of these batches.
    """

    accumulate: int = 1
    group: ProcessGroup | None = None

    @property
    def is_trivial(self) -> bool:
        """True if every batch is one part."""
        return self.accumulate == 1 and self.size == 1

    @property
    def rank(self) -> int:
        """The number of this process."""
        return 0 if self.group is None else self.group.rank

    @property
    def size(self) -> int:
        """The number of processes."""
        return 1 if self.group is None else self.group.size

    def updates(
        self, feed: Feed, batch_size: int, order: Any, start: int = 0
    ) -> Generator[list[Part]]:
        """Yield this process's parts of the batch of each update; the last may have fewer.

        Parameters
        ----------
        feed : Feed
        batch_size : int
        order
            As for `Feed.epoch`.
        start : int, default 0
            The number of updates to leave out.
        """
        first = start * self.accumulate
        with closing(feed.pieces(batch_size, order, self.rank, self.size, first)) as pieces:
            group = []
            for piece in pieces:
                group.append(piece)
                if len(group) == self.accumulate:
                    yield _parts(group)
                    group = []
            if group:
                yield _parts(group)

    def remaining_updates(
        self, feed: Feed, batch_size: int, order: Any, pauses: Pauses
    ) -> Generator[list[Part]]:
        """Return the updates of an epoch that are left.

        Raises
        ------
        InputError
            If an iterable yields other batches than before the interruption.
        """
        if not pauses.compares(feed):
            return self.updates(feed, batch_size, order, pauses.start)
        updates = self.updates(feed, batch_size, order, pauses.start - 1)
        last = next(updates, None)
        pauses.compare(None if last is None else last[-1].whole, updates)
        return updates

    def steps(self, feed: Feed, batch_size: int) -> int | None:
        """Return the number of updates of an epoch; None if unknown."""
        batches = feed.steps(batch_size, self.size)
        return None if batches is None else -(-batches // self.accumulate)

    def part_of(self, batch: Batch) -> Part:
        """Return this process's own rows as a part of the batch of all processes."""
        rows = rows_of(batch)
        counts = self.gathered(rows)
        return Part(batch, rows, sum(counts[: self.rank]), sum(counts))

    def check_rows(self, rows: float, total: int) -> None:
        """Raise InputError if the parts of a batch are not the whole batch.

        Parameters
        ----------
        rows : float
            The number of rows of all parts, in float32 possibly.
        total : int
            That of the batch, as this process knows it.
        """
        if abs(rows - total) > 1e-6 * total:
            raise InputError(
                f"fit(distributed=): expected a batch of {total} rows in all processes together, "
                f"got {rows:.0f}; every process must read the same data"
            )

    def check_end(self, feed: Feed, sum_of: Callable[[], float]) -> None:
        """Raise InputError if another process has more batches than this one.

        Parameters
        ----------
        feed : Feed
        sum_of : callable
            Takes part in one more sum, as for an update, without rows; returns the rows of all.
        """
        # of arrays and blocks the processes know each other's number of batches
        if self.group is not None and not feed.repeats and (rows := sum_of()):
            raise InputError(
                "fit(distributed=): expected as many batches in all processes, others have "
                f"{rows:.0f} more rows than process {self.rank}; every process must read the same "
                "data"
            )

    def pause(self, pauses: Pauses, totals: Totals, parts: Sequence[Part] = ()) -> None:
        """Do in all processes what is due in one of them after an update by these parts.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After a signal to one of them.
        """
        if self.group is not None:
            pauses.interrupts.pending = max(self.group.gather(pauses.interrupts.pending))
            sums = totals.sums(self.group)
            pauses.begin(lambda: sums)
        pauses.pause(parts[-1].whole if parts else None)

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all processes."""
        return [value] if self.group is None else self.group.gather(value)

    def check(self, model: Model, loss: Loss) -> None:
        """Raise InputError unless the loss of a batch can be computed in parts, on this device."""
        if not self.is_trivial and not loss.is_separable:
            raise InputError(
                f"fit: expected a loss of each sample by itself for accumulate= and distributed=, "
                f"{type(loss).__name__} compares the samples of a batch; train in one process "
                "with accumulate=1"
            )
        if self.group is not None and (why := self.group.why_not_on(model.device)):
            raise InputError(f"fit(distributed=): {why}")


def shares_blocks(division: Division, feed: Feed) -> bool:
    """Return True if the rows that each process reads depend on the number of processes."""
    return isinstance(feed, BlockFeed) and division.size > 1


def _parts(pieces: Sequence[Any]) -> list[Part]:
    total, before = sum(piece.total for piece in pieces), 0
    parts = []
    for piece in pieces:
        first = before + piece.first
        parts.append(Part(piece.batch, piece.rows, first, total, piece.whole))
        before += piece.total
    return parts


def draws_random_numbers(net: Layer) -> bool:
    """Return True if a layer may draw random numbers: Dropout, or a custom one."""
    library = __name__.partition(".")[0]
    return any(
        isinstance(layer, Dropout) or type(layer).__module__.partition(".")[0] != library
        for layer in layers_of(net)
    )


def combined_shares(
    parts: Sequence[Part], model: Model, loss: CombinedLoss, division: Division
) -> list[HostArray]:
    """Return, for each part, the factors of the losses in which their divisors differ.

    The divisor W of a loss with ignored targets or class weights is no multiple of the number of
    rows V, and the part's mean of each loss counts W_p / W, not V_p / V: the factor is
    (W_p / W) / (V_p / V).
    """
    divisors = np.zeros((len(parts), 1 + len(loss.losses)))
    with model.device.activate():
        context = model.context(training=False, needs_input_gradient=False)
        for row, part in zip(divisors, parts, strict=True):
            if part.batch is not None:
                row[:] = _divisors(part, model, loss, context)
    total = divisors.sum(axis=0)
    if division.group is not None:
        own = total
        total = np.empty_like(own)
        division.group.sum_into(own, total)
    fractions = divisors / np.where(total > 0.0, total, 1.0)
    rows = fractions[:, :1]
    return list(fractions[:, 1:] / np.where(rows > 0.0, rows, 1.0))


def _divisors(part: Part, model: Model, loss: CombinedLoss, context: Any) -> list[float]:
    """Return the divisor of the combined loss of a part, and that of each loss."""
    assert part.batch is not None
    _, t, weight = part.batch
    xp, dtype = context.xp, model.device.dtype(model.dtype)

    def zeros(shape: tuple[int, ...]) -> Any:
        return xp.zeros((part.rows, *shape), dtype=dtype, device=context.device)

    y = _map_shapes(zeros, model.output_shape)
    values = [loss.total_weight(t, y, context, weight)]
    values += [each.total_weight(t[key], y[key], context, weight) for key, each in loss.items()]
    return [float(model.device.to_numpy(v)) if hasattr(v, "shape") else v for v in values]


def _map_shapes(function: Any, shapes: Any) -> Any:
    if isinstance(shapes, dict):
        return {name: _map_shapes(function, shape) for name, shape in shapes.items()}
    if any(isinstance(part, (tuple, dict)) for part in shapes):
        return tuple(_map_shapes(function, shape) for shape in shapes)
    return function(shapes)
