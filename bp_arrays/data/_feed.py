"""What every source of batches offers to those who loop over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from bp_arrays.trees import Tree
from bp_arrays.typing import Array

Order = Callable[[int], Any]
"""From the number of an epoch to the order of its rows."""


class BatchIterator(Protocol):
    """Batches one after another; closed where a loop over them ends early."""

    def __iter__(self) -> Iterator[Batch]: ...
    def __next__(self) -> Batch: ...
    def close(self) -> None: ...


class Batch(NamedTuple):
    """Inputs (batch, ...), targets and sample weights (batch,), where there are any.

    x is one array, or a tuple or dict of arrays, as the net takes it.
    """

    x: Tree
    t: Array | None
    weight: Array | None


class Feed(ABC):
    """A data set that was checked, or is checked as it comes, in batches on a device.

    Parameters
    ----------
    rows : int, or None
        How many samples an epoch has; None where nobody knows before the end.
    repeats : bool
        Whether `epoch` with the same arguments gives the same batches again.
    once : bool
        Whether there can be one epoch only.
    """

    rows: int | None
    repeats: bool = True
    once: bool = False

    @abstractmethod
    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> Any:
        """The order of the rows in an epoch, as `epoch` takes it; None for as they lie.

        Raises
        ------
        InputError
            For an order of one's own that is none, or that this source cannot follow.
        """

    @abstractmethod
    def epoch(self, batch_size: int, order: Any) -> BatchIterator:
        """The batches of one pass over the rows."""

    def steps(self, batch_size: int) -> int | None:
        """How many batches an epoch has, where that is known."""
        return None if self.rows is None else -(-self.rows // batch_size)
