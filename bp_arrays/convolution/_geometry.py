"""The fields of layers with windows, and what they mean on an image of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bp_arrays.checks import argument_error, array_error, as_integer
from bp_arrays.errors import InputError
from bp_arrays.kernels import Windows
from bp_arrays.typing import Shape

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]

WORDS = ("same", "valid")


def check_pair(owner: Any, name: str, *, at_least: int = 1) -> None:
    """Convert the field `name`, a whole number or (height, width), to a pair.

    Raises
    ------
    InputError
        If it is neither, or a number is below `at_least`.
    """
    value = getattr(owner, name)
    try:
        object.__setattr__(owner, name, _pair(value, at_least))
    except InputError:
        expected = f"a whole number or (height, width), {name} >= {at_least}"
        raise argument_error(type(owner).__name__, name, value, expected) from None


def check_padding(owner: Any) -> None:
    """Convert the field `padding` to "same", "valid" or ((above, below), (left, right)).

    Raises
    ------
    InputError
        If it is none of these, nor a whole number or (height, width), each >= 0.
    """
    value = owner.padding
    if isinstance(value, str) and value in WORDS:
        return
    try:
        above_and_left = (value, value) if _is_number(value) else _two(value)
        padding = tuple(_pair(side, 0) for side in above_and_left)
    except InputError:
        expected = '"same", "valid", a whole number >= 0, (height, width) or '
        expected += "((above, below), (left, right))"
        raise argument_error(type(owner).__name__, "padding", value, expected) from None
    object.__setattr__(owner, "padding", padding)


def check_line_padding(owner: Any) -> None:
    """Convert the field `padding` of a layer for signals to a word or (before, after).

    Raises
    ------
    InputError
        If it is neither "same", "valid", a whole number >= 0, nor a pair of them.
    """
    value = owner.padding
    if isinstance(value, str) and value in WORDS:
        return
    try:
        object.__setattr__(owner, "padding", _pair(value, 0))
    except InputError:
        expected = '"same", "valid", a whole number >= 0 or (before, after)'
        raise argument_error(type(owner).__name__, "padding", value, expected) from None


def same_sides(length: int, kernel: int, stride: int, dilation: int) -> Pair:
    """Return the lines that "same" adds before and after an axis.

    There are then ⌈length / stride⌉ positions of the kernel. An odd line is at the end, as in
    Keras, in ONNX's SAME_UPPER and, at stride 1, in PyTorch.
    """
    reach = dilation * (kernel - 1) + 1
    total = max((-(-length // stride) - 1) * stride + reach - length, 0)
    return (total // 2, total - total // 2)


def windows_on(size: Pair, kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> Windows:
    """Return the positions of a kernel on an image (height, width)."""
    if padding == "valid":
        sides: Any = ((0, 0), (0, 0))
    elif padding == "same":
        sides = tuple(map(same_sides, size, kernel, stride, dilation))
    else:
        sides = padding
    return Windows(kernel, stride, dilation, sides)


def check_image(where: str, shape: Shape) -> None:
    """Check that a sample is an image (height, width, channels) with pixels.

    Raises
    ------
    InputError
        Naming the layer; with the way to add an axis of one channel.
    """
    advice = {
        1: "reshape each sample to its image first",
        2: "for images with one channel, add that axis: x[..., None]",
    }
    if not _has_axes(shape, 3):
        expected = "shape (height, width, channels)"
        raise array_error(where, "input", expected, shape, advice.get(len(shape), ""))


def check_signal(where: str, shape: Shape) -> None:
    """Check that a sample is a signal (time, channels) with values.

    Raises
    ------
    InputError
        Naming the layer; with the way to add an axis of one channel.
    """
    if not _has_axes(shape, 2):
        advice = "for signals with one channel, add that axis: x[..., None]"
        expected = "shape (time, channels)"
        raise array_error(where, "input", expected, shape, advice if len(shape) == 1 else "")


def line_windows_on(time: int, kernel: int, stride: int, dilation: int, padding: Any) -> Windows:
    """Return the positions of a kernel on a signal, an image with one line of pixels."""
    sides = padding if isinstance(padding, str) else ((0, 0), padding)
    return windows_on((1, time), (1, kernel), (1, stride), (1, dilation), sides)


def check_fits(where: str, size: Pair, windows: Windows, shape: Shape) -> None:
    """Check that the kernel fits on the padded image, or signal, at least once.

    Raises
    ------
    InputError
        Naming the layer, the reach of the kernel and the padded size.
    """
    if min(windows.positions(size)) >= 1:
        return
    reach, padded = windows.reach, windows.padded(size)
    if len(shape) == 2:
        kind, needed, got = "signal of length", f"{reach[1]}", f"{padded[1]}"
    else:
        kind, needed, got = "image of", "{} x {}".format(*reach), "{} x {}".format(*padded)
    raise array_error(
        where,
        "input",
        f"a padded {kind} at least {needed}, the reach of the kernel",
        f"{got} from shape {shape}",
        'use a smaller kernel or dilation, or padding="same"',
    )


def _has_axes(shape: Shape, axes: int) -> bool:
    return len(shape) == axes and all(isinstance(n, int) and n > 0 for n in shape)


def _pair(value: Any, at_least: int) -> Pair:
    one, two = (value, value) if _is_number(value) else _two(value)
    return as_integer("", "", one, at_least), as_integer("", "", two, at_least)


def _is_number(value: Any) -> bool:
    return not isinstance(value, (Sequence, str)) and not hasattr(value, "__len__")


def _two(value: Any) -> tuple[Any, Any]:
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        raise InputError("expected two")
    one, two = value
    return one, two
