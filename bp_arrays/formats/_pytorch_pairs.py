"""`Pair`: a layer and its PyTorch module, with the conversions of settings and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from bp_arrays import activations
from bp_arrays.errors import InputError
from bp_arrays.layers import Dropout, Flatten, Layer, Linear
from bp_arrays.typing import HostArray, Shape

Layout = Literal["first", "last"]
"""Where PyTorch has the channels: on the axis after the batch, or on the last axis, as here."""

Arrays = dict[str, HostArray]
"""Parameters and state of one layer or module by name."""

ACCURATE_SOFTPLUS = 40.0
"""The threshold of PyTorch's Softplus to its linear part: e⁻⁴⁰ is below the eps of float64."""


def _no_arrays(layer: Any, arrays: Arrays) -> Arrays:
    return {}


@dataclass(frozen=True)
class Pair:
    """A layer class and its module, with the conversions between them.

    Parameters
    ----------
    layer : Layer class
    module : str
        The name of the module in `torch.nn`.
    settings : function (layer, shape, layout)
        Returns the keyword arguments of the module, for a layer and the shape of a sample, the
        channels last.
    to_layer : function (module, shape, layout)
        Returns the layer for a module; raises InputError for settings that the layer does not
        have.
    to_module_arrays : function (layer, arrays)
        Returns the parameters and buffers of the module, by its names, for those of the layer.
    to_layer_arrays : function (layer, arrays)
        Returns the parameters of the layer for those of the module.
    layout : "first", "last" or None
        Where the module expects the channels of samples with several axes; None if it does not
        matter.
    fits : function (layer, shape), optional
        Whether this pair is the right one of several for a layer class; always by default.
    accepts : function (module), optional
        Whether this pair is the right one of several for a module class; always by default.
    ordered : bool, default False
        Whether the function depends on the order of the channels: Linear weights behind it cannot
        make up for another order in a flattened image.
    build : function (layer, shape, dtype), optional
        Builds the module, where it is one inside another; else its class does, with `settings`.
    """

    layer: type[Layer]
    module: str
    settings: Callable[[Any, Shape, Layout], dict[str, Any]]
    to_layer: Callable[[Any, Shape, Layout], Layer]
    to_module_arrays: Callable[[Any, Arrays], Arrays] = _no_arrays
    to_layer_arrays: Callable[[Any, Arrays], Arrays] = _no_arrays
    layout: Layout | None = None
    fits: Callable[[Any, Shape], bool] = lambda layer, shape: True
    accepts: Callable[[Any], bool] = lambda module: True
    ordered: bool = False
    build: Callable[[Any, Shape, Any], Any] | None = None

    @property
    def depends_on_channel_order(self) -> bool:
        """Whether it matters where the channels are, or in which order."""
        return self.layout is not None or self.ordered


def expect(module: Any, name: str, values: tuple[Any, ...], what: str) -> None:
    """Raise InputError unless a setting of the module has a value that the layer implements."""
    value = getattr(module, name)
    if value not in values:
        raise InputError(
            f"{type(module).__name__}({name}={value}): expected {what}, {values[0]}, as in the "
            "layer"
        )


def described(module: Any) -> str:
    """Describe a module in one line: with its settings, or by its class if it has modules in it."""
    return type(module).__name__ if any(True for _ in module.children()) else repr(module)


def expect_size(module: Any, size: int, shape: Shape) -> None:
    """Raise InputError unless the last axis of a sample has as many values as the module takes."""
    if shape[-1:] != (size,):
        raise InputError(
            f"{described(module)}: expected {size} values on the last axis, got {shape}"
        )


def expect_channels(module: Any, channels: int, shape: Shape) -> None:
    """Raise InputError unless a sample has as many channels as the module takes."""
    if shape[-1:] != (channels,):
        raise InputError(
            f"{described(module)}: expected {channels} channels on the last axis of input_shape, "
            f"got {shape}"
        )


def transposed(layer: Any, arrays: Arrays) -> Arrays:
    """Return matrices as in the other library: (in, out) and (out, in); bias unchanged."""
    return {name: array.T for name, array in arrays.items()}


def unchanged(layer: Any, arrays: Arrays) -> Arrays:
    """Return arrays that are the same in both libraries."""
    return dict(arrays)


def plain(layer: type[Layer], layout: Layout | None = None) -> Pair:
    """Return a pair of the same name and without settings."""
    return Pair(
        layer,
        layer.__name__,
        lambda layer, shape, layout: {},
        lambda module, shape, layout: layer(),
        layout=layout,
    )


def _channel_axis(shape: Shape, layout: Layout) -> int:
    return 1 if layout == "first" and len(shape) > 1 else -1


def _over_channels(layer: type[Layer]) -> Pair:
    """Return the pair of a function over the channels, whose axis is a setting of the module."""

    def to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
        axis = _channel_axis(shape, layout)
        same = (1, -len(shape)) if axis == 1 else (-1, len(shape))
        expect(module, "dim", same, "the channels" if axis == 1 else "the last axis")
        return layer()

    return Pair(
        layer,
        layer.__name__,
        lambda layer, shape, layout: {"dim": _channel_axis(shape, layout)},
        to_layer,
    )


def _linear(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect_size(module, module.in_features, shape)
    return Linear(module.out_features, bias=module.bias is not None)


def _flatten(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect(module, "start_dim", (1,), "the axis after the batch")
    expect(module, "end_dim", (-1, len(shape)), "the last axis")
    return Flatten()


def _softplus(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect(module, "beta", (1,), "1")
    if module.threshold < 20:
        raise InputError(f"Softplus(threshold={module.threshold}): expected 20 or more")
    return activations.Softplus()


def _slope_to_torch(layer: Any, arrays: Arrays) -> Arrays:
    return {"weight": arrays["slope"]}


def _slope_to_layer(layer: Any, arrays: Arrays) -> Arrays:
    return {"slope": arrays["weight"]}


def _slopes(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect_channels(module, module.num_parameters, shape)
    return activations.PReLU(per_channel=True)


BASIC: tuple[Pair, ...] = (
    Pair(
        Linear,
        "Linear",
        lambda layer, shape, layout: {
            "in_features": shape[-1],
            "out_features": layer.out_features,
            "bias": layer.bias,
        },
        _linear,
        transposed,
        transposed,
        layout="last",
    ),
    Pair(
        Dropout,
        "Dropout",
        lambda layer, shape, layout: {"p": layer.rate},
        lambda module, shape, layout: Dropout(module.p),
    ),
    Pair(Flatten, "Flatten", lambda layer, shape, layout: {}, _flatten),
    plain(activations.Identity),
    plain(activations.Sigmoid),
    plain(activations.Tanh),
    plain(activations.ReLU),
    plain(activations.SELU),
    plain(activations.SiLU),
    plain(activations.Mish),
    plain(activations.Hardsigmoid),
    plain(activations.Hardswish),
    Pair(
        activations.LeakyReLU,
        "LeakyReLU",
        lambda layer, shape, layout: {"negative_slope": layer.negative_slope},
        lambda module, shape, layout: activations.LeakyReLU(module.negative_slope),
    ),
    Pair(
        activations.ELU,
        "ELU",
        lambda layer, shape, layout: {"alpha": layer.alpha},
        lambda module, shape, layout: activations.ELU(module.alpha),
    ),
    Pair(
        activations.GELU,
        "GELU",
        lambda layer, shape, layout: {"approximate": "none" if layer.exact else "tanh"},
        lambda module, shape, layout: activations.GELU(exact=module.approximate == "none"),
    ),
    Pair(
        activations.Softplus,
        "Softplus",
        lambda layer, shape, layout: {"threshold": ACCURATE_SOFTPLUS},
        _softplus,
    ),
    _over_channels(activations.Softmax),
    _over_channels(activations.LogSoftmax),
    replace(_over_channels(activations.GLU), ordered=True),
    Pair(
        activations.PReLU,
        "PReLU",
        lambda layer, shape, layout: {"num_parameters": 1},
        lambda module, shape, layout: activations.PReLU(),
        _slope_to_torch,
        _slope_to_layer,
        fits=lambda layer, shape: not layer.per_channel,
        accepts=lambda module: module.num_parameters == 1,
    ),
    Pair(
        activations.PReLU,
        "PReLU",
        lambda layer, shape, layout: {"num_parameters": shape[-1]},
        _slopes,
        _slope_to_torch,
        _slope_to_layer,
        layout="first",
    ),
)


def channels_first_order(shape: Shape) -> np.ndarray[Any, Any]:
    """Return where PyTorch's Flatten finds each value of a sample flattened here.

    Examples
    --------
    >>> channels_first_order((2, 1, 3)).tolist()  # two pixels of three channels
    [0, 3, 1, 4, 2, 5]
    """
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    return np.moveaxis(numbers, -1, 0).reshape(-1)
