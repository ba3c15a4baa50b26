"""Cases of initializers, random streams and optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.initializers import INITIALIZERS, Initializer
from bp_arrays.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Chain,
    ClipByGlobalNorm,
    Optimizer,
    RMSProp,
    WeightDecay,
)
from bp_arrays.random import host_generator
from bp_arrays.schedules import Cosine
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.typing import Array

DEFAULT_INITIALIZERS = {name: kind() for name, kind in INITIALIZERS.items()}
SHAPES = {"wide": (3, 7), "tall": (7, 3), "one column": (5, 1)}

OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": SGD(0.1),
    "SGD, momentum": SGD(0.1, momentum=0.9),
    "SGD, Nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "RMSProp": RMSProp(0.01),
    "RMSProp, momentum": RMSProp(0.01, momentum=0.9),
    "Adagrad": Adagrad(0.05),
    "Adam": Adam(0.01),
    "Adam, cosine": Adam(Cosine(0.01, steps=4)),
    "AdamW": AdamW(0.01, weight_decay=0.1),
    "ClipByGlobalNorm": Chain(ClipByGlobalNorm(0.5), SGD(0.1)),
    "WeightDecay": Chain(WeightDecay(0.1), SGD(0.1)),
    "Chain": Chain(ClipByGlobalNorm(2.0), WeightDecay(0.01), Adam(0.01)),
}
VECTORS = {
    "ordinary": (101, 1.0, DTYPES_WITH_HALF),
    "a single parameter": (1, 1.0, DTYPES),
    "non-contiguous": (101, 1.0, DTYPES),
    "zero gradients": (101, 0.0, DTYPES_WITH_HALF),
    "tiny gradients": (101, 1e-6, DTYPES_WITH_HALF),
    "large gradients": (101, 1e4, DTYPES_WITH_HALF),
    "huge gradients": (101, 1e6, DTYPES),
    "large reduction": (30_001, 1.0, DTYPES_WITH_HALF),
}
"""Number of parameters, scale of the gradients and dtypes of each variant."""

UPDATES = 4


def initializer_cases() -> Iterator[Case]:
    """Yield cases of values drawn on the host, which must reach a device bit for bit."""
    for name, initializer in DEFAULT_INITIALIZERS.items():
        for variant, shape in SHAPES.items():

            def inputs(
                initializer: Initializer = initializer,
                shape: tuple[int, ...] = shape,
                path: tuple[str, str] = (name, variant),
            ) -> HostArrays:
                return {"drawn": np.asarray(initializer.draw(shape, host_generator(0, *path)))}

            yield Case(
                name, variant, "initializer", inputs, _unchanged, exact=frozenset({"values"})
            )


def _unchanged(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    return {"values": arrays["drawn"]}


def random_cases() -> Iterator[Case]:
    """Yield cases of random words and masks, which must be equal to the last bit."""
    for seed, step, count in ((0, 0, 1), (0, 1, 64), (2026, 7, 1001), (2**40 + 1, 2**31 - 1, 33)):
        yield Case(
            "random bits",
            f"seed {seed}, step {step}, {count} words",
            "random",
            dict,
            partial(_bits, seed=seed, step=step, count=count),
            exact=frozenset({"first draw", "second draw"}),
            dtypes=("float32",),
        )
    for rate in (0.0, 0.1, 0.5, 0.999):
        yield Case(
            "dropout masks",
            f"rate {rate}",
            "random",
            dict,
            partial(_masks, rate=rate),
            exact=frozenset({"first mask", "second mask"}),
            dtypes=("float32",),
        )


def _bits(
    placement: Placement, arrays: dict[str, Array], seed: int, step: int, count: int
) -> dict[str, Array]:
    stream = placement.context(seed, step).random
    assert stream is not None
    return {"first draw": stream.bits(count), "second draw": stream.bits(count)}


def _masks(placement: Placement, arrays: dict[str, Array], rate: float) -> dict[str, Array]:
    stream = placement.context(seed=3, step=5).random
    assert stream is not None
    return {
        "first mask": stream.keep_mask((7, 31), rate)[0],
        "second mask": stream.keep_mask((1, 3), rate)[0],
    }


def optimizer_cases() -> Iterator[Case]:
    """Yield cases of a few updates of a vector, each with another gradient."""
    for name, optimizer in OPTIMIZERS.items():
        for variant in VECTORS:
            yield Case(
                name,
                variant,
                "optimizer",
                partial(_vectors, name, variant),
                partial(_updates, optimizer),
                wide=frozenset({"state 0", "state 1"}),
                dtypes=VECTORS[variant][2],
            )


def _vectors(name: str, variant: str) -> HostArrays:
    size, scale, _ = VECTORS[variant]
    step = 2 if variant == "non-contiguous" else 1

    def vector(*path: str | int) -> np.ndarray[Any, Any]:
        return normal(name, variant, *path, shape=(step * size,))[::step]

    # θ is no larger than its updates, so that a fault in them is visible in the sum
    theta = 0.01 * vector("theta")
    return {"theta": theta} | {f"g{k}": scale * vector("g", k) for k in range(UPDATES)}


def _updates(
    optimizer: Optimizer, placement: Placement, arrays: dict[str, Array]
) -> dict[str, Array]:
    xp, theta = placement.xp, arrays["theta"]
    state = optimizer.init(theta, xp)
    for k in range(UPDATES):
        scalars = optimizer.scalars(k + 1, optimizer.rate(k))
        theta, state = optimizer.update(theta, arrays[f"g{k}"], state, scalars, xp)
    return {"theta": theta} | {f"state {k}": vector for k, vector in enumerate(state)}
