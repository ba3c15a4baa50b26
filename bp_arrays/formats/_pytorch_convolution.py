"""Pairs of convolutions and their PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bp_arrays.convolution import Conv2d
from bp_arrays.errors import InputError
from bp_arrays.formats._onnx_windows import as_tuple, kernel_first, sides_of
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect, expect_channels
from bp_arrays.layers import Layer
from bp_arrays.typing import HostArray, Shape


def kernel_last(w: HostArray) -> HostArray:
    """Return the weight (out, in, kernel...) of a module as (kernel..., in, out)."""
    return w.transpose(*range(2, w.ndim), 1, 0)


def _with_weight(change: Callable[[HostArray], HostArray]) -> Callable[[Any, Arrays], Arrays]:
    return lambda layer, arrays: arrays | {"weight": change(arrays["weight"])}


def even_sides(layer: Any, shape: Shape) -> tuple[int, ...]:
    """Return the number of lines added before and after each axis; PyTorch adds as many on both.

    Raises
    ------
    InputError
        If they differ.
    """
    sides = sides_of(layer, shape[:-1])
    if any(before != after for before, after in sides):
        raise InputError(
            f"to_torch: {type(layer).__name__}(padding={layer.padding!r}) adds {sides} lines to a "
            f"sample of shape {shape}; PyTorch adds as many before as after: set padding to a "
            "number"
        )
    return tuple(before for before, _ in sides)


def _settings(layer: Any, shape: Shape, layout: Layout) -> dict[str, Any]:
    axes = len(shape) - 1
    padding: Any = layer.padding
    if padding != "same" or as_tuple(layer.stride, axes) != (1,) * axes:
        padding = even_sides(layer, shape)
    return {
        "in_channels": shape[-1],
        "out_channels": layer.out_channels,
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "bias": layer.bias,
    }


def layer_padding(padding: Any) -> Any:
    """Return the padding of a module, one number per axis, as a field of a layer."""
    if isinstance(padding, str):
        return padding
    sides = tuple((n, n) for n in as_tuple(padding, 1))
    return sides[0] if len(sides) == 1 else sides


def _one(value: Any) -> Any:
    """Return a setting of one axis as a number."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _to_layer(layer: type[Layer]) -> Callable[[Any, Shape, Layout], Layer]:
    def to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
        expect(module, "padding_mode", ("zeros",), "zeros")
        expect_channels(module, module.in_channels, shape)
        return layer(
            module.out_channels,  # type: ignore[call-arg]
            _one(module.kernel_size),
            stride=_one(module.stride),
            padding=layer_padding(module.padding),
            dilation=_one(module.dilation),
            groups=module.groups,
            bias=module.bias is not None,
        )

    return to_layer


def _convolution(layer: type[Layer]) -> Pair:
    return Pair(
        layer,
        layer.__name__,
        _settings,
        _to_layer(layer),
        _with_weight(kernel_first),
        _with_weight(kernel_last),
        layout="first",
    )


CONVOLUTION = (_convolution(Conv2d),)
