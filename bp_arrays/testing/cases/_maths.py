"""The cases of activations, losses and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bp_arrays import activations as a, layers as l_, losses
from bp_arrays.kernels import erfc
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Place
from bp_arrays.testing.cases._inputs import BATCH_SHAPES, batch, normal
from bp_arrays.testing.cases._layer import layer_case, loss_case
from bp_arrays.typing import Array, HostArray

VARIANTS = (*BATCH_SHAPES, "non-contiguous", "extreme values")
SEQUENCES = {"sequences": (3, 4, 5), "sequence of 1": (1, 1, 3), "grids": (2, 3, 1, 5)}
"""(batch, ..., features) of the variants with more than one leading axis."""

WITHOUT_ORACLE = ("large reduction", "extreme values")
"""Where a derivative for each coordinate takes too long, or its step is larger than the value."""

LIMITS = {"large reduction": 64.0}
"""Thousands of terms of either sign nearly cancel: the error is relative to what is left."""


def _dtypes(variant: str) -> tuple[str, ...]:
    """Half precision on sizes whose sums stay exact enough to say something."""
    half = variant in ("ordinary", "batch of 1", "odd sizes", "sequences")
    return DTYPES_WITH_HALF if half else DTYPES


def _input(name: str, variant: str, which: str, columns: int | None = None) -> HostArray:
    """An input of a variant, (batch, features) or with axes between."""
    if variant not in SEQUENCES:
        return batch(name, variant, which, columns)
    *leading, features = SEQUENCES[variant]
    return normal(name, variant, which, shape=(*leading, columns or features))


ACTIVATIONS: dict[str, Layer] = {
    "Identity": a.Identity(),
    "Sigmoid": a.Sigmoid(),
    "Tanh": a.Tanh(),
    "ReLU": a.ReLU(),
    "LeakyReLU": a.LeakyReLU(0.1),
    "ELU": a.ELU(1.3),
    "SELU": a.SELU(),
    "GELU": a.GELU(exact=False),
    "GELU, exact": a.GELU(exact=True),
    "SiLU": a.SiLU(),
    "Softplus": a.Softplus(),
    "Softmax": a.Softmax(),
    "LogSoftmax": a.LogSoftmax(),
}
ANALYTIC_ACTIVATIONS = {"Identity", "Tanh"}

LAYERS: dict[str, Callable[[int], Layer]] = {
    "Linear": lambda features: l_.Linear(3),
    "Linear, no bias": lambda features: l_.Linear(2, bias=False),
    "Sequential": lambda features: l_.Sequential(l_.Linear(4), a.Tanh(), l_.Linear(2)),
    "Sequential, notes' net": lambda features: l_.Sequential(
        l_.Linear(3), a.Sigmoid(), l_.Linear(2), a.Sigmoid()
    ),
    "Residual": lambda features: l_.Residual(l_.Linear(3), a.Tanh(), l_.Linear(features)),
    "Residual, a single layer": lambda features: l_.Residual(l_.Linear(features)),
    "Dropout": lambda features: l_.Dropout(0.3),
    "Standardize": lambda features: l_.Standardize(),
    "Flatten": lambda features: l_.Flatten(),
}
"""The layer for inputs of so many features."""

NOT_ANALYTIC_LAYERS = {"Sequential, notes' net"}
"""The logistic function looks at signs on its way."""

SATURATED = {"Sequential, notes' net", "Residual"}
"""Behind a squashing function at 1 - 1e-16 only the last bit of h is left of 1 - h: at extreme
values the gradients of such a chain are ill-conditioned, on every device."""


def activation_cases() -> Iterator[Case]:
    """Every activation on every variant."""
    for name, activation in ACTIVATIONS.items():
        for variant in (*VARIANTS, *SEQUENCES):
            yield layer_case(
                activation,
                partial(_input, name, variant, "x"),
                variant,
                component=name,
                kind="activation",
                analytic=name in ANALYTIC_ACTIVATIONS,
                oracle=variant not in WITHOUT_ORACLE,
                dtypes=_dtypes(variant),
            )


def layer_cases() -> Iterator[Case]:
    """Every layer on the variants it is good for; Flatten also on what there is to flatten."""
    for name, layer in LAYERS.items():
        for variant in (*VARIANTS, *SEQUENCES):
            if name in SATURATED and variant == "extreme values":
                continue
            x = partial(_input, name, variant, "x")
            yield layer_case(
                layer(x().shape[-1]),
                x,
                variant,
                component=name,
                limit=LIMITS.get(variant, DEFAULT_LIMIT),
                analytic=name not in NOT_ANALYTIC_LAYERS,
                oracle=variant not in WITHOUT_ORACLE,
                dtypes=_dtypes(variant),
            )
    yield layer_case(
        l_.Flatten(),
        partial(normal, "Flatten", "images", shape=(3, 2, 4)),
        "images",
        component="Flatten",
        analytic=True,
    )


IGNORED = -100

LossInputs = Callable[[str, str], HostArrays]


def _like_output(name: str, variant: str) -> HostArrays:
    return {"y": _input(name, variant, "y"), "t": _input(name, variant, "t") - 2e-3}


def _yes_no(name: str, variant: str) -> HostArrays:
    y = _input(name, variant, "y")
    t = (normal(name, variant, "t", shape=y.shape) > 0).astype(np.float64)
    return {"y": y, "t": t}


def _classes(name: str, variant: str) -> HostArrays:
    y = _input(name, variant, "y", columns=3)
    return {"y": y, "t": np.reshape(np.arange(y[..., 0].size) % 3, y.shape[:-1])}


def _some_ignored(name: str, variant: str) -> HostArrays:
    """Every second target is the ignored one, the last one too: of one sample the only one."""
    inputs = _classes(name, variant)
    t = np.ravel(inputs["t"])
    t[::-2] = IGNORED
    return inputs | {"t": np.reshape(t, inputs["t"].shape)}


def _probabilities(name: str, variant: str) -> HostArrays:
    """Targets that need not sum to 1, so that a backward that takes it for granted is caught."""
    y = _input(name, variant, "y", columns=3)
    return {"y": y, "t": np.abs(normal(name, variant, "t", shape=y.shape))}


def _weighted(make: LossInputs, name: str, variant: str, axes: int = 1) -> HostArrays:
    """With a weight for each sample, or with more axes for each position."""
    inputs = make(name, variant)
    shape = inputs["y"].shape[:axes]
    return inputs | {"weight": np.abs(normal(name, variant, "weight", shape=shape))}


LOSSES: dict[str, tuple[Callable[[str], Loss], LossInputs]] = {
    "L2Loss": (lambda reduction: losses.L2Loss(reduction=reduction), _like_output),
    "MeanSquaredError": (
        lambda reduction: losses.MeanSquaredError(reduction=reduction),
        _like_output,
    ),
    "MeanAbsoluteError": (
        lambda reduction: losses.MeanAbsoluteError(reduction=reduction),
        _like_output,
    ),
    "Huber": (lambda reduction: losses.Huber(0.7, reduction=reduction), _like_output),
    "BinaryCrossEntropy": (
        lambda reduction: losses.BinaryCrossEntropy(reduction=reduction),
        _yes_no,
    ),
    "CrossEntropy": (lambda reduction: losses.CrossEntropy(reduction=reduction), _classes),
    "CrossEntropy, probabilities": (
        lambda reduction: losses.CrossEntropy(reduction=reduction),
        _probabilities,
    ),
    "CrossEntropy, smoothed": (
        lambda reduction: losses.CrossEntropy(label_smoothing=0.1, reduction=reduction),
        _classes,
    ),
    "CrossEntropy, class weights": (
        lambda reduction: losses.CrossEntropy(class_weights=(0.5, 1.0, 2.0), reduction=reduction),
        _classes,
    ),
    "CrossEntropy, ignored class": (
        lambda reduction: losses.CrossEntropy(ignore_index=IGNORED, reduction=reduction),
        _some_ignored,
    ),
    "CrossEntropy, all rules": (
        lambda reduction: losses.CrossEntropy(0.1, (0.5, 1.0, 2.0), IGNORED, reduction=reduction),
        _some_ignored,
    ),
}
ANALYTIC_LOSSES = {"L2Loss", "MeanSquaredError"}


def loss_cases() -> Iterator[Case]:
    """Every loss on every variant; its sum, and its weighted mean and sum, besides."""
    for name, (make, inputs) in LOSSES.items():
        for variant in (*VARIANTS, *SEQUENCES):
            yield loss_case(
                make("mean"),
                partial(inputs, name, variant),
                variant,
                component=name,
                analytic=name in ANALYTIC_LOSSES,
                oracle=variant not in WITHOUT_ORACLE,
                dtypes=_dtypes(variant),
            )
        for reduction in ("mean", "sum"):
            yield loss_case(
                make(reduction),
                partial(_weighted, inputs, name, "ordinary"),
                f"weighted {reduction}",
                component=name,
                analytic=name in ANALYTIC_LOSSES,
            )
            yield loss_case(
                make(reduction),
                partial(_weighted, inputs, name, "sequences"),
                f"sequences, weighted {reduction}",
                component=name,
                analytic=name in ANALYTIC_LOSSES,
            )
            if make(reduction).takes_classes:
                yield loss_case(
                    make(reduction),
                    partial(_weighted, inputs, name, "sequences", axes=2),
                    f"sequences, masked {reduction}",
                    component=name,
                )
        yield loss_case(
            make("sum"),
            partial(inputs, name, "ordinary"),
            "sum",
            component=name,
            analytic=name in ANALYTIC_LOSSES,
        )


def kernel_cases() -> Iterator[Case]:
    """The form of a kernel that each library gets, and its standard form on every library."""
    for form, function in (("native", erfc), ("standard", erfc.standard)):
        for variant in ("ordinary", "odd sizes", "extreme values"):
            yield Case(
                "erfc",
                f"{form} form, {variant}",
                "kernel",
                partial(_kernel_input, variant),
                partial(_kernel_value, function),
                dtypes=DTYPES_WITH_HALF,
            )


def _kernel_input(variant: str) -> HostArrays:
    return {"x": 2.0 * batch("erfc", variant, "x")}


def _kernel_value(function: Callable[..., Array], place: Place, arrays: HostArrays) -> HostArrays:
    return {"y": function(arrays["x"], xp=place.xp)}
