"""Maximum and sum over windows of images (batch, height, width, channels), and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.kernels._precision import narrowed, widened
from bp_arrays.kernels._windows import Pair, Windows, pad, repeated, size_of, spread
from bp_arrays.typing import Array, Namespace

NEGATIVE_INFINITY = float("-inf")


@Kernel
def window_maximum(x: Array, windows: Windows, *, device: Any, xp: Namespace) -> Array:
    """Return the largest number of each window, y_nuvc = max_ij x_n,su+di,sv+dj,c.

    Parameters
    ----------
    x : array (batch, height, width, channels)
        Padding does not count: it is −∞.
    windows : Windows
    device : object
        The native device for the creation functions of `xp` (None: the default).
    xp : namespace of x

    Returns
    -------
    array (batch, positions down, positions across, channels)
    """
    count = windows.positions(size_of(x))
    x = pad(x, windows.padding, NEGATIVE_INFINITY, device=device, xp=xp)
    y, *others = windows.slices(x, count)
    for part in others:
        y = xp.maximum(y, part)
    return y


@Kernel
def window_maximum_dx(
    delta: Array, x: Array, y: Array, windows: Windows, *, device: Any, xp: Namespace
) -> Array:
    """Return ∂L/∂x of `window_maximum`: each error goes to the number that was the largest.

    Of equal numbers the first one of the window gets it, row by row.

    Parameters
    ----------
    delta, y : arrays (batch, positions down, positions across, channels)
    x : array (batch, height, width, channels)
    windows, device, xp
        As for `window_maximum`.

    Returns
    -------
    array (batch, height, width, channels)
    """
    size = size_of(x)
    # NaN: equal to no maximum, not even to −∞
    x = pad(x, windows.padding, float("nan"), device=device, xp=xp)

    def pieces() -> Iterator[Array]:  # one at a time: all together are kh · kw times y
        taken = None
        for part in windows.slices(x, size_of(y)):
            hit = part == y
            if taken is None:
                taken = hit
            else:
                hit, taken = xp.logical_and(hit, xp.logical_not(taken)), xp.logical_or(hit, taken)
            yield xp.where(hit, delta, 0.0)

    return _put_back(pieces(), size, windows, device, xp)


def window_sum(x: Array, windows: Windows, *, device: Any, xp: Namespace) -> Array:
    """Return the sum of each window, first down, then across: kh + kw additions, not kh · kw.

    Parameters
    ----------
    x, windows, device, xp
        As for `window_maximum`; padding counts as 0.
    """
    dtype, size = x.dtype, size_of(x)
    height, width = windows.positions(size)
    x = pad(widened(x, xp), windows.padding, device=device, xp=xp)
    (kh, kw), (sh, sw), (dh, dw), _ = windows
    down = Windows((kh, 1), (sh, 1), (dh, 1))
    across = Windows((1, kw), (1, sw), (1, dw))
    for one, count in ((down, (height, x.shape[2])), (across, (height, width))):
        x, *others = one.slices(x, count)
        for part in others:
            x = x + part
    return narrowed(x, dtype, xp)


def window_sum_dx(
    delta: Array, size: Pair, windows: Windows, *, device: Any, xp: Namespace
) -> Array:
    """Return ∂L/∂x of `window_sum`: to each number the errors of all windows that it is part of.

    Parameters
    ----------
    delta : array (batch, positions down, positions across, channels)
    size : pair of int
        (height, width) of x.
    windows, device, xp
        As for `window_maximum`.
    """
    if _side_by_side(windows):
        dx = repeated(delta, windows.kernel, xp=xp)
        return _cut(dx, size, windows, device, xp)
    delta = spread(delta, windows.stride, device=device, xp=xp)
    return window_sum(delta, windows.turned(size, size_of(delta)), device=device, xp=xp)


def _put_back(
    pieces: Iterator[Array], size: Pair, windows: Windows, device: Any, xp: Namespace
) -> Array:
    """Return the sum of pieces, each put where the slice of its offset came from."""
    (kh, kw), (sh, sw), (dh, dw), _ = windows
    if _side_by_side(windows):  # each pixel is in one window at most: nothing to add
        rows = [xp.stack([next(pieces) for _ in range(kw)], axis=3) for _ in range(kh)]
        dx = xp.stack(rows, axis=2)  # (batch, down, kh, across, kw, channels)
        batch, down, _, across, _, channels = dx.shape
        dx = xp.reshape(dx, (batch, down * kh, across * kw, channels))
        return _cut(dx, size, windows, device, xp)
    height, width = windows.padded(size)
    dx = None
    for i in range(kh):
        row = None
        for j in range(kw):
            part = spread(next(pieces), (1, sw), device=device, xp=xp)
            right = width - j * dw - part.shape[2]
            part = pad(part, ((0, 0), (j * dw, right)), device=device, xp=xp)
            row = part if row is None else row + part
        row = spread(row, (sh, 1), device=device, xp=xp)
        below = height - i * dh - row.shape[1]
        row = pad(row, ((i * dh, below), (0, 0)), device=device, xp=xp)
        dx = row if dx is None else dx + row
    return _without_padding(dx, windows, device, xp)


def _side_by_side(windows: Windows) -> bool:
    return windows.kernel == windows.stride and windows.dilation == (1, 1)


def _cut(dx: Array, size: Pair, windows: Windows, device: Any, xp: Namespace) -> Array:
    """Return errors of windows side by side for the image: 0 behind the last window."""
    height, width = windows.padded(size)
    rest = ((0, height - dx.shape[1]), (0, width - dx.shape[2]))
    return _without_padding(pad(dx, rest, device=device, xp=xp), windows, device, xp)


def _without_padding(dx: Array, windows: Windows, device: Any, xp: Namespace) -> Array:
    (above, below), (left, right) = windows.padding
    return pad(dx, ((-above, -below), (-left, -right)), device=device, xp=xp)


# -- PyTorch -----------------------------------------------------------------------------------


@window_maximum.native("torch")
def _(x: Array, windows: Windows, *, device: Any, xp: Namespace) -> Array:
    import torch

    x, padding = _torch_padded(x, windows)
    y = torch.nn.functional.max_pool2d(x, windows.kernel, windows.stride, padding, windows.dilation)
    return y.permute(0, 2, 3, 1)


@window_maximum_dx.native("torch")
def _(delta: Array, x: Array, y: Array, windows: Windows, *, device: Any, xp: Namespace) -> Array:
    import torch

    height, width = size_of(x)
    x, padding = _torch_padded(x, windows)
    options = (windows.kernel, windows.stride, padding, windows.dilation, False)
    # the places of the maxima again: kept from the forward pass they take twice as much as y
    _, places = torch.ops.aten.max_pool2d_with_indices(x, *options)
    delta = delta.permute(0, 3, 1, 2)
    dx = torch.ops.aten.max_pool2d_with_indices_backward(delta, x, *options, places)
    if padding == (0, 0):
        (above, _), (left, _) = windows.padding
        dx = dx[:, :, above : above + height, left : left + width]
    return dx.permute(0, 2, 3, 1)


def _torch_padded(x: Array, windows: Windows) -> tuple[Array, Pair]:
    """Return x with PyTorch's order of axes, and the padding left for the operator.

    It pads both sides alike, by half the kernel at most.
    """
    import torch

    x = x.permute(0, 3, 1, 2)
    (above, below), (left, right) = windows.padding
    (kh, kw) = windows.kernel
    if above == below and left == right and 2 * above <= kh and 2 * left <= kw:
        return x, (above, left)
    sides = (left, right, above, below)
    return torch.nn.functional.pad(x, sides, value=NEGATIVE_INFINITY), (0, 0)
