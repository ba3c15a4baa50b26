"""`Windows`: the positions of a kernel on an image; padding, and the shifted slices of an image.

Images are (batch, height, width, channels). A window is what the kernel covers at one position; all
windows together are kh · kw slices of the padded image, one for each offset in the kernel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bp_arrays.kernels._precision import narrowed, widened
from bp_arrays.kernels._sum_rows import sum_rows
from bp_arrays.typing import Array, Namespace, Shape

Pair = tuple[int, int]


class Windows(NamedTuple):
    """The positions of a kernel on an image, each field for (height, width).

    Parameters
    ----------
    kernel, stride, dilation : pair of int
        Size of the kernel, distance between its positions, distance between its points.
    padding : pair of pairs of int
        Lines added ((above, below), (left, right)).
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))

    @property
    def reach(self) -> Pair:
        """The number of lines and columns that a window spans."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def padded(self, size: Pair) -> Pair:
        """Return (height, width) of an image with its padding."""
        (above, below), (left, right) = self.padding
        return size[0] + above + below, size[1] + left + right

    def positions(self, size: Pair) -> Pair:
        """Return the number of positions down and across on an image (height, width)."""
        (height, width), (kh, kw) = self.padded(size), self.reach
        return (height - kh) // self.stride[0] + 1, (width - kw) // self.stride[1] + 1

    def turned(self, size: Pair, spread_size: Pair) -> Windows:
        """Return the windows by which an error finds its way back to an image (height, width).

        The error of a window is at the position of its first point, so those of all windows that a
        pixel is part of lie within one reach above and to the left of it: a window too, with the
        kernel turned, on the error with the stride's gaps filled with zeros (`spread_size`).
        """
        sides = []
        for axis in (0, 1):
            before = self.reach[axis] - 1 - self.padding[axis][0]
            after = size[axis] + self.reach[axis] - 1 - before - spread_size[axis]
            sides.append((before, after))
        return Windows(self.kernel, (1, 1), self.dilation, (sides[0], sides[1]))

    def slices(self, x: Array, count: Pair) -> list[Array]:
        """Return for each offset in the kernel, row by row, what it covers of a padded image.

        Each is (batch, positions down, positions across, channels).
        """
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        height, width = sh * (count[0] - 1) + 1, sw * (count[1] - 1) + 1
        rows = [slice(i * dh, i * dh + height, sh) for i in range(kh)]
        columns = [slice(j * dw, j * dw + width, sw) for j in range(kw)]
        return [x[:, row, column, :] for row in rows for column in columns]


def pad(
    x: Array, padding: tuple[Pair, Pair], value: float = 0.0, *, device: Any, xp: Namespace
) -> Array:
    """Return an image with lines of a value around it; a negative number cuts lines off."""
    for axis, (before, after) in zip((1, 2), padding, strict=True):
        if before < 0 or after < 0:
            whole = (slice(None),) * axis
            x = x[(*whole, slice(max(0, -before), x.shape[axis] + min(0, after)), ...)]
        parts = [x]
        if before > 0:
            parts.insert(0, _lines(x, axis, before, value, device, xp))
        if after > 0:
            parts.append(_lines(x, axis, after, value, device, xp))
        if len(parts) > 1:
            x = xp.concat(parts, axis=axis)
    return x


def _lines(x: Array, axis: int, lines: int, value: float, device: Any, xp: Namespace) -> Array:
    shape = (*x.shape[:axis], lines, *x.shape[axis + 1 :])
    return xp.full(shape, value, dtype=x.dtype, device=device)


def spread(x: Array, distance: Pair, *, device: Any, xp: Namespace) -> Array:
    """Return an image with zeros between its lines and columns, `distance` - 1 of them."""
    for axis, step in zip((1, 2), distance, strict=True):
        if step == 1:
            continue
        lines = x.shape[axis]
        gap = (*x.shape[: axis + 1], step - 1, *x.shape[axis + 1 :])
        zeros = xp.zeros(gap, dtype=x.dtype, device=device)
        x = xp.concat([xp.expand_dims(x, axis=axis + 1), zeros], axis=axis + 1)
        x = xp.reshape(x, (*x.shape[:axis], lines * step, *x.shape[axis + 2 :]))
        whole = (slice(None),) * axis
        x = x[(*whole, slice(0, (lines - 1) * step + 1), ...)]  # none behind the last one
    return x


def repeated(x: Array, factors: Pair, *, xp: Namespace) -> Array:
    """Return an image with every pixel repeated, factors (down, across)."""
    batch, height, width, channels = x.shape
    down, across = factors
    x = xp.reshape(x, (batch, height, 1, width, 1, channels))
    x = xp.broadcast_to(x, (batch, height, down, width, across, channels))
    return xp.reshape(x, (batch, height * down, width * across, channels))


def rows_of(x: Array, xp: Namespace) -> Array:
    """Return an image as one row of channels for each position."""
    return xp.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def size_of(x: Array) -> Pair:
    """Return (height, width) of images."""
    shape: Shape = x.shape
    return shape[1], shape[2]


def channel_sums(x: Array, *, device: Any, xp: Namespace) -> Array:
    """Return the sum of each channel over all samples and positions, (channels,).

    Rows in half precision are summed in float32.
    """
    rows = widened(rows_of(x, xp), xp)
    return narrowed(sum_rows(rows, device=device, xp=xp), x.dtype, xp)
