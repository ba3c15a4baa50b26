"""`ArrayBlocks`: arrays on disk as blocks of adjacent rows, so that the disk is read in order."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.checks import as_integer
from bp_arrays.data._block_feed import Blocks
from bp_arrays.errors import DataError, InputError
from bp_arrays.readers import mapped_npy
from bp_arrays.typing import Shape

BLOCK_BYTES = 2**22
"""The default number of bytes of samples in a block."""

PathLike = str | os.PathLike[str]


class ArrayBlocks(Blocks):
    """One or more arrays on disk, in blocks of adjacent rows.

    `fit` accepts a memory-mapped array too, and then reads its rows one by one all over the file.
    For a file that is larger than memory and on a network or a spinning disk, blocks are many
    times faster, and their shuffling is slightly less thorough; see `Batches`.

    Parameters
    ----------
    x : array, path, or sequence of them
        Samples (rows, ...): arrays such as np.memmap, or .npy files, which are memory-mapped.
        Several are concatenated; their samples must have the same shape and dtype.
    t, weight : array, path, or sequence of them, optional
        Targets and sample weights, as many arrays as x, each with the same number of rows.
    block_rows : int, optional
        Rows per block; by default those of 4 MiB of samples.

    Raises
    ------
    DataError
        If a file is not a .npy file, or is damaged.
    OSError
        If a file cannot be opened.
    InputError
        If the arrays do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> x, t = np.arange(10.0).reshape(10, 1), np.arange(10)
    >>> blocks = ArrayBlocks([x[:7], x[7:]], [t[:7], t[7:]], block_rows=4)
    >>> blocks.block_rows, blocks.read(2)[1].tolist()
    ([4, 3, 3], [7, 8, 9])
    """

    def __init__(
        self,
        x: PathLike | Any,
        t: PathLike | Any = None,
        weight: PathLike | Any = None,
        *,
        block_rows: int | None = None,
    ) -> None:
        if weight is not None and t is None:
            raise InputError("weight: requires targets t")
        self._names, shards = _opened(x, "x")
        self._shards = [shards]
        for what, argument in (("t", t), ("weight", weight)):
            if argument is not None:
                self._shards.append(_opened(argument, what)[1])
        self._check()
        first = shards[0]
        self.sample_shape: Shape = tuple(first.shape[1:])
        self.dtype = first.dtype.newbyteorder("=")
        if block_rows is None:
            row = first.dtype.itemsize * math.prod(self.sample_shape)
            block_rows = max(1, BLOCK_BYTES // max(1, row))
        else:
            block_rows = as_integer("ArrayBlocks", "block_rows", block_rows, at_least=1)
        self._spans = [
            (shard, start, min(start + block_rows, len(array)))
            for shard, array in enumerate(shards)
            for start in range(0, len(array), block_rows)
        ]
        self.block_rows = [stop - start for _, start, stop in self._spans]

    def read(self, block: int) -> tuple[Any, ...]:
        shard, start, stop = self._spans[block]
        parts = [arrays[shard][start:stop] for arrays in self._shards]
        return tuple(np.array(part, dtype=part.dtype.newbyteorder("=")) for part in parts)

    def describe_location(self, block: int, *index: int) -> str:
        shard, start, stop = self._spans[block]
        name = self._names[shard]
        if not index:
            return f"{name}, rows {start} to {stop - 1}"
        return f"{name}[{', '.join(map(str, (start + index[0], *index[1:])))}]"

    def _check(self) -> None:
        """Raise InputError unless the arrays fit together."""
        for what, arrays in zip(("x", "t", "weight"), self._shards, strict=False):
            if len(arrays) != len(self._names):
                raise InputError(
                    f"{what}: expected {len(self._names)} arrays, as many as in x, "
                    f"got {len(arrays)}"
                )
            for name, array, samples in zip(self._names, arrays, self._shards[0], strict=True):
                if array.ndim == 0 or len(array) != len(samples):
                    raise InputError(
                        f"{what}: expected {len(samples)} rows, as {name} has, got an array of "
                        f"shape {array.shape}"
                    )
                if _row_kind(array) != _row_kind(arrays[0]):
                    raise InputError(
                        f"{what}: expected arrays of one dtype and row shape, {arrays[0].dtype} "
                        f"and {arrays[0].shape[1:]}, got {array.dtype} and {array.shape[1:]} "
                        f"with {name}"
                    )


def _row_kind(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return array.dtype.newbyteorder("="), array.shape[1:]


def _opened(argument: Any, what: str) -> tuple[list[str], list[np.ndarray[Any, Any]]]:
    """Return the names and the arrays of an argument, files memory-mapped."""
    alone = isinstance(argument, (str, os.PathLike, np.ndarray))
    parts: Sequence[Any] = [argument] if alone else list(argument)
    if not parts:
        raise InputError(f"{what}: expected at least one array or .npy file")
    names, arrays = [], []
    for number, part in enumerate(parts):
        if isinstance(part, (str, os.PathLike)):
            names.append(str(part))
            arrays.append(mapped_npy(Path(part)))
        elif isinstance(part, np.ndarray):
            names.append(what if alone else f"{what}[{number}]")
            arrays.append(part)
        else:
            raise InputError(
                f"{what}: expected NumPy arrays or paths of .npy files, got {type(part).__name__}"
            )
        if arrays[-1].ndim == 0 or arrays[-1].dtype.kind not in "biuf":
            raise DataError(
                f"{names[-1]}: expected an array (rows, ...) of real numbers, got shape "
                f"{arrays[-1].shape} and dtype {arrays[-1].dtype}"
            )
    return names, arrays
