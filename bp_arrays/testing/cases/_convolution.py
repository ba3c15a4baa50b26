"""Cases of the layers of `convolution`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from bp_arrays.convolution import Conv2d
from bp_arrays.kernels import Windows, convolution, convolution_dw, convolution_dx
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
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


def convolution_kernel_cases() -> Iterator[Case]:
    """Yield cases of the standard form of a convolution, also where a library has its own."""
    for variant in ("ordinary", "strides", "groups and dilation"):
        case, layer = CONV2D[variant], CONV2D[variant].layer
        yield Case(
            "convolution",
            f"standard form, {variant}",
            "kernel",
            partial(_kernel_inputs, variant),
            partial(_standard_convolution, _windows(case), layer.groups),
        )


def _images(component: str, variant: str, shape: Shape) -> HostArray:
    return normal(component, variant, "x", shape=shape)


def _windows(case: Convolved) -> Windows:
    layer: Any = case.layer
    return Windows(layer.kernel_size, layer.stride, layer.dilation, case.padding)


def _kernel_inputs(variant: str) -> HostArrays:
    case = CONV2D[variant]
    parameters, output_shape = case.layer.init(case.shape[1:])
    shapes = {
        "x": case.shape,
        "w": parameters["weight"].shape,
        "delta": (case.shape[0], *output_shape),
    }
    return {name: normal("convolution", variant, name, shape=s) for name, s in shapes.items()}


def _standard_convolution(
    windows: Windows, groups: int, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    x, w, delta = arrays["x"], arrays["w"], arrays["delta"]
    ctx = placement.context()
    on_device = {"device": ctx.device, "xp": ctx.xp}
    size = (x.shape[1], x.shape[2])
    return {
        "y": convolution.standard(x, w, windows, groups, **on_device),
        "dx": convolution_dx.standard(delta, w, size, windows, groups, **on_device),
        "dw": convolution_dw.standard(x, delta, windows, groups, **on_device),
    }
