"""Pooling: the largest number or the mean of each window of an image or a signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bp_arrays.checks import array_error, check_bool, check_integer
from bp_arrays.convolution._convolved import on_lines
from bp_arrays.convolution._geometry import (
    Padding,
    Pair,
    check_fits,
    check_image,
    check_line_padding,
    check_padding,
    check_pair,
    check_signal,
    line_windows_on,
    windows_on,
)
from bp_arrays.kernels import (
    Windows,
    size_of,
    window_maximum,
    window_maximum_dx,
    window_sum,
    window_sum_dx,
)
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class MaxPool2d(Layer):
    """The largest number of each window of an image, for each channel: y = max_ij x_su+di,sv+dj.

    The error goes to the number that was the largest; of equal ones, to the first of the window,
    row by row. Images are (batch, height, width, channels).

    Parameters
    ----------
    kernel_size : int or (int, int), default 2
        Height and width of a window.
    stride : int or (int, int) or None, default None
        Distance between neighboring windows; None puts them side by side, stride = kernel_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default "valid"
        As for `Conv2d`; padding is never the largest number.
    dilation : int or (int, int), default 1
        Distance between neighboring points of a window.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (height, width, channels), or a window does not fit on the padded image or would lie in
        the padding.

    Notes
    -----
    Pixels behind the last whole window are not read: PyTorch's ceil_mode=False. PyTorch, ONNX and
    Keras pad with −∞, too.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.MaxPool2d(), input_shape=(24, 24, 64), device="cpu").output_shape
    (12, 12, 64)
    """

    kernel_size: int | Pair = 2
    stride: int | Pair | None = None
    padding: int | Pair | Padding = "valid"
    dilation: int | Pair = 1

    def __post_init__(self) -> None:
        _check_pairs(self, ("kernel_size", "stride", "dilation"))

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return _init(self, input_shape, self._windows)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        return _largest(x, self._windows(size_of(x)), ctx)

    def _windows(self, size: Pair) -> Windows:
        return _windows_of(self, size, self.dilation)


@dataclass(frozen=True)
class AveragePool2d(Layer):
    """The mean of each window of an image, for each channel: y = Σ_ij x_su+i,sv+j / count.

    Every number in a window gets the same part of its error. Images are (batch, height, width,
    channels).

    Parameters
    ----------
    kernel_size : int or (int, int), default 2
        Height and width of a window.
    stride : int or (int, int) or None, default None
        Distance between neighboring windows; None puts them side by side, stride = kernel_size.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default "valid"
        As for `Conv2d`.
    count_padding : bool, default False
        Whether padding counts as zeros in the mean; by default the sum is divided by the number of
        pixels in the window.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (height, width, channels), or a window does not fit on the padded image or would lie in
        the padding.

    Notes
    -----
    Keras and ONNX (count_include_pad = 0) divide by the number of pixels too; PyTorch counts the
    padding unless count_include_pad=False.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.AveragePool2d(2, padding=1), input_shape=(2, 2, 1), device="cpu")
    >>> image = np.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> model.predict(image[None, ..., None])[0, ..., 0].tolist()  # each corner has one pixel
    [[1.0, 2.0], [3.0, 4.0]]
    """

    kernel_size: int | Pair = 2
    stride: int | Pair | None = None
    padding: int | Pair | Padding = "valid"
    count_padding: bool = False

    def __post_init__(self) -> None:
        _check_pairs(self, ("kernel_size", "stride"))
        check_bool(self, "count_padding")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return _init(self, input_shape, self._windows)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        return _mean(x, self._windows(size_of(x)), self.count_padding, ctx)

    def _windows(self, size: Pair) -> Windows:
        return _windows_of(self, size, (1, 1))


@dataclass(frozen=True)
class MaxPool1d(Layer):
    """The largest number of each window of a signal, for each channel: y_u = max_i x_su+di.

    Signals are (batch, time, channels). Ties and padding are as in `MaxPool2d`.

    Parameters
    ----------
    kernel_size : int, default 2
        Length of a window.
    stride : int or None, default None
        Distance between neighboring windows; None puts them side by side, stride = kernel_size.
    padding : "valid", "same", int or (int, int), default "valid"
        As for `Conv1d`; padding is never the largest number.
    dilation : int, default 1
        Distance between neighboring points of a window.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (time, channels), or a window does not fit on the padded signal or would lie in the
        padding.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.MaxPool1d(4), input_shape=(100, 8), device="cpu").output_shape
    (25, 8)
    """

    kernel_size: int = 2
    stride: int | None = None
    padding: int | Pair | str = "valid"
    dilation: int = 1

    def __post_init__(self) -> None:
        _check_integers(self, ("kernel_size", "stride", "dilation"))

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return _line_init(self, input_shape, self._windows)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        return on_lines(lambda image: _largest(image, self._windows(x.shape[1]), ctx), x, ctx)

    def _windows(self, time: int) -> Windows:
        return _line_windows_of(self, time, self.dilation)


@dataclass(frozen=True)
class AveragePool1d(Layer):
    """The mean of each window of a signal, for each channel: y_u = Σ_i x_su+i / count.

    Signals are (batch, time, channels).

    Parameters
    ----------
    kernel_size : int, default 2
        Length of a window.
    stride : int or None, default None
        Distance between neighboring windows; None puts them side by side, stride = kernel_size.
    padding : "valid", "same", int or (int, int), default "valid"
        As for `Conv1d`.
    count_padding : bool, default False
        Whether padding counts as zeros in the mean, as in PyTorch; by default the sum is divided by
        the number of values in the window.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (time, channels), or a window does not fit on the padded signal or would lie in the
        padding.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.Model(bp.AveragePool1d(4), input_shape=(100, 8), device="cpu").output_shape
    (25, 8)
    """

    kernel_size: int = 2
    stride: int | None = None
    padding: int | Pair | str = "valid"
    count_padding: bool = False

    def __post_init__(self) -> None:
        _check_integers(self, ("kernel_size", "stride"))
        check_bool(self, "count_padding")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return _line_init(self, input_shape, self._windows)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        windows = self._windows(x.shape[1])
        return on_lines(lambda image: _mean(image, windows, self.count_padding, ctx), x, ctx)

    def _windows(self, time: int) -> Windows:
        return _line_windows_of(self, time, 1)


# -- the maths, for images -----------------------------------------------------------------------


def _largest(x: Array, windows: Windows, ctx: Context) -> tuple[Array, Backward]:
    on_device = {"device": ctx.device, "xp": ctx.xp}
    y = window_maximum(x, windows, **on_device)

    def backward(delta: Array) -> tuple[Array, ParameterTree]:
        # ∂y/∂x_k = 1 for the first k with x_k = y, else 0
        return window_maximum_dx(delta, x, y, windows, **on_device), {}

    return y, backward


def _mean(x: Array, windows: Windows, count_padding: bool, ctx: Context) -> tuple[Array, Backward]:
    xp, size = ctx.xp, size_of(x)
    on_device = {"device": ctx.device, "xp": xp}
    (above_below, left_right), (kh, kw) = windows.padding, windows.kernel
    if count_padding or (above_below == left_right == (0, 0)):
        share: Any = 1.0 / (kh * kw)
    else:  # 1 / count = 1 / lines · 1 / columns in each window
        down, across = (tuple(1.0 / n for n in counts) for counts in _pixels(size, windows))
        share = xp.reshape(ctx.constant(down, x.dtype), (len(down), 1, 1))
        share = share * xp.reshape(ctx.constant(across, x.dtype), (1, len(across), 1))
    y = window_sum(x, windows, **on_device) * share

    def backward(delta: Array) -> tuple[Array, ParameterTree]:
        return window_sum_dx(delta * share, size, windows, **on_device), {}  # ∂y/∂x_k = 1 / count

    return y, backward


def _pixels(size: Pair, windows: Windows) -> tuple[list[int], list[int]]:
    """Return how many lines of the image are in the windows at each position down, and across."""
    down, across = (
        [_covered(axis, position, size, windows) for position in range(positions)]
        for axis, positions in enumerate(windows.positions(size))
    )
    return down, across


def _covered(axis: int, position: int, size: Pair, windows: Windows) -> int:
    """Return how many points of a window lie on the image, along one axis."""
    gap = windows.dilation[axis]
    start = windows.stride[axis] * position - windows.padding[axis][0]
    first = max(0, -(start // gap))  # the first point with start + gap · point >= 0
    last = min(windows.kernel[axis] - 1, (size[axis] - 1 - start) // gap)
    return max(0, last - first + 1)


def _has_empty_window(axis: int, size: Pair, windows: Windows) -> bool:
    """Return whether a window has no point on the image, along one axis."""
    positions = windows.positions(size)[axis]
    ends = (0, positions - 1)
    # between the first and the last window, only a gap wider than the image can hide all of it
    checked = ends if windows.dilation[axis] <= size[axis] else range(positions)
    return any(_covered(axis, position, size, windows) == 0 for position in checked)


# -- fields and shapes ---------------------------------------------------------------------------


def _check_pairs(layer: Any, names: Sequence[str]) -> None:
    for name in names:
        if not (name == "stride" and layer.stride is None):
            check_pair(layer, name)
    check_padding(layer)


def _check_integers(layer: Any, names: Sequence[str]) -> None:
    for name in names:
        if not (name == "stride" and layer.stride is None):
            check_integer(layer, name, at_least=1)
    check_line_padding(layer)


def _windows_of(layer: Any, size: Pair, dilation: Any) -> Windows:
    stride = layer.kernel_size if layer.stride is None else layer.stride
    return windows_on(size, layer.kernel_size, stride, dilation, layer.padding)


def _line_windows_of(layer: Any, time: int, dilation: int) -> Windows:
    stride = layer.kernel_size if layer.stride is None else layer.stride
    return line_windows_on(time, layer.kernel_size, stride, dilation, layer.padding)


def _init(layer: Layer, shape: Shape, windows_at: Any) -> tuple[Specification, Shape]:
    where = type(layer).__name__
    check_image(where, shape)
    height, width, channels = shape
    windows = windows_at((height, width))
    _check_pools(where, (height, width), shape, windows)
    return {}, (*windows.positions((height, width)), channels)


def _line_init(layer: Layer, shape: Shape, windows_at: Any) -> tuple[Specification, Shape]:
    where = type(layer).__name__
    check_signal(where, shape)
    time, channels = shape
    windows = windows_at(time)
    _check_pools(where, (1, time), shape, windows)
    return {}, (windows.positions((1, time))[1], channels)


def _check_pools(where: str, size: Pair, shape: Shape, windows: Windows) -> None:
    """Check that every window has a number to take the largest or the mean of."""
    check_fits(where, size, windows, shape)
    if any(_has_empty_window(axis, size, windows) for axis in (0, 1)):
        raise array_error(
            where,
            "input",
            "a number of the input in every window",
            f"a window of padding only, with padding {windows.padding} on shape {shape}",
            "use less padding or a smaller dilation",
        )
