"""Cases of the layers of `convolution`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

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
from bp_arrays.kernels import (
    Windows,
    convolution,
    convolution_dw,
    convolution_dx,
    window_maximum,
    window_maximum_dx,
)
from bp_arrays.layers import Layer
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, PARAMETER, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import layer_case
from bp_arrays.testing.witnesses import _convolution as witness
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import Array, HostArray, Shape

NO_PADDING = ((0, 0), (0, 0))


class Convolved(NamedTuple):
    """A case of a convolution: a layer, the shape of x, and the settings for the witness."""

    layer: Conv2d
    shape: Shape
    padding: Any = NO_PADDING
    dtypes: tuple[str, ...] = DTYPES


CONV2D = {
    "ordinary": Convolved(Conv2d(3, 3), (2, 5, 6, 4), dtypes=DTYPES_WITH_HALF),
    "batch of 1": Convolved(
        Conv2d(2, 2, padding="same", bias=False), (1, 4, 3, 1), ((0, 1), (0, 1))
    ),
    "strides": Convolved(
        Conv2d(5, (3, 2), stride=(2, 3), padding=((1, 0), (2, 1))),
        (2, 7, 5, 2),
        ((1, 0), (2, 1)),
        DTYPES_WITH_HALF,
    ),
    "groups and dilation": Convolved(
        Conv2d(4, (2, 3), dilation=(1, 2), padding=(0, 3), groups=2), (2, 3, 4, 6), ((0, 0), (3, 3))
    ),
    "depthwise": Convolved(
        Conv2d(6, 3, stride=2, padding="same", groups=3), (2, 5, 4, 3), ((1, 1), (0, 1))
    ),
    "kernel of 1": Convolved(Conv2d(3, 1, stride=2), (2, 3, 4, 4)),
}

CONV1D = {
    "ordinary": (Conv1d(3, 3), (2, 7, 4), (1, (0, 0), 1, 1)),
    "causal, with dilation": (
        Conv1d(4, 2, stride=2, padding=(3, 0), dilation=3, groups=2), (1, 6, 2), (2, (3, 0), 3, 2)
    ),
    "same": (Conv1d(2, 4, padding="same"), (2, 5, 1), (1, (1, 2), 1, 1)),
}  # fmt: skip
"""Layer, shape of x, and (stride, padding, dilation, groups) for the witness."""

TRANSPOSED = {
    "ordinary": (
        ConvTranspose2d(3, 3, stride=2, padding=1, output_padding=(1, 0)), (2, 2, 3, 4), (4, 5),
        ((2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    ),
    "groups and dilation": (
        ConvTranspose2d(4, (2, 3), dilation=(2, 1), groups=2), (1, 3, 2, 6), (5, 4),
        ((1, 1), NO_PADDING, (2, 1), 2),
    ),
    "same": (
        ConvTranspose2d(2, 2, stride=(1, 3), padding="same"), (1, 3, 2, 2), (3, 6),
        ((1, 3), ((0, 1), (0, 0)), (1, 1), 1),
    ),
}  # fmt: skip
"""Layer, shape of x, size of y, and (stride, padding, dilation, groups) for the witness."""

SIDE_BY_SIDE = ((2, 2), (2, 2), NO_PADDING, (1, 1))
OVERLAPPING = ((3, 2), (2, 1), ((1, 0), (1, 1)), (1, 1))
ON_LINES = ((1, 3), (1, 2), ((0, 0), (1, 1)), (1, 1))

POOLS: dict[tuple[str, str], tuple[Layer, Shape, str, Any]] = {
    ("MaxPool2d", "ordinary"): (MaxPool2d(), (2, 4, 6, 3), "max", SIDE_BY_SIDE),
    ("MaxPool2d", "odd sizes"): (MaxPool2d(), (1, 5, 3, 2), "max", SIDE_BY_SIDE),
    ("MaxPool2d", "overlapping"): (
        MaxPool2d((3, 2), stride=(2, 1), padding=((1, 0), (1, 1))), (2, 6, 4, 2), "max", OVERLAPPING
    ),
    ("MaxPool2d", "dilation"): (
        MaxPool2d(2, stride=1, padding=1, dilation=(2, 1)), (1, 4, 3, 2), "max",
        ((2, 2), (1, 1), ((1, 1), (1, 1)), (2, 1)),
    ),
    ("MaxPool2d", "ties"): (
        MaxPool2d(3, stride=2, padding=1), (2, 5, 4, 2), "max",
        ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    ),
    ("AveragePool2d", "ordinary"): (AveragePool2d(), (2, 4, 6, 3), "mean", SIDE_BY_SIDE),
    ("AveragePool2d", "odd sizes"): (AveragePool2d(), (1, 5, 3, 2), "mean", SIDE_BY_SIDE),
    ("AveragePool2d", "overlapping"): (
        AveragePool2d((3, 2), stride=(2, 1), padding=((1, 0), (1, 1))), (2, 6, 4, 2), "mean",
        OVERLAPPING,
    ),
    ("AveragePool2d", "padding counted"): (
        AveragePool2d((3, 2), stride=(2, 1), padding=((1, 0), (1, 1)), count_padding=True),
        (2, 6, 4, 2), "mean with padding", OVERLAPPING,
    ),
    ("MaxPool1d", "overlapping"): (
        MaxPool1d(3, stride=2, padding=1), (2, 7, 2), "max", ON_LINES
    ),
    ("AveragePool1d", "overlapping"): (
        AveragePool1d(3, stride=2, padding=1), (2, 7, 2), "mean", ON_LINES
    ),
}  # fmt: skip
"""Layer, shape of x, kind, and (kernel, stride, padding, dilation) for the witness."""

WITH_HALF = ("ordinary", "overlapping", "images")


def convolution_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    for variant, case in CONV2D.items():
        layer: Any = case.layer
        settings = (layer.stride, case.padding, layer.dilation, layer.groups)
        yield layer_case(
            layer,
            partial(_images, "Conv2d", variant, case.shape),
            variant,
            analytic=True,
            witnesses=formula(partial(witness.conv2d_values, *settings)),
            dtypes=case.dtypes,
        )
    for variant, (line_layer, shape, line_settings) in CONV1D.items():
        yield layer_case(
            line_layer,
            partial(_images, "Conv1d", variant, shape),
            variant,
            analytic=True,
            witnesses=formula(partial(witness.conv1d_values, *line_settings)),
        )
    for variant, (transposed, image_shape, size, of_transposed) in TRANSPOSED.items():
        yield layer_case(
            transposed,
            partial(_images, "ConvTranspose2d", variant, image_shape),
            variant,
            analytic=True,
            witnesses=formula(partial(witness.transposed_values, size, *of_transposed)),
        )
    yield from _pool_cases()
    yield from _upsample_cases()


def _pool_cases() -> Iterator[Case]:
    for (component, variant), (layer, shape, kind, settings) in POOLS.items():
        tied = variant == "ties"
        yield layer_case(
            layer,
            partial(_tied_images if tied else _images, component, variant, shape),
            variant,
            analytic=kind != "max",
            oracle=not tied,  # at a tie there is no derivative: the witness has its place
            witnesses=formula(partial(witness.pool_values, kind, *settings)),
            dtypes=DTYPES_WITH_HALF if variant in WITH_HALF else DTYPES,
        )
    for layer, kind in ((GlobalAveragePool(), "mean"), (GlobalMaxPool(), "max")):
        component = type(layer).__name__
        shapes = {"images": (2, 3, 5, 3), "signals": (2, 7, 2), "ties": (1, 3, 3, 2)}
        for variant, shape in shapes.items():
            tied = variant == "ties"
            yield layer_case(
                layer,
                partial(_tied_images if tied else _images, component, variant, shape),
                variant,
                analytic=kind != "max",
                oracle=not tied,
                witnesses=formula(partial(witness.global_values, kind)),
                dtypes=DTYPES_WITH_HALF if variant in WITH_HALF else DTYPES,
            )


def _upsample_cases() -> Iterator[Case]:
    for mode in ("nearest", "bilinear"):
        for variant, factors in (("ordinary", (2, 2)), ("by different factors", (3, 1))):
            yield layer_case(
                Upsample(factors, mode),
                partial(_images, f"Upsample, {mode}", variant, (2, 3, 4, 2)),
                variant,
                component=f"Upsample, {mode}",
                analytic=True,
                witnesses=formula(partial(witness.upsample_values, mode, factors)),
                dtypes=DTYPES_WITH_HALF if variant in WITH_HALF else DTYPES,
            )


def convolution_kernel_cases() -> Iterator[Case]:
    """Yield cases of the standard form of a convolution, also where a library has its own."""
    for variant in ("ordinary", "strides", "groups and dilation"):
        case = CONV2D[variant]
        layer: Any = case.layer
        settings = (layer.stride, case.padding, layer.dilation, layer.groups)
        yield Case(
            "convolution",
            f"standard form, {variant}",
            "kernel",
            partial(_kernel_inputs, variant),
            partial(_standard_convolution, _windows(case), layer.groups),
            witnesses=formula(partial(witness.conv2d_values, *settings)),
        )
    for variant in ("overlapping", "ties"):
        pool, shape, kind, settings = POOLS["MaxPool2d", variant]
        yield Case(
            "window_maximum",
            f"standard form, {variant}",
            "kernel",
            partial(_pool_inputs, pool, shape, variant),
            partial(_standard_maximum, Windows(settings[0], settings[1], settings[3], settings[2])),
            witnesses=formula(partial(witness.pool_values, kind, *settings)),
        )


def _images(component: str, variant: str, shape: Shape) -> HostArray:
    return normal(component, variant, "x", shape=shape)


def _tied_images(component: str, variant: str, shape: Shape) -> HostArray:
    """Return whole numbers from -1 to 1: most windows have more than one largest number."""
    return np.clip(np.round(_images(component, variant, shape)), -1.0, 1.0)


def _windows(case: Convolved) -> Windows:
    layer: Any = case.layer
    return Windows(layer.kernel_size, layer.stride, layer.dilation, case.padding)


def _kernel_inputs(variant: str) -> HostArrays:
    case = CONV2D[variant]
    parameters, output_shape = case.layer.init(case.shape[1:])
    shapes = {
        "x": case.shape,
        PARAMETER + "weight": parameters["weight"].shape,
        "delta": (case.shape[0], *output_shape),
    }
    return {name: normal("convolution", variant, name, shape=s) for name, s in shapes.items()}


def _standard_convolution(
    windows: Windows, groups: int, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    x, w, delta = arrays["x"], arrays[PARAMETER + "weight"], arrays["delta"]
    ctx = placement.context()
    on_device = {"device": ctx.device, "xp": ctx.xp}
    size = (x.shape[1], x.shape[2])
    return {
        "y": convolution.standard(x, w, windows, groups, **on_device),
        "dx": convolution_dx.standard(delta, w, size, windows, groups, **on_device),
        "dw": convolution_dw.standard(x, delta, windows, groups, **on_device),
    }


def _pool_inputs(layer: Layer, shape: Shape, variant: str) -> HostArrays:
    _, output_shape = layer.init(shape[1:])
    images = _tied_images if variant == "ties" else _images
    delta = normal("window_maximum", variant, "delta", shape=(shape[0], *output_shape))
    return {"x": images("window_maximum", variant, shape), "delta": delta}


def _standard_maximum(
    windows: Windows, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    ctx = placement.context()
    on_device = {"device": ctx.device, "xp": ctx.xp}
    y = window_maximum.standard(arrays["x"], windows, **on_device)
    dx = window_maximum_dx.standard(arrays["delta"], arrays["x"], y, windows, **on_device)
    return {"y": y, "dx": dx}
