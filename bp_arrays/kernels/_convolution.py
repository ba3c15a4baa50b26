"""Convolution and its two gradients, for images (batch, height, width, channels).

    y_nuvo = Σ_ijc x_n,su+di,sv+dj,c w_ijco

for the stride s and the dilation d; x is padded with zeros. With groups, the channels are divided
into that many parts and each part of y is computed from one part of x.

The standard form has three ways, each the fastest where it is used:

- *wrapped rows*, for stride and dilation 1 and at least `WRAPPED` channels: products of views of
  the padded image, no window is copied;
- *columns* (im2col): the windows side by side in a matrix, and one product;
- *depthwise*, for as many groups as channels: elementwise, without a product.

NumPy makes the columns of a few samples at a time (`_numpy_convolution.py`). PyTorch and JAX have
operators of their own, which are three to six times as fast on a CPU.
"""

from __future__ import annotations

import math
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.kernels._precision import narrowed, widened
from bp_arrays.kernels._sum_rows import sum_rows
from bp_arrays.kernels._windows import Pair, Windows, pad, rows_of, size_of, spread
from bp_arrays.typing import Array, Namespace, Shape

WRAPPED = 4
"""The least number of channels for wrapped rows: products of narrower matrices are slow."""


@Kernel
def convolution(
    x: Array, w: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    """Return the convolution of images with a kernel (which is not turned: a correlation).

    Parameters
    ----------
    x : array (batch, height, width, in)
    w : array (kernel height, kernel width, in / groups, out)
    windows : Windows
    groups : int, default 1
    device : object
        The native device for the creation functions of `xp` (None: the default).
    xp : namespace of x

    Returns
    -------
    array (batch, positions down, positions across, out)
    """
    dtype = xp.result_type(x.dtype, w.dtype)
    x, w = widened(x, xp), widened(w, xp)  # sums of many products lose digits in half precision
    count = windows.positions(size_of(x))
    x = pad(x, windows.padding, device=device, xp=xp)
    if _wraps(w.shape, windows, groups):
        y = _Wrapped(size_of(x), x.shape[0], windows.kernel).products(x, w, count, device, xp)
    elif groups == 1:
        columns = _columns(x, windows, count, xp)
        y = columns @ xp.reshape(w, (columns.shape[1], w.shape[3]))
    elif groups == x.shape[3]:
        y = _depthwise(x, w, windows, count, xp)
    else:
        y = _grouped_columns(x, windows, count, groups, xp) @ _grouped_weight(w, groups, xp)
        y = xp.permute_dims(y, (1, 0, 2))  # (groups, rows, ...) -> (rows, groups, ...)
    return narrowed(xp.reshape(y, (x.shape[0], *count, w.shape[3])), dtype, xp)


@Kernel
def convolution_dx(
    delta: Array,
    w: Array,
    size: Pair,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
) -> Array:
    """Return ∂L/∂x of a convolution.

    A pixel is part of several windows; the error of each reaches it through the weight at which
    the pixel lies in that window. As the window moves right, the pixel lies further left in it: the
    sum is a convolution of δ with the turned kernel, in and out exchanged.

    Parameters
    ----------
    delta : array (batch, positions down, positions across, out)
    w : array (kernel height, kernel width, in / groups, out)
    size : pair of int
        (height, width) of x.
    windows, groups, device, xp
        As for `convolution`.

    Returns
    -------
    array (batch, height, width, in)
    """
    delta = spread(delta, windows.stride, device=device, xp=xp)  # δ at the positions it belongs to
    turned = windows.turned(size, size_of(delta))
    weight = turned_kernel(w, groups, xp)
    return convolution.standard(delta, weight, turned, groups, device=device, xp=xp)


@Kernel
def convolution_dw(
    x: Array, delta: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    """Return ∂L/∂w of a convolution: ∂L/∂w_ijco = Σ_nuv x_n,su+di,sv+dj,c δ_nuvo.

    The windows are made again from x: kept from the forward pass they would take up kh · kw times
    the memory of the image.

    Parameters
    ----------
    x : array (batch, height, width, in)
    delta : array (batch, positions down, positions across, out)
    windows, groups, device, xp
        As for `convolution`.

    Returns
    -------
    array (kernel height, kernel width, in / groups, out)
    """
    dtype = x.dtype
    x, delta = widened(x, xp), widened(delta, xp)
    shape = (*windows.kernel, x.shape[3] // groups, delta.shape[3])
    count = size_of(delta)
    x = pad(x, windows.padding, device=device, xp=xp)
    if _wraps(shape, windows, groups):
        wrapped = _Wrapped(size_of(x), x.shape[0], windows.kernel)
        dw = wrapped.weight_gradient(x, delta, device, xp)
    elif groups == 1:
        dw = _columns(x, windows, count, xp).T @ rows_of(delta, xp)
    elif groups == x.shape[3]:
        dw = _depthwise_gradient(x, delta, windows, count, device, xp)
    else:
        rows, width = math.prod(delta.shape[:3]), shape[3] // groups
        error = xp.permute_dims(xp.reshape(delta, (rows, groups, width)), (1, 0, 2))
        columns = _grouped_columns(x, windows, count, groups, xp)
        dw = xp.matrix_transpose(columns) @ error  # (groups, kh · kw · in / groups, out / groups)
        dw = xp.permute_dims(dw, (1, 0, 2))
    return narrowed(xp.reshape(dw, shape), dtype, xp)


# -- wrapped rows ------------------------------------------------------------------------------


def _wraps(weight: Shape, windows: Windows, groups: int) -> bool:
    kh, kw, channels, _ = weight
    plain = groups == 1 and windows.stride == (1, 1) and windows.dilation == (1, 1)
    return plain and kh * kw > 1 and channels >= WRAPPED


class _Wrapped:
    """Convolution on the flat padded image, without copies of its windows.

    In memory the kw neighbors of a pixel in its line follow each other: kw · C numbers. The windows
    at the positions r, r + kw, r + 2 kw, ... do not overlap and are together one contiguous matrix
    (blocks, kw · C), a slice and a reshape. Its product with line i of the kernel, for each of the
    kw residues r, and summed over i, is y at every position of the flat image. Positions at which
    a window would wrap around an edge are computed too, and cut off.
    """

    def __init__(self, size: Pair, batch: int, kernel: Pair) -> None:
        (height, self.width), (self.kh, self.kw) = size, kernel
        self.shape = (batch, height, self.width)
        self.positions = batch * height * self.width
        self.blocks = -(-self.positions // self.kw)
        beyond = (self.kh - 1) * self.width + self.kw - 1  # the last windows end behind the image
        self.tail = beyond + self.blocks * self.kw - self.positions

    def products(self, x: Array, w: Array, count: Pair, device: Any, xp: Namespace) -> Array:
        """Return y (batch, *count, out) of padded images."""
        channels, out = w.shape[2:]
        flat = self._flat(x, device, xp)
        w = xp.reshape(w, (self.kh, self.kw * channels, out))
        residues = []
        for r in range(self.kw):
            a = self._windows(flat, 0, r, channels, xp) @ w[0, ...]
            for i in range(1, self.kh):
                a = a + self._windows(flat, i, r, channels, xp) @ w[i, ...]
            residues.append(a)
        y = xp.reshape(xp.stack(residues, axis=1), (self.blocks * self.kw, out))
        y = xp.reshape(y[: self.positions, :], (*self.shape, out))
        return y[:, : count[0], : count[1], :]

    def weight_gradient(self, x: Array, delta: Array, device: Any, xp: Namespace) -> Array:
        """Return ∂L/∂w (kh · kw · in, out): the same views, transposed, times the errors."""
        channels, out = x.shape[3], delta.shape[3]
        flat = self._flat(x, device, xp)
        # no error at the positions where a window wraps around an edge
        below, right = self.shape[1] - delta.shape[1], self.shape[2] - delta.shape[2]
        error = rows_of(pad(delta, ((0, below), (0, right)), device=device, xp=xp), xp)
        if rest := self.blocks * self.kw - self.positions:
            zeros = xp.zeros((rest, out), dtype=delta.dtype, device=device)
            error = xp.concat([error, zeros], axis=0)
        error = xp.reshape(error, (self.blocks, self.kw, out))
        lines = []
        for i in range(self.kh):
            dw = self._windows(flat, i, 0, channels, xp).T @ error[:, 0, :]
            for r in range(1, self.kw):
                dw = dw + self._windows(flat, i, r, channels, xp).T @ error[:, r, :]
            lines.append(dw)
        return xp.stack(lines, axis=0)

    def _flat(self, x: Array, device: Any, xp: Namespace) -> Array:
        zeros = xp.zeros((self.tail * x.shape[3],), dtype=x.dtype, device=device)
        return xp.concat([xp.reshape(x, (self.positions * x.shape[3],)), zeros], axis=0)

    def _windows(self, flat: Array, line: int, residue: int, channels: int, xp: Namespace) -> Array:
        """Return line `line` of every kw-th window, from number `residue` on: a view."""
        start = (line * self.width + residue) * channels
        size = self.blocks * self.kw * channels
        return xp.reshape(flat[start : start + size], (self.blocks, self.kw * channels))


# -- columns -----------------------------------------------------------------------------------


def _columns(x: Array, windows: Windows, count: Pair, xp: Namespace) -> Array:
    """Return every window as a row (batch · positions, kh · kw · channels)."""
    slices = windows.slices(x, count)
    return rows_of(xp.concat(slices, axis=-1) if len(slices) > 1 else slices[0], xp)


def _grouped_columns(x: Array, windows: Windows, count: Pair, groups: int, xp: Namespace) -> Array:
    """Return (groups, batch · positions, kh · kw · channels / groups)."""
    columns = xp.stack(windows.slices(x, count), axis=3)
    rows, offsets, channels = math.prod(columns.shape[:3]), columns.shape[3], x.shape[3] // groups
    columns = xp.reshape(columns, (rows, offsets, groups, channels))
    columns = xp.permute_dims(columns, (2, 0, 1, 3))
    return xp.reshape(columns, (groups, rows, offsets * channels))


def _grouped_weight(w: Array, groups: int, xp: Namespace) -> Array:
    """Return (groups, kh · kw · in / groups, out / groups)."""
    inputs, out = math.prod(w.shape[:3]), w.shape[3]
    return xp.permute_dims(xp.reshape(w, (inputs, groups, out // groups)), (1, 0, 2))


def turned_kernel(w: Array, groups: int, xp: Namespace) -> Array:
    """Return the kernel turned by 180°, in and out exchanged within each group."""
    kh, kw, inputs, out = w.shape
    w = xp.reshape(xp.flip(w, axis=(0, 1)), (kh, kw, inputs, groups, out // groups))
    w = xp.permute_dims(w, (0, 1, 4, 3, 2))  # (kh, kw, out / groups, groups, in / groups)
    return xp.reshape(w, (kh, kw, out // groups, groups * inputs))


# -- depthwise ---------------------------------------------------------------------------------


def _depthwise(x: Array, w: Array, windows: Windows, count: Pair, xp: Namespace) -> Array:
    """Return y (batch, *count, channels, outputs per channel): a weight times a slice, summed."""
    channels = x.shape[3]
    w = xp.reshape(w, (math.prod(windows.kernel), channels, w.shape[3] // channels))
    slices = [xp.expand_dims(part, axis=-1) for part in windows.slices(x, count)]
    y = slices[0] * w[0, ...]
    for k in range(1, len(slices)):
        y = y + slices[k] * w[k, ...]
    return y


def _depthwise_gradient(
    x: Array, delta: Array, windows: Windows, count: Pair, device: Any, xp: Namespace
) -> Array:
    """Return ∂L/∂w (kh · kw, out): the sum over all positions of slice times error."""
    channels, out = x.shape[3], delta.shape[3]
    rows = math.prod(delta.shape[:3])
    error = xp.reshape(delta, (*delta.shape[:3], channels, out // channels))
    products = (
        xp.reshape(xp.expand_dims(part, axis=-1) * error, (rows, out))
        for part in windows.slices(x, count)
    )
    return xp.stack([sum_rows(each, device=device, xp=xp) for each in products], axis=0)
