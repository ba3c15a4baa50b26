"""The cases of activations, losses and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bp_arrays import activations as a, layers as l_, losses
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing.case import DEFAULT_LIMIT, DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing.layer_case import layer_case, loss_case
from bp_arrays.testing.place import HostArrays
from bp_arrays.testing.variants import batch, normal

SIZES = ("ordinary", "batch of 1", "one feature", "odd sizes", "non-contiguous", "large reduction")
VARIANTS = (*SIZES, "extreme values")
ELEMENTWISE = ("ordinary", "batch of 1", "odd sizes", "non-contiguous", "extreme values")
LIMITS = {"large reduction": 64.0}
"""Thousands of terms of either sign nearly cancel: the error is relative to what is left."""

WITHOUT_HALF = {"GELU, exact"}
"""The polynomials of the error function overflow in float16."""


def _dtypes(name: str, variant: str) -> tuple[str, ...]:
    """Half precision on sizes whose sums stay exact enough to say something."""
    half = variant in ("ordinary", "batch of 1", "odd sizes") and name not in WITHOUT_HALF
    return DTYPES_WITH_HALF if half else DTYPES


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

LAYERS: dict[str, tuple[Layer, tuple[str, ...]]] = {
    "Linear": (l_.Linear(3), VARIANTS),
    "Linear, no bias": (l_.Linear(2, bias=False), SIZES),
    "Sequential": (l_.Sequential(l_.Linear(4), a.Tanh(), l_.Linear(2)), SIZES),
    "Sequential, notes' net": (
        l_.Sequential(l_.Linear(3), a.Sigmoid(), l_.Linear(2), a.Sigmoid()),
        SIZES,
    ),
    "Dropout": (l_.Dropout(0.3), VARIANTS),
    "Standardize": (l_.Standardize(), VARIANTS),
    "Flatten": (l_.Flatten(), SIZES),
}
ANALYTIC_LAYERS = {"Linear", "Linear, no bias", "Sequential", "Dropout", "Standardize", "Flatten"}


def activation_cases() -> Iterator[Case]:
    """Every activation; those that work element by element need no variant of features."""
    for name, activation in ACTIVATIONS.items():
        for variant in VARIANTS if "Softmax" in name else ELEMENTWISE:
            yield layer_case(
                activation,
                partial(batch, name, variant, "x"),
                variant,
                component=name,
                kind="activation",
                analytic=name in ANALYTIC_ACTIVATIONS,
                oracle=variant not in ("extreme values", "large reduction"),
                dtypes=_dtypes(name, variant),
            )


def layer_cases() -> Iterator[Case]:
    """Every layer; those that need an input of their own shape get one."""
    for name, (layer, variants) in LAYERS.items():
        for variant in variants:
            yield layer_case(
                layer,
                partial(batch, name, variant, "x"),
                variant,
                component=name,
                limit=LIMITS.get(variant, DEFAULT_LIMIT),
                analytic=name in ANALYTIC_LAYERS,
                oracle=variant not in ("extreme values", "large reduction"),
                dtypes=_dtypes(name, variant),
            )
    for features in (1, 4):
        yield layer_case(
            l_.Residual(l_.Linear(3), a.Tanh(), l_.Linear(features)),
            partial(normal, "Residual", features, shape=(5, features)),
            f"{features} features",
            component="Residual",
            analytic=True,
        )
    yield layer_case(
        l_.Residual(l_.Linear(4)),
        partial(normal, "Residual", "single", shape=(5, 4)),
        "a single layer",
        component="Residual",
        analytic=True,
    )
    yield layer_case(
        l_.Flatten(),
        partial(normal, "Flatten", "images", shape=(3, 2, 4)),
        "images",
        component="Flatten",
        analytic=True,
    )


LossInputs = Callable[[str, str], HostArrays]


def _like_output(name: str, variant: str) -> HostArrays:
    return {"y": batch(name, variant, "y"), "t": batch(name, variant, "t") - 2e-3}


def _yes_no(name: str, variant: str) -> HostArrays:
    y = batch(name, variant, "y")
    t = (normal(name, variant, "t", shape=y.shape) > 0).astype(np.float64)
    return {"y": y, "t": t}


def _classes(name: str, variant: str) -> HostArrays:
    y = batch(name, variant, "y", columns=3)
    return {"y": y, "t": np.arange(y.shape[0]) % 3}


def _probabilities(name: str, variant: str) -> HostArrays:
    """Targets that need not sum to 1, so that a backward that takes it for granted is caught."""
    y = batch(name, variant, "y", columns=3)
    return {"y": y, "t": np.abs(normal(name, variant, "t", shape=y.shape))}


def _weighted(make: LossInputs, name: str, variant: str) -> HostArrays:
    inputs = make(name, variant)
    rows = inputs["y"].shape[0]
    return inputs | {"weight": np.abs(normal(name, variant, "weight", shape=(rows,)))}


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
}
ANALYTIC_LOSSES = {"L2Loss", "MeanSquaredError"}


def loss_cases() -> Iterator[Case]:
    """Every loss on every variant; its sum, and its weighted mean and sum, besides."""
    for name, (make, inputs) in LOSSES.items():
        for variant in VARIANTS:
            yield loss_case(
                make("mean"),
                partial(inputs, name, variant),
                variant,
                component=name,
                analytic=name in ANALYTIC_LOSSES,
                oracle=variant not in ("extreme values", "large reduction"),
                dtypes=_dtypes(name, variant),
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
            make("sum"),
            partial(inputs, name, "ordinary"),
            "sum",
            component=name,
            analytic=name in ANALYTIC_LOSSES,
        )
