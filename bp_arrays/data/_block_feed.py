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

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data._feed import Batch, BatchIterator, Feed, Order
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    BatchSpec,
    as_inputs,
    check_finite,
    check_indices,
    check_not_empty,
    check_numbers,
    check_weights,
    read_samples,
    row_count,
)
from bp_arrays.random import host_generator
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import HostArray

WINDOW_BYTES = 2**26
"""How many bytes of samples a window has, unless its rows are told."""


class HostBatch(NamedTuple):
    """Samples, targets and weights on the host: of a block, a window, or a batch."""

    x: Tree
    t: HostArray | None
    weight: HostArray | None


ABSENT = "no dtype, being absent,"

Window = tuple[HostBatch, HostArray | None]
"""Rows in memory, and the order in which they are used; None for as they lie."""


class Blocks(ABC):
    """A data set on disk as blocks of rows, each of which can be read without the others.

    A format of your own is a subclass: set the three fields, write `read`.

    Attributes
    ----------
    sample_shape : tuple of int
        The shape of one sample; for several inputs, a tuple or dict of shapes.
    dtype : numpy.dtype
        Of the samples; for several inputs, a tuple or dict of dtypes.
    block_rows : sequence of int
        How many rows each block has.
    """

    sample_shape: Any
    dtype: Any
    block_rows: Sequence[int]

    @abstractmethod
    def read(self, block: int) -> tuple[Any, ...]:
        """The block of that number: (x, t) or (x, t, sample_weight), or (x,) without targets.

        Called in a second thread. x is (rows, *sample_shape), or a tuple or dict of such arrays.
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
    spec : BatchSpec
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
        self, spec: BatchSpec, blocks: Blocks, *, window: int | None = None, what: str = ""
    ) -> None:
        self.spec, self.blocks = spec, blocks
        self.rows = blocks.rows
        self.own_inputs = as_inputs(blocks.sample_shape, "sample_shape")
        # arrays of the right shape without memory: what is checked of any samples, before a read
        shapes = map_tree(
            lambda own, dtype: np.broadcast_to(np.zeros((), dtype), (self.rows, *own.shape)),
            self.own_inputs,
            blocks.dtype,
        )
        check_not_empty(read_samples(shapes, spec.inputs, spec.device, f"{what}x"), f"{what}x")
        row_bytes = sum(array.nbytes // self.rows for array in leaves(shapes))
        self.window = window or max(1, WINDOW_BYTES // max(1, row_bytes))
        self._kinds: list[Any] | None = None
        self._t_dtype = spec.dtype

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> tuple[int, int] | None:
        if callable(shuffle):
            raise InputError(
                "shuffle: data that is read block by block takes no order of your own; "
                "use True or False"
            )
        return (seed, epoch) if shuffle else None

    def epoch(self, batch_size: int, order: tuple[int, int] | None) -> BatchIterator:
        batches = self._batches(Prefetch(self._windows(order)), batch_size)
        return Prefetch(batches) if self.spec.device.is_asynchronous else batches

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
            yield window, generator.permutation(row_count(window.x))
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
        window: Any = None
        start = 0
        for block in chosen:
            parts = self._read(block)
            if window is None:
                window = map_tree(lambda a: np.empty((rows, *a.shape[1:]), a.dtype), parts)
            stop = start + row_count(parts.x)
            map_tree(partial(_write, slice(start, stop)), window, parts)
            del parts  # before the next one is read
            start = stop
        return HostBatch(*window)

    def _read(self, block: int) -> HostBatch:
        """One block, checked."""
        blocks, spec = self.blocks, self.spec
        x, t, weight = (*blocks.read(block), None, None)[:3]
        rows = blocks.block_rows[block]
        try:
            x = map_tree(np.asarray, read_samples(x, self.own_inputs, spec.device))
            if row_count(x) != rows:
                raise InputError(f"x: expected {rows} rows, got {row_count(x)}")
            check_indices(x, spec.inputs, spec.device)
            if not isinstance(x, np.ndarray):
                check_numbers(x, spec.inputs, None)
            if spec.has_targets(t):
                t, self._t_dtype = spec.check_targets(t, rows)
            if weight is not None:
                weight = check_weights(weight, rows, spec.device, spec.positions)
        except InputError as error:
            raise type(error)(f"{blocks.place(block)}: {error}") from None
        if isinstance(x, np.ndarray):
            check_finite(x, lambda index: blocks.place(block, *index))
        batch = HostBatch(x, t, weight)
        self._check_alike(block, batch)
        return batch

    def _check_alike(self, block: int, batch: HostBatch) -> None:
        """Raise InputError unless a block is made as the first one that was read."""
        kinds = [map_tree(_kind, part) for part in batch]
        if self._kinds is None:
            self._kinds = kinds
        for name, kind, first in zip(batch._fields, kinds, self._kinds, strict=True):
            if kind != first:
                raise InputError(
                    f"{self.blocks.place(block)}: expected {name} of {first or ABSENT} as in "
                    f"the blocks before, got {kind or ABSENT}"
                )

    # -- from windows to batches on the device -------------------------------------------------

    def _batches(self, windows: Iterator[Window], batch_size: int) -> Generator[Batch]:
        rest: list[HostBatch] = []  # rows that do not fill a batch yet
        held = 0
        for window, order in windows:
            start, rows = 0, row_count(window.x)
            while held + rows - start >= batch_size:
                stop = start + batch_size - held
                yield self._moved([*rest, _rows(window, order, start, stop)])
                rest, held, start = [], 0, stop
            if start < rows:
                # in memory of their own: they are not to hold on to the window
                rest.append(map_tree(np.copy, _rows(window, order, start, rows)))
                held += rows - start
            del window  # or it would live on while the next is waited for
        if rest:
            yield self._moved(rest)

    def _moved(self, parts: list[HostBatch]) -> Batch:
        """These rows, one after another, as one batch on the device."""
        x, t, weight = map_tree(_concatenated, *parts)
        device, dtype = self.spec.device, self.spec.dtype
        with device.activate():
            return Batch(
                self.spec.move(x),
                None if t is None else device.asarray(t, self._t_dtype),
                None if weight is None else device.asarray(weight, dtype),
            )


def _rows(window: HostBatch, order: HostArray | None, start: int, stop: int) -> HostBatch:
    rows: Any = slice(start, stop) if order is None else order[start:stop]
    return HostBatch(*map_tree(lambda array: np.asarray(array[rows]), window))


def _concatenated(*arrays: HostArray) -> HostArray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _write(rows: slice, array: HostArray, values: HostArray) -> None:
    array[rows] = values


def _kind(array: HostArray) -> str:
    return f"dtype {array.dtype.name} and sample shape {array.shape[1:]}"
