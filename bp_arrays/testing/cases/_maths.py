"""Cases of activations, losses and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bp_arrays.activations import (
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    SwiGLU,
    Tanh,
)
from bp_arrays.kernels import erfc
from bp_arrays.layers import (
    Dropout,
    Flatten,
    Layer,
    Linear,
    Reshape,
    Residual,
    Sequential,
    Standardize,
)
from bp_arrays.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    L2Loss,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import BATCH_SHAPES, batch, normal
from bp_arrays.testing.cases._layer import layer_case, loss_case
from bp_arrays.testing.witnesses._activations import (
    activation_values,
    erfc_values,
    prelu_values,
)
from bp_arrays.testing.witnesses._layers import layer_values
from bp_arrays.testing.witnesses._losses import loss_values
from bp_arrays.testing.witnesses._onnx import activation_witness, cross_entropy_witness
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import Array, HostArray

VARIANTS = (*BATCH_SHAPES, "non-contiguous", "extreme values")
SEQUENCES = {"sequences": (3, 4, 5), "sequence of 1": (1, 1, 3), "grids": (2, 3, 1, 5)}
"""(batch, ..., features) of the variants with more than one leading axis."""

WITHOUT_ORACLE = ("large reduction", "extreme values")
"""Variants on which the oracles take too long, or their step is larger than the value."""

LIMITS = {"large reduction": 64.0}
"""Limits for sums of many terms that nearly cancel: their rounding error is relatively large."""


def _dtypes(variant: str) -> tuple[str, ...]:
    """Return the dtypes of a case; half precision only on sizes whose sums are exact enough."""
    is_small = variant in ("ordinary", "batch of 1", "odd sizes", "sequences")
    return DTYPES_WITH_HALF if is_small else DTYPES


def _input(name: str, variant: str, which: str, columns: int | None = None) -> HostArray:
    """Return an input of a variant, (batch, features) or with axes between."""
    if variant not in SEQUENCES:
        return batch(name, variant, which, columns)
    *leading, features = SEQUENCES[variant]
    return normal(name, variant, which, shape=(*leading, columns or features))


ACTIVATIONS: dict[str, Layer] = {
    "Identity": Identity(),
    "Sigmoid": Sigmoid(),
    "Tanh": Tanh(),
    "ReLU": ReLU(),
    "LeakyReLU": LeakyReLU(0.1),
    "ELU": ELU(1.3),
    "SELU": SELU(),
    "GELU": GELU(exact=False),
    "GELU, exact": GELU(exact=True),
    "SiLU": SiLU(),
    "Softplus": Softplus(),
    "Mish": Mish(),
    "Hardsigmoid": Hardsigmoid(),
    "Hardswish": Hardswish(),
    "Softmax": Softmax(),
    "LogSoftmax": LogSoftmax(),
}
GATED: dict[str, Layer] = {"GLU": GLU(), "SwiGLU": SwiGLU()}
"""Activations that halve the last axis."""

ANALYTIC_ACTIVATIONS = {"Identity", "Tanh"}

LAYERS: dict[str, Callable[[int], Layer]] = {
    "Linear": lambda features: Linear(3),
    "Linear, no bias": lambda features: Linear(2, bias=False),
    "Sequential": lambda features: Sequential(Linear(4), Tanh(), Linear(2)),
    "Sequential, notes' net": lambda features: Sequential(
        Linear(3), Sigmoid(), Linear(2), Sigmoid()
    ),
    "Residual": lambda features: Residual(Linear(3), Tanh(), Linear(features)),
    "Residual, a single layer": lambda features: Residual(Linear(features)),
    "Dropout": lambda features: Dropout(0.3),
    "Standardize": lambda features: Standardize(),
    "Flatten": lambda features: Flatten(),
}
"""Layers, as functions of the number of input features."""

NOT_ANALYTIC_LAYERS = {"Sequential, notes' net"}
"""Layers with a comparison in the forward: the logistic function branches on the sign."""

SATURATED = {"Sequential, notes' net", "Residual"}
"""Layers that are ill-conditioned at extreme values, on every device: when h rounds to
1 - 1e-16, only one bit of 1 - h is left."""


def activation_cases() -> Iterator[Case]:
    """Yield the cases of every activation with every variant."""
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
                witnesses=formula(partial(activation_values, name)) + activation_witness(name),
                dtypes=_dtypes(variant),
            )
    for name, activation in GATED.items():
        for variant in VARIANTS:
            yield layer_case(
                activation,
                partial(_two_halves, name, variant),
                variant,
                component=name,
                kind="activation",
                oracle=variant not in WITHOUT_ORACLE,
                witnesses=formula(partial(activation_values, name)),
                dtypes=_dtypes(variant),
            )
    for variant in (*VARIANTS, "sequences", "one slope"):
        yield layer_case(
            PReLU(0.1, per_channel=variant != "one slope"),
            partial(_input, "PReLU", "ordinary" if variant == "one slope" else variant, "x"),
            variant,
            kind="activation",
            limit=LIMITS.get(variant, DEFAULT_LIMIT),
            oracle=variant not in WITHOUT_ORACLE,
            witnesses=formula(prelu_values),
            dtypes=_dtypes(variant),
        )


def _two_halves(name: str, variant: str) -> HostArray:
    """Return an input with twice the features of the variant."""
    return _input(name, variant, "x", columns=2 * _input(name, variant, "x").shape[-1])


def layer_cases() -> Iterator[Case]:
    """Yield the cases of every layer with the variants that suit it; Flatten also with images."""
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
                witnesses=formula(partial(layer_values, name)),
                dtypes=_dtypes(variant),
            )
    yield layer_case(
        Flatten(),
        partial(normal, "Flatten", "images", shape=(3, 2, 4)),
        "images",
        component="Flatten",
        analytic=True,
        witnesses=formula(partial(layer_values, "Flatten")),
    )
    yield layer_case(
        Reshape((3, 2, 2)),
        partial(normal, "Reshape", "images", shape=(3, 2, 6)),
        "images",
        analytic=True,
        witnesses=formula(partial(layer_values, "Reshape")),
    )
    yield layer_case(
        Dropout(0.3),
        partial(normal, "Dropout", "infinite errors", shape=(5, 4)),
        "infinite errors",
        oracle=False,
        delta=lambda drawn: np.copysign(np.inf, drawn),  # 0 · ∞ is NaN, a dropped error is 0
        witnesses=formula(partial(layer_values, "Dropout")),
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
    """Draw classes; every second target, counted from the last, is the ignored one."""
    inputs = _classes(name, variant)
    t = np.ravel(inputs["t"])
    t[::-2] = IGNORED
    return inputs | {"t": np.reshape(t, inputs["t"].shape)}


def _probabilities(name: str, variant: str) -> HostArrays:
    """Draw targets that do not sum to 1, to catch a backward that assumes they do."""
    y = _input(name, variant, "y", columns=3)
    return {"y": y, "t": np.abs(normal(name, variant, "t", shape=y.shape))}


def _weighted(make: LossInputs, name: str, variant: str, axes: int = 1) -> HostArrays:
    """Add weights to the inputs: one per sample or, with more axes, one per position."""
    inputs = make(name, variant)
    shape = inputs["y"].shape[:axes]
    return inputs | {"weight": np.abs(normal(name, variant, "weight", shape=shape))}


LOSSES: dict[str, tuple[Callable[[str], Loss], LossInputs]] = {
    "L2Loss": (lambda reduction: L2Loss(reduction=reduction), _like_output),
    "MeanSquaredError": (
        lambda reduction: MeanSquaredError(reduction=reduction),
        _like_output,
    ),
    "MeanAbsoluteError": (
        lambda reduction: MeanAbsoluteError(reduction=reduction),
        _like_output,
    ),
    "Huber": (lambda reduction: Huber(0.7, reduction=reduction), _like_output),
    "BinaryCrossEntropy": (
        lambda reduction: BinaryCrossEntropy(reduction=reduction),
        _yes_no,
    ),
    "BinaryCrossEntropy, pos_weight": (
        lambda reduction: BinaryCrossEntropy(pos_weight=3.0, reduction=reduction),
        _yes_no,
    ),
    "CrossEntropy": (lambda reduction: CrossEntropy(reduction=reduction), _classes),
    "CrossEntropy, probabilities": (
        lambda reduction: CrossEntropy(reduction=reduction),
        _probabilities,
    ),
    "CrossEntropy, smoothed": (
        lambda reduction: CrossEntropy(label_smoothing=0.1, reduction=reduction),
        _classes,
    ),
    "CrossEntropy, class weights": (
        lambda reduction: CrossEntropy(class_weights=(0.5, 1.0, 2.0), reduction=reduction),
        _classes,
    ),
    "CrossEntropy, ignored class": (
        lambda reduction: CrossEntropy(ignore_index=IGNORED, reduction=reduction),
        _some_ignored,
    ),
    "CrossEntropy, all rules": (
        lambda reduction: CrossEntropy(0.1, (0.5, 1.0, 2.0), IGNORED, reduction=reduction),
        _some_ignored,
    ),
}
ANALYTIC_LOSSES = {"L2Loss", "MeanSquaredError"}


def loss_cases() -> Iterator[Case]:
    """Yield the cases of every loss with every variant; also its sum, weighted mean and sum."""
    for name, (make, inputs) in LOSSES.items():
        values = {r: formula(partial(loss_values, name, r)) for r in ("mean", "sum")}
        by_onnx = {r: cross_entropy_witness(name, r) for r in ("mean", "sum")}
        for variant in (*VARIANTS, *SEQUENCES):
            yield loss_case(
                make("mean"),
                partial(inputs, name, variant),
                variant,
                component=name,
                analytic=name in ANALYTIC_LOSSES,
                oracle=variant not in WITHOUT_ORACLE,
                witnesses=values["mean"] + by_onnx["mean"],
                dtypes=_dtypes(variant),
            )
        for reduction in ("mean", "sum"):
            yield loss_case(
                make(reduction),
                partial(_weighted, inputs, name, "ordinary"),
                f"weighted {reduction}",
                component=name,
                analytic=name in ANALYTIC_LOSSES,
                witnesses=values[reduction],
            )
            yield loss_case(
                make(reduction),
                partial(_weighted, inputs, name, "sequences"),
                f"sequences, weighted {reduction}",
                component=name,
                analytic=name in ANALYTIC_LOSSES,
                witnesses=values[reduction],
            )
            if make(reduction).takes_classes:
                yield loss_case(
                    make(reduction),
                    partial(_weighted, inputs, name, "sequences", axes=2),
                    f"sequences, masked {reduction}",
                    component=name,
                    witnesses=values[reduction],
                )
        yield loss_case(
            make("sum"),
            partial(inputs, name, "ordinary"),
            "sum",
            component=name,
            analytic=name in ANALYTIC_LOSSES,
            witnesses=values["sum"] + by_onnx["sum"],
        )


def kernel_cases() -> Iterator[Case]:
    """Yield cases of the form of a kernel for each library, and of its standard form on all."""
    for form, function in (("native", erfc), ("standard", erfc.standard)):
        for variant in ("ordinary", "odd sizes", "extreme values"):
            yield Case(
                "erfc",
                f"{form} form, {variant}",
                "kernel",
                partial(_kernel_input, variant),
                partial(_kernel_value, function),
                witnesses=formula(erfc_values),
                dtypes=DTYPES_WITH_HALF,
            )


def _kernel_input(variant: str) -> HostArrays:
    return {"x": 2.0 * batch("erfc", variant, "x")}


def _kernel_value(
    function: Callable[..., Array], placement: Placement, arrays: HostArrays
) -> HostArrays:
    return {"y": function(arrays["x"], xp=placement.xp)}
