"""Convolution on NumPy: the columns of a few samples at a time, which stay in the cache.

The columns (im2col) of a whole batch take up kh · kw times its memory, and writing and reading them
takes longer than the product. Those of a few samples, made in one buffer again and again, are
read by the product from the cache; a step needs no more memory for larger batches. Groups of
channels are computed one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bp_arrays.kernels._convolution import (
    convolution,
    convolution_dw,
    convolution_dx,
    turned_kernel,
)
from bp_arrays.kernels._windows import Pair, Windows, size_of
from bp_arrays.typing import Array, HostArray, Namespace

BUFFER_BYTES = 2**19
"""The size of the columns at a time: half of a second-level cache of 1 MiB. Smaller columns of all
groups are made by the standard form, at once."""
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@convolution.native("numpy")
def _(
    x: Array,
    w: Array,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
    out: HostArray | None = None,
) -> Any:
    count = windows.positions(size_of(x))
    if not _suits(x, w, windows, count, groups):
        return NotImplemented
    return _convolve(x, w, windows, (1, 1), count, groups, out)


@convolution_dx.native("numpy")
def _(
    delta: Array,
    w: Array,
    size: Pair,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
    out: HostArray | None = None,
) -> Any:
    if not _suits(delta, w, windows, size, groups):
        return NotImplemented
    spread = tuple((n - 1) * s + 1 for n, s in zip(size_of(delta), windows.stride, strict=True))
    turned = windows.turned(size, (spread[0], spread[1]))
    weight = np.ascontiguousarray(turned_kernel(w, groups, xp))
    return _convolve(delta, weight, turned, windows.stride, size, groups, out)


@convolution_dw.native("numpy")
def _(
    x: Array,
    delta: Array,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
    out: HostArray | None = None,
) -> Any:
    if not _suits(x, delta, windows, size_of(delta), groups):
        return NotImplemented
    if out is None:
        out = np.empty((*windows.kernel, x.shape[3] // groups, delta.shape[3]), x.dtype)
    for inputs, outputs in _channels(x.shape[3], delta.shape[3], groups):
        part, error = out[..., outputs], delta[..., outputs]
        total = np.zeros((math.prod(part.shape[:3]), part.shape[3]), x.dtype)
        product = np.empty_like(total)
        for rows, block in _Columns(x[..., inputs], windows, (1, 1), size_of(delta)).blocks():
            np.dot(block.T, np.ascontiguousarray(error[rows]).reshape(-1, part.shape[3]), product)
            np.add(total, product, out=total)
        part[...] = total.reshape(part.shape)
    return out


def _suits(x: Array, other: Array, windows: Windows, count: Pair, groups: int) -> bool:
    """Return False where the standard form is as fast: one product, none, or many small ones."""
    plain = windows.stride == (1, 1) and windows.padding == ((0, 0), (0, 0))
    size = math.prod((x.shape[0], *count, *windows.kernel, x.shape[3])) * x.dtype.itemsize
    return (
        (groups == 1 or (groups < x.shape[3] and size > BUFFER_BYTES))
        and not (plain and windows.kernel == (1, 1))
        and x.dtype == other.dtype
        and x.dtype in DTYPES
        and min(x.shape) > 0
        and min(other.shape) > 0
    )


def _channels(inputs: int, outputs: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """Yield the channels of each group, those that are read and those that are computed."""
    size_in, size_out = inputs // groups, outputs // groups
    for k in range(groups):
        yield slice(k * size_in, (k + 1) * size_in), slice(k * size_out, (k + 1) * size_out)


def _convolve(
    x: Array,
    w: Array,
    windows: Windows,
    spread: Pair,
    count: Pair,
    groups: int,
    out: HostArray | None,
) -> HostArray:
    if out is None:
        out = np.empty((x.shape[0], *count, w.shape[3]), x.dtype)
    for inputs, outputs in _channels(x.shape[3], w.shape[3], groups):
        # the product writes contiguous memory only
        part = out if groups == 1 else np.empty((*out.shape[:3], w.shape[3] // groups), out.dtype)
        weight = w[..., outputs].reshape(-1, part.shape[3])
        for rows, block in _Columns(x[..., inputs], windows, spread, count).blocks():
            np.dot(block, weight, out=part[rows].reshape(-1, part.shape[3]))
        if groups > 1:
            out[..., outputs] = part
    return out


class _Columns:
    """The columns of images, in blocks that fit into the cache.

    A block is some samples, or some lines of one sample if its columns are larger than the buffer.

    Parameters
    ----------
    x : array (batch, height, width, channels)
    windows : Windows
    spread : pair of int
        Distances between the lines and columns of x in the image; zeros lie between them.
    count : pair of int
        The positions of the windows, down and across.
    """

    def __init__(self, x: HostArray, windows: Windows, spread: Pair, count: Pair) -> None:
        self._batch, *_, channels = x.shape
        self._count, self._inner = count, (*windows.kernel, channels)
        line = count[1] * math.prod(self._inner) * x.dtype.itemsize
        lines = max(1, BUFFER_BYTES // line)
        self._samples = min(self._batch, max(1, lines // count[0]))
        self._lines = count[0] if self._samples > 1 else min(count[0], lines)
        self._x, self._image = x, x
        self._spread, self._windows = spread, windows
        self._copies = spread != (1, 1) or windows.padding != ((0, 0), (0, 0))
        if self._copies:
            (above, _), (left, _) = windows.padding
            size = tuple((n - 1) * s + 1 for n, s in zip(size_of(x), spread, strict=True))
            height, width = windows.padded((size[0], size[1]))
            self._image = np.zeros((self._samples, height, width, channels), x.dtype)
            self._part = (*_reached(size[0], spread[0], above, height),)
            self._side = (*_reached(size[1], spread[1], left, width),)
        self._buffer = np.empty((self._samples, self._lines, count[1], *self._inner), x.dtype)

    def blocks(self) -> Iterator[tuple[Any, HostArray]]:
        """Yield which part of the output a block is (an index), and its columns (rows, K)."""
        (sh, sw), (dh, dw) = self._windows.stride, self._windows.dilation
        n, h, w, c = self._image.strides
        shape = (self._image.shape[0], *self._count, *self._inner)
        every = as_strided(self._image, shape, (n, sh * h, sw * w, dh * h, dw * w, c))
        for start in range(0, self._batch, self._samples):
            stop = min(start + self._samples, self._batch)
            if self._copies:
                self._fill(start, stop)
            first = 0 if self._copies else start
            for top in range(0, self._count[0], self._lines):
                lines = slice(top, min(top + self._lines, self._count[0]))
                part = every[first : first + stop - start, lines]
                columns = self._buffer[: part.shape[0], : part.shape[1]]
                np.copyto(columns, part)
                if part.shape[0] == 1:
                    yield (start, lines), columns.reshape(-1, math.prod(self._inner))
                else:
                    yield slice(start, stop), columns.reshape(-1, math.prod(self._inner))

    def _fill(self, start: int, stop: int) -> None:
        """Copy samples into the padded image, between whose lines there may be zeros."""
        (rows, lines), (columns, sides) = self._part, self._side
        self._image[: stop - start, rows, columns] = self._x[start:stop, lines, sides]


def _reached(size: int, step: int, before: int, padded: int) -> tuple[slice, slice]:
    """Return where an axis lies in the padded image, and the part of it that does.

    A negative padding cuts lines off.
    """
    first = max(0, -(before // step)) if before < 0 else 0
    start = before + first * step
    lines = (size - 1) // step + 1
    last = min(lines, (padded - 1 - before) // step + 1)
    if last <= first:
        return slice(0), slice(0)
    return slice(start, start + (last - first - 1) * step + 1, step), slice(first, last)
