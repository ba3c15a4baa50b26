"""Pairs of convolutions, pooling and upsampling and their PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bp_arrays.convolution import (
    AveragePool1d,
    AveragePool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    Upsample,
)
from bp_arrays.errors import InputError
from bp_arrays.formats._onnx_windows import kernel_first, sides_of, steps_of
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
    if padding != "same" or steps_of(layer, axes)[1] != (1,) * axes:
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
    sides = tuple((n, n) for n in ((padding,) if isinstance(padding, int) else padding))
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


def _transposed_settings(layer: ConvTranspose2d, shape: Shape, layout: Layout) -> dict[str, Any]:
    if layer.padding == "same":
        raise InputError(
            'to_torch: ConvTranspose2d(padding="same"): PyTorch has no such setting; set padding '
            "and output_padding to numbers"
        )
    return {
        "in_channels": shape[-1],
        "out_channels": layer.out_channels,
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": even_sides(layer, shape),
        "output_padding": layer.output_padding,
        "dilation": layer.dilation,
        "groups": layer.groups,
        "bias": layer.bias,
    }


def _transposed_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect(module, "padding_mode", ("zeros",), "zeros")
    expect_channels(module, module.in_channels, shape)
    return ConvTranspose2d(
        module.out_channels,
        module.kernel_size,
        stride=module.stride,
        padding=layer_padding(module.padding),
        output_padding=module.output_padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=module.bias is not None,
    )


def _pool_settings(layer: Any, shape: Shape, layout: Layout) -> dict[str, Any]:
    kernel, stride, dilation = steps_of(layer, len(shape) - 1)
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride}
    settings["padding"] = even_sides(layer, shape)
    if any(2 * lines > k for lines, k in zip(settings["padding"], kernel, strict=True)):
        raise InputError(
            f"to_torch: {type(layer).__name__}(padding={layer.padding!r}): PyTorch pads at most "
            f"half of the kernel, {kernel}"
        )
    if isinstance(layer, (MaxPool1d, MaxPool2d)):
        return settings | {"dilation": dilation}
    return settings | {"count_include_pad": layer.count_padding}


def _max_pool(layer: type[Layer]) -> Pair:
    def to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
        expect(module, "ceil_mode", (False,), "whole windows only")
        expect(module, "return_indices", (False,), "the numbers only")
        return layer(
            _one(module.kernel_size),  # type: ignore[call-arg]
            stride=_one(module.stride),
            padding=layer_padding(_spread(module.padding, shape)),
            dilation=_one(module.dilation),
        )

    return Pair(layer, layer.__name__, _pool_settings, to_layer, layout="first")


def _average_pool(layer: type[Layer], module: str) -> Pair:
    def to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
        expect(module, "ceil_mode", (False,), "whole windows only")
        if getattr(module, "divisor_override", None) is not None:
            expect(module, "divisor_override", (None,), "the number of pixels")
        return layer(
            _one(module.kernel_size),  # type: ignore[call-arg]
            stride=_one(module.stride),
            padding=layer_padding(_spread(module.padding, shape)),
            count_padding=module.count_include_pad,
        )

    return Pair(layer, module, _pool_settings, to_layer, layout="first")


def _spread(padding: Any, shape: Shape) -> tuple[int, ...]:
    """Return a padding as one number per axis."""
    return (padding,) * (len(shape) - 1) if isinstance(padding, int) else tuple(padding)


def _global_pool(layer: type[Layer], name: str, axes: int) -> Pair:
    """Return the pair of a reduction over all positions and a module followed by Flatten."""

    def build(layer: Any, shape: Shape, dtype: Any) -> Any:
        import torch

        return torch.nn.Sequential(getattr(torch.nn, name)(1), torch.nn.Flatten())

    def to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
        sizes = module.output_size
        if any(n != 1 for n in (sizes if isinstance(sizes, tuple) else (sizes,))):
            raise InputError(f"{module}: expected output_size 1, the mean or maximum of all")
        return layer()

    return Pair(
        layer,
        name,
        lambda layer, shape, layout: {},
        to_layer,
        layout="first",
        fits=lambda layer, shape: len(shape) == axes + 1,
        build=build,
    )


def _upsample(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect(module, "size", (None,), "a factor")
    expect(module, "align_corners", (None, False), "pixel centers")
    factors = module.scale_factor
    factors = factors if isinstance(factors, tuple) else (factors, factors)
    if any(factor != int(factor) for factor in factors):
        raise InputError(f"Upsample(scale_factor={module.scale_factor}): expected whole numbers")
    return Upsample(tuple(int(factor) for factor in factors), module.mode)  # type: ignore[arg-type]


def _upsample_settings(layer: Upsample, shape: Shape, layout: Layout) -> dict[str, Any]:
    settings: dict[str, Any] = {"scale_factor": layer.factor, "mode": layer.mode}
    return settings | ({"align_corners": False} if layer.mode == "bilinear" else {})


GLOBAL_POOLING = {
    "AdaptiveAvgPool1d": 2,
    "AdaptiveAvgPool2d": 3,
    "AdaptiveMaxPool1d": 2,
    "AdaptiveMaxPool2d": 3,
}
"""Modules of global pooling, which keep axes of size 1, with the number of axes of a sample."""

CONVOLUTION = (
    _convolution(Conv1d),
    _convolution(Conv2d),
    Pair(
        ConvTranspose2d,
        "ConvTranspose2d",
        _transposed_settings,
        _transposed_layer,
        _with_weight(lambda w: w.transpose(2, 3, 0, 1)),
        _with_weight(lambda w: w.transpose(2, 3, 0, 1)),
        layout="first",
    ),
    _max_pool(MaxPool1d),
    _max_pool(MaxPool2d),
    _average_pool(AveragePool1d, "AvgPool1d"),
    _average_pool(AveragePool2d, "AvgPool2d"),
    _global_pool(GlobalAveragePool, "AdaptiveAvgPool1d", 1),
    _global_pool(GlobalAveragePool, "AdaptiveAvgPool2d", 2),
    _global_pool(GlobalMaxPool, "AdaptiveMaxPool1d", 1),
    _global_pool(GlobalMaxPool, "AdaptiveMaxPool2d", 2),
    Pair(Upsample, "Upsample", _upsample_settings, _upsample, layout="first"),
)
"""(kernel..., in, out) and (out, in, kernel...) of convolutions; (kernel..., in, out) and (in, out,
kernel...) of transposed ones, so that the same transposition leads there and back."""
