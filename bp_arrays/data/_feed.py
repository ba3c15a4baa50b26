"""`Feed`: the interface of every source of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from bp_arrays.trees import Tree
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

    def steps(self, batch_size: int) -> int | None:
        """Return the number of batches per epoch; None if unknown."""
        return None if self.rows is None else -(-self.rows // batch_size)
