"""`Blocks` and `BlockFeed`: shuffled batches of data larger than memory, read block by block.

The order of an epoch, drawn on the host and so the same on every device:

    1.  The blocks are put in a random order.
    2.  Consecutive blocks form a window: as many as it needs to have `window` rows.
    3.  The rows of each window are put in a random order.
    4.  Batches are taken from the windows in turn; a batch may span two of them.

A block is read once per epoch, as a whole. Memory holds the window in use, the next one, which a
second thread reads, and one block that is copied into it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data._feed import (
    Batch,
    BatchIterator,
    Feed,
    Order,
    Piece,
    PieceIterator,
    share_of,
)
from bp_arrays.data._fingerprint import fingerprint
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import (
    BatchSpec,
    as_inputs,
    check_finite,
    check_indices,
    check_not_empty,
    check_numbers,
    check_overflow,
    read_samples,
    row_count,
    weight_dtype,
)
from bp_arrays.random import host_generator
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import HostArray

WINDOW_BYTES = 2**26
"""The default number of bytes of samples in a window."""


class HostBatch(NamedTuple):
    """Samples, targets and weights on the host: of a block, a window, or a batch."""

    x: Tree
    t: Tree
    weight: HostArray | None


ABSENT = "no values"

Window = tuple[HostBatch, HostArray | None]
"""Rows in memory, and their order; None for the order in memory."""


class Blocks(ABC):
    """A data set on disk as blocks of rows, each of which can be read without the others.

    For a custom format write a subclass: set the three attributes and define `read`.

    Attributes
    ----------
    sample_shape : tuple of int
        The shape of one sample; for several inputs, a tuple or dict of shapes.
    dtype : numpy.dtype
        Of the samples; for several inputs, a tuple or dict of dtypes.
    block_rows : sequence of int
        The number of rows of each block.
    """

    sample_shape: Any
    dtype: Any
    block_rows: Sequence[int]

    @abstractmethod
    def read(self, block: int) -> tuple[Any, ...]:
        """Return a block: (x, t) or (x, t, sample_weight), or (x,) without targets.

        Called in a second thread. x is (rows, *sample_shape), or a tuple or dict of such arrays.
        """

    def describe_location(self, block: int, *index: int) -> str:
        """Return the name of a block, or of its number x[index], for messages."""
        return f"block {block}" + (f", x[{', '.join(map(str, index))}]" if index else "")

    @property
    def rows(self) -> int:
        """The number of samples."""
        return sum(self.block_rows)


class BlockFeed(Feed):
    """Blocks in batches on a device; each block is checked when it is read.

    Parameters
    ----------
    spec : BatchSpec
    blocks : Blocks
    window : int, optional
        Rows that are shuffled together; by default those of 64 MiB of samples.

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
        self.block_inputs = as_inputs(blocks.sample_shape, "sample_shape")
        # arrays that need no memory, to check names, shapes and dtypes before anything is read
        stand_ins = map_tree(
            lambda part, dtype: np.broadcast_to(np.zeros((), dtype), (self.rows, *part.shape)),
            self.block_inputs,
            blocks.dtype,
        )
        check_not_empty(read_samples(stand_ins, spec.inputs, spec.device, f"{what}x"), f"{what}x")
        row_bytes = sum(array.nbytes // self.rows for array in leaves(stand_ins))
        self.window = window or max(1, WINDOW_BYTES // max(1, row_bytes))
        self._kinds: list[Any] | None = None
        self._t_dtype = spec.dtype

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> tuple[int, int] | None:
        if callable(shuffle):
            raise InputError(
                "shuffle: expected True or False for data that is read block by block, got a "
                "function"
            )
        return (seed, epoch) if shuffle else None

    def fingerprint(self) -> str:
        numbers = [block for block, rows in enumerate(self.blocks.block_rows) if rows]
        ends = [self.blocks.read(block) for block in {numbers[0], numbers[-1]}]
        sizes = fingerprint(np.asarray(self.blocks.block_rows))
        parts = [fingerprint(map_tree(np.asarray, tuple(block))) for block in ends]
        return f"{self.rows} rows, window {self.window} {' '.join([sizes, *parts])}"

    def epoch(
        self, batch_size: int, order: tuple[int, int] | None, start: int = 0
    ) -> BatchIterator:
        numbers, generator = self._blocks_of(order)
        windows = Prefetch(self._windows(numbers, generator, self.window, start * batch_size))
        batches = self._batches(windows, batch_size)
        return Prefetch(batches) if self.spec.device.is_asynchronous else batches

    def pieces(
        self,
        batch_size: int,
        order: tuple[int, int] | None,
        rank: int,
        size: int,
        start: int = 0,
    ) -> PieceIterator:
        """Return pieces of batches from blocks that this process alone reads.

        The blocks, in their order of the epoch, are dealt one by one to the process with the
        fewest rows so far; each shuffles the rows of its own blocks.
        """
        numbers, generator = self._blocks_of(order)
        if size > 1 and order is not None:
            generator = host_generator(order[0], "shuffle", order[1], rank)
        dealt = self._dealt(numbers, size)
        pieces = self._pieces(dealt, generator, batch_size, rank, size, start)
        return Prefetch(pieces) if self.spec.device.is_asynchronous else pieces

    def _pieces(
        self,
        dealt: list[list[int]],
        generator: np.random.Generator | None,
        batch_size: int,
        rank: int,
        size: int,
        start: int,
    ) -> Generator[Piece]:
        shares = self._shares(batch_size, size)
        rows = [sum(self.blocks.block_rows[block] for block in blocks) for blocks in dealt]
        window, skipped = max(1, self.window // size), start * shares[rank]
        windows = Prefetch(self._windows(dealt[rank], generator, window, skipped))
        with closing(self._batches(windows, shares[rank])) as batches:
            for step in range(start, _steps(rows, shares)):
                parts = [
                    min(max(count - step * share, 0), share)
                    for count, share in zip(rows, shares, strict=True)
                ]
                batch = next(batches) if parts[rank] else None
                yield Piece(batch, sum(parts[:rank]), sum(parts))

    def _shares(self, batch_size: int, size: int) -> list[int]:
        """Return the rows of a batch that each process reads from its blocks."""
        filled = sum(rows > 0 for rows in self.blocks.block_rows)
        if batch_size < size or filled < size:
            what = f"batch_size={batch_size}" if batch_size < size else f"{filled} blocks"
            raise InputError(
                f"fit(distributed=): expected batches of {size} rows or more and {size} blocks or "
                f"more, for {size} processes, got {what}; make the blocks smaller (block_rows=) or "
                "start fewer processes"
            )
        spans = [share_of(batch_size, rank, size) for rank in range(size)]
        return [last - first for first, last in spans]

    def _dealt(self, numbers: list[int], size: int) -> list[list[int]]:
        """Return the blocks of each process."""
        dealt: list[list[int]] = [[] for _ in range(size)]
        rows = [0] * size
        for block in numbers:
            rank = rows.index(min(rows))
            dealt[rank].append(block)
            rows[rank] += self.blocks.block_rows[block]
        return dealt

    def steps(self, batch_size: int, size: int = 1) -> int | None:
        if size == 1:
            return super().steps(batch_size)
        return None  # depends on how the blocks of the epoch are dealt

    def _blocks_of(
        self, order: tuple[int, int] | None
    ) -> tuple[list[int], np.random.Generator | None]:
        """Return the numbers of the blocks of an epoch, and what shuffles their rows."""
        numbers = [block for block, rows in enumerate(self.blocks.block_rows) if rows]
        if order is None:
            return numbers, None
        generator = host_generator(order[0], "shuffle", order[1])
        return generator.permutation(numbers).tolist(), generator

    # -- from the disk into windows, in a second thread ----------------------------------------

    def _windows(
        self, numbers: list[int], generator: np.random.Generator | None, size: int, skipped: int
    ) -> Generator[Window]:
        """Yield the windows of an epoch without its first rows; those are not read."""
        block_rows = self.blocks.block_rows
        if generator is None:
            for block in numbers:
                if skipped >= block_rows[block]:
                    skipped -= block_rows[block]
                    continue
                yield self._read(block), np.arange(skipped, block_rows[block]) if skipped else None
                skipped = 0
            return
        for blocks in self._grouped(numbers, size):
            rows = sum(block_rows[block] for block in blocks)
            if skipped >= rows:
                skipped -= rows
                generator.permutation(rows)  # drawn, as the orders that follow depend on it
                continue
            window = self._joined(blocks)
            yield window, generator.permutation(rows)[skipped:]
            skipped = 0
            del window  # frees its memory before the next one is read

    def _grouped(self, numbers: list[int], size: int) -> Iterator[list[int]]:
        """Yield the numbers of the blocks of each window of `size` rows."""
        group: list[int] = []
        rows = 0
        for block in numbers:
            group.append(block)
            rows += self.blocks.block_rows[block]
            if rows >= size:
                yield group
                group, rows = [], 0
        if group:
            yield group

    def _joined(self, blocks: list[int]) -> HostBatch:
        """Return blocks as one window.

        Copied block by block, as a concatenation would need the memory of two windows.
        """
        if len(blocks) == 1:
            return self._read(blocks[0])
        rows = sum(self.blocks.block_rows[block] for block in blocks)
        window: Any = None
        start = 0
        for block in blocks:
            parts = self._read(block)
            if window is None:
                window = map_tree(lambda a: np.empty((rows, *a.shape[1:]), a.dtype), parts)
            stop = start + row_count(parts.x)
            map_tree(partial(_write, slice(start, stop)), window, parts)
            del parts  # frees its memory before the next one is read
            start = stop
        return HostBatch(*window)

    def _read(self, block: int) -> HostBatch:
        """Return one block, checked."""
        blocks, spec = self.blocks, self.spec
        x, t, weight = (*blocks.read(block), None, None)[:3]
        rows = blocks.block_rows[block]
        try:
            x = map_tree(np.asarray, read_samples(x, self.block_inputs, spec.device))
            if row_count(x) != rows:
                raise InputError(f"x: expected {rows} rows, got {row_count(x)}")
            check_indices(x, spec.inputs, spec.device)
            if not isinstance(x, np.ndarray):
                check_numbers(x, spec.inputs, None)
            check_overflow(x, spec.inputs, spec.dtype)
            if spec.has_targets(t):
                t, self._t_dtype = spec.check_targets(t, rows)
            if weight is not None:
                weight = spec.check_weights(weight, rows)
        except InputError as error:
            raise type(error)(f"{blocks.describe_location(block)}: {error}") from None
        if isinstance(x, np.ndarray):
            check_finite(x, lambda index: blocks.describe_location(block, *index))
        batch = HostBatch(x, t, weight)
        self._check_alike(block, batch)
        return batch

    def _check_alike(self, block: int, batch: HostBatch) -> None:
        """Raise InputError unless a block has the dtypes and shapes of the first one read."""
        kinds = [map_tree(_kind, part) for part in batch]
        if self._kinds is None:
            self._kinds = kinds
        for name, kind, first in zip(batch._fields, kinds, self._kinds, strict=True):
            if kind != first:
                where = self.blocks.describe_location(block)
                raise InputError(
                    f"{where}: expected {name} of {first or ABSENT} as in the blocks before, "
                    f"got {kind or ABSENT}"
                )

    # -- from windows to batches on the device -------------------------------------------------

    def _batches(self, windows: Iterator[Window], batch_size: int) -> Generator[Batch]:
        rest: list[HostBatch] = []  # rows that do not fill a batch yet
        waiting = 0
        for window, order in windows:
            start, rows = 0, row_count(window.x) if order is None else len(order)
            while waiting + rows - start >= batch_size:
                stop = start + batch_size - waiting
                yield self._moved([*rest, _rows(window, order, start, stop)])
                rest, waiting, start = [], 0, stop
            if start < rows:
                # a copy, as a view would keep the whole window in memory
                rest.append(map_tree(np.copy, _rows(window, order, start, rows)))
                waiting += rows - start
            del window  # frees its memory while the next one is read
        if rest:
            yield self._moved(rest)

    def _moved(self, parts: list[HostBatch]) -> Batch:
        """Return the concatenated parts as one batch on the device."""
        x, t, weight = map_tree(_concatenated, *parts)
        device, dtype = self.spec.device, self.spec.dtype
        with device.activate():
            return Batch(
                self.spec.move(x),
                None if t is None else map_tree(device.asarray, t, self._t_dtype),
                None if weight is None else device.asarray(weight, weight_dtype(dtype)),
            )


def _steps(rows: list[int], shares: list[int]) -> int:
    """Return the number of batches until every process has read its rows."""
    return max(-(-count // share) for count, share in zip(rows, shares, strict=True))


def _rows(window: HostBatch, order: HostArray | None, start: int, stop: int) -> HostBatch:
    rows: Any = slice(start, stop) if order is None else order[start:stop]
    return HostBatch(*map_tree(lambda array: np.asarray(array[rows]), window))


def _concatenated(*arrays: HostArray) -> HostArray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _write(rows: slice, array: HostArray, values: HostArray) -> None:
    array[rows] = values


def _kind(array: HostArray) -> str:
    return f"dtype {array.dtype.name} and sample shape {array.shape[1:]}"
