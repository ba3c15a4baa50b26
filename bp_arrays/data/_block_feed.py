"""Batches of data that is read block by block: larger than memory, shuffled all the same.

The order of an epoch, drawn on the host and so the same on every device:

    1.  The blocks are put in a random order.
    2.  Consecutive ones make a window: as many as are needed for it to have `window` rows.
    3.  In each window the rows are put in a random order.
    4.  Batches are cut from the windows one after another; one may span two of them.

A block is read once an epoch, whole. In memory are the window in use, the one that a second
thread reads meanwhile, and a block on its way into it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data._feed import Batch, BatchIterator, Feed, Order
from bp_arrays.data._input_spec import Door
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import check_weights, first_not_finite, to_host_array
from bp_arrays.random import host_generator
from bp_arrays.typing import HostArray, Shape

WINDOW_BYTES = 2**26
"""How many bytes of samples a window has, unless its rows are told."""


class HostBatch(NamedTuple):
    """Samples, targets and weights on the host: of a block, a window, or a batch."""

    x: HostArray
    t: HostArray | None
    weight: HostArray | None

    def each(self, function: Callable[[HostArray], HostArray]) -> HostBatch:
        """The function of each of the arrays that are there."""
        t, weight = (None if a is None else function(a) for a in self[1:])
        return HostBatch(function(self.x), t, weight)


Window = tuple[HostBatch, HostArray | None]
"""Rows in memory, and the order in which they are used; None for as they lie."""


class Blocks(ABC):
    """A data set on disk as blocks of rows, each of which can be read without the others.

    A format of your own is a subclass: set the three fields, write `read`.

    Attributes
    ----------
    sample_shape : tuple of int
        The shape of one sample.
    dtype : numpy.dtype
        Of the samples.
    block_rows : sequence of int
        How many rows each block has.
    """

    sample_shape: Shape
    dtype: np.dtype[Any]
    block_rows: Sequence[int]

    @abstractmethod
    def read(self, block: int) -> tuple[Any, ...]:
        """The block of that number: (x, t) or (x, t, sample_weight), or (x,) without targets.

        Called in a second thread. x is (rows, *sample_shape).
        """

    def place(self, block: int, *index: int) -> str:
        """What to call a block, or the number at x[index] of it, in messages."""
        return f"block {block}" + (f", x[{', '.join(map(str, index))}]" if index else "")

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return sum(self.block_rows)


class BlockFeed(Feed):
    """Blocks in batches on a device; each block is checked when it is read.

    Parameters
    ----------
    door : Door
    blocks : Blocks
    window : int, optional
        Rows that are shuffled together; by default as many as 64 MiB of samples hold.

    Raises
    ------
    InputError
        If there are no rows, or the samples have a wrong shape.
    """

    rows: int

    def __init__(
        self, door: Door, blocks: Blocks, *, window: int | None = None, what: str = ""
    ) -> None:
        self.door, self.blocks = door, blocks
        self.rows = blocks.rows
        door.check_shape((self.rows, *blocks.sample_shape), f"{what}x")
        if self.rows == 0:
            raise InputError(f"{what}x is empty: training and evaluation need at least one row")
        row = np.dtype(blocks.dtype).itemsize * math.prod(blocks.sample_shape)
        self.window = window or max(1, WINDOW_BYTES // max(1, row))
        self._kinds: list[tuple[Any, ...]] | None = None
        self._t_dtype = door.dtype

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> tuple[int, int] | None:
        if callable(shuffle):
            raise InputError(
                "shuffle: data that is read block by block takes no order of your own; "
                "use True or False"
            )
        return (seed, epoch) if shuffle else None

    def epoch(self, batch_size: int, order: tuple[int, int] | None) -> BatchIterator:
        batches = self._batches(Prefetch(self._windows(order)), batch_size)
        return Prefetch(batches) if self.door.device.is_asynchronous else batches

    # -- from the disk into windows, in a second thread ----------------------------------------

    def _windows(self, order: tuple[int, int] | None) -> Generator[Window]:
        numbers = [block for block, rows in enumerate(self.blocks.block_rows) if rows]
        if order is None:
            for block in numbers:
                yield self._read(block), None
            return
        generator = host_generator(order[0], "shuffle", order[1])
        for chosen in self._together(generator.permutation(numbers)):
            window = self._joined(chosen)
            yield window, generator.permutation(len(window.x))
            del window  # or it would live on while the next is read

    def _together(self, order: HostArray) -> Iterator[list[int]]:
        """The numbers of the blocks that make a window, window by window."""
        chosen: list[int] = []
        rows = 0
        for block in order.tolist():
            chosen.append(block)
            rows += self.blocks.block_rows[block]
            if rows >= self.window:
                yield chosen
                chosen, rows = [], 0
        if chosen:
            yield chosen

    def _joined(self, chosen: list[int]) -> HostBatch:
        """The blocks as one, without ever holding two copies of it."""
        if len(chosen) == 1:
            return self._read(chosen[0])
        rows = sum(self.blocks.block_rows[block] for block in chosen)
        window, start = None, 0
        for block in chosen:
            parts = self._read(block)
            if window is None:
                window = parts.each(lambda a: np.empty((rows, *a.shape[1:]), a.dtype))
            stop = start + len(parts.x)
            for array, part in zip(window, parts, strict=True):
                if array is not None:
                    array[start:stop] = part
                del part
            del parts  # before the next one is read
            start = stop
        assert window is not None
        return window

    def _read(self, block: int) -> HostBatch:
        """One block, checked."""
        blocks = self.blocks
        x, t, weight = (*blocks.read(block), None, None)[:3]
        rows = blocks.block_rows[block]
        try:
            x = np.asarray(to_host_array(x, "x"))
            if x.shape != (rows, *blocks.sample_shape):
                raise InputError(
                    f"expected samples of shape {(rows, *blocks.sample_shape)}, got {x.shape}"
                )
            if self.door.has_targets(t):
                t, self._t_dtype = self.door.check_targets(t, rows)
            if weight is not None:
                weight = check_weights(weight, rows, self.door.device)
        except InputError as error:
            raise type(error)(f"{blocks.place(block)}: {error}") from None
        bad = first_not_finite(x)
        if bad is not None:
            raise InputError(
                f"{blocks.place(block, *bad)} is {x[bad]}: training data must be finite; drop or "
                "fill such rows first"
            )
        self._check_alike(block, x, t, weight)
        return HostBatch(x, t, weight)

    def _check_alike(self, block: int, *arrays: HostArray | None) -> None:
        """Raise InputError unless a block is made as the first one that was read."""
        kinds = [() if a is None else (a.dtype.name, *a.shape[1:]) for a in arrays]
        if self._kinds is None:
            self._kinds = kinds
        for name, kind, first in zip(Batch._fields, kinds, self._kinds, strict=True):
            if kind != first:
                raise InputError(
                    f"{self.blocks.place(block)}: expected {name} of {_said(first)} as in the "
                    f"blocks before, got {_said(kind)}"
                )

    # -- from windows to batches on the device -------------------------------------------------

    def _batches(self, windows: Iterator[Window], batch_size: int) -> Generator[Batch]:
        rest: list[HostBatch] = []  # rows that do not fill a batch yet
        held = 0
        for window, order in windows:
            start, rows = 0, len(window.x)
            while held + rows - start >= batch_size:
                stop = start + batch_size - held
                yield self._moved([*rest, _rows(window, order, start, stop)])
                rest, held, start = [], 0, stop
            if start < rows:
                # in memory of their own: they are not to hold on to the window
                rest.append(_rows(window, order, start, rows).each(np.copy))
                held += rows - start
            del window  # or it would live on while the next is waited for
        if rest:
            yield self._moved(rest)

    def _moved(self, parts: list[HostBatch]) -> Batch:
        """These rows, one after another, as one batch on the device."""
        x, t, weight = (
            None if arrays[0] is None else arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            for arrays in zip(*parts, strict=True)
        )
        device, dtype = self.door.device, self.door.dtype
        with device.activate():
            return Batch(
                self.door.batch_inputs(x),
                None if t is None else device.asarray(t, self._t_dtype),
                None if weight is None else device.asarray(weight, dtype),
            )


def _rows(window: HostBatch, order: HostArray | None, start: int, stop: int) -> HostBatch:
    rows: Any = slice(start, stop) if order is None else order[start:stop]
    return window.each(lambda array: np.asarray(array[rows]))


def _said(kind: tuple[Any, ...]) -> str:
    return f"dtype {kind[0]} and sample shape {kind[1:]}" if kind else "no dtype, being absent,"
