"""`Feed`: the interface of every source of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple, Protocol

from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array

Order = Callable[[int], Any]
"""A function from the number of an epoch to the order of its rows."""


class BatchIterator(Protocol):
    """An iterator over batches; close it if the loop ends early."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __next__(self) -> Batch: ...
    def close(self) -> None: ...


class Batch(NamedTuple):
    """Inputs (batch, ...), targets and sample weights (batch,), or None for the last two.

    x is one array, or a tuple or dict of arrays, as the net expects it; so is t, as the loss does.
    """

    x: Tree
    t: Tree
    weight: Array | None


class Piece(NamedTuple):
    """The rows of a batch that one of several processes computes.

    Parameters
    ----------
    batch : Batch, or None
        None if the process has no row of this batch.
    first : int
        The number of rows of the batch before these.
    total : int
        The number of rows of the whole batch.
    whole : Batch, optional
        The whole batch, if every process reads it.
    """

    batch: Batch | None
    first: int
    total: int
    whole: Batch | None = None

    @property
    def rows(self) -> int:
        """The number of rows of the piece."""
        return 0 if self.batch is None else rows_of(self.batch)


class PieceIterator(Protocol):
    """An iterator over pieces; close it if the loop ends early."""

    def __iter__(self) -> Iterator[Piece]: ...
    def __next__(self) -> Piece: ...
    def close(self) -> None: ...


def share_of(rows: int, rank: int, size: int) -> tuple[int, int]:
    """Return the first and the last row + 1 that a process has of a batch.

    >>> [share_of(10, rank, 4) for rank in range(4)]
    [(0, 2), (2, 5), (5, 7), (7, 10)]
    """
    return rows * rank // size, rows * (rank + 1) // size


def rows_of(batch: Batch) -> int:
    """Return the number of rows of a batch."""
    return int(next(leaves(batch.x)).shape[0])


class Feed(ABC):
    """A data set in batches on a device, checked at once or batch by batch.

    Parameters
    ----------
    rows : int, or None
        The number of samples per epoch; None if unknown before the end.
    repeats : bool
        Whether `epoch` with the same arguments yields the same batches again.
    once : bool
        Whether only one epoch is possible.
    """

    rows: int | None
    repeats: bool = True
    once: bool = False

    @abstractmethod
    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> Any:
        """Return the order of the rows in an epoch, for `epoch`; None to keep their order.

        Raises
        ------
        InputError
            If the order that a function returns is invalid, or this source supports none.
        """

    @abstractmethod
    def epoch(self, batch_size: int, order: Any, start: int = 0) -> BatchIterator:
        """Return the batches of one pass over the rows, without the first `start` ones."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a text that is the same for the same data, on any device; else another one."""

    def pieces(
        self, batch_size: int, order: Any, rank: int, size: int, start: int = 0
    ) -> PieceIterator:
        """Return this process's rows of the batches of one pass, as many pieces for each process.

        Parameters
        ----------
        batch_size : int
            Rows of the whole batch.
        order
            As returned by `order`.
        rank, size : int
            The number of this process, from 0, and the number of processes.
        start : int, default 0
            The number of batches to leave out.
        """
        return self._cut(batch_size, order, rank, size, start)

    def _cut(
        self, batch_size: int, order: Any, rank: int, size: int, start: int
    ) -> Generator[Piece]:
        """Yield pieces of batches that every process reads as a whole."""
        with closing(self.epoch(batch_size, order, start)) as batches:
            for batch in batches:
                total = rows_of(batch)
                first, last = share_of(total, rank, size)
                yield piece_of(batch, first, last, total)

    def steps(self, batch_size: int, size: int = 1) -> int | None:
        """Return the number of batches per epoch of `size` processes; None if unknown."""
        return None if self.rows is None else -(-self.rows // batch_size)


def piece_of(batch: Batch, first: int, last: int, total: int) -> Piece:
    """Return adjacent rows of a batch as a piece."""
    if first == last:
        return Piece(None, first, total, batch)
    own = batch
    if last - first < total:
        own = Batch(*map_tree(lambda array: array[first:last, ...], tuple(batch)))
    return Piece(own, first, total, batch)
