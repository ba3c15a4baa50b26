"""Cases of initializers, random streams, optimizers and schedules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.initializers import INITIALIZERS, Initializer, Orthogonal
from bp_arrays.kernels import threefry2x32
from bp_arrays.optimizers import (
    EMA,
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
from bp_arrays.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
    Warmup,
)
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.witnesses import Witness
from bp_arrays.testing.witnesses._initializers import drawn_by_numpy
from bp_arrays.testing.witnesses._random import (
    KNOWN_ANSWERS,
    bits_values,
    counters,
    known_answers,
    mask_values,
)
from bp_arrays.testing.witnesses._updates import schedule_values, update_witnesses
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import Array

CHECKED_INITIALIZERS: dict[str, Initializer] = {
    **{name: kind() for name, kind in INITIALIZERS.items()},
    "Orthogonal, gain": Orthogonal(2.0),
}
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
    "EMA": EMA(SGD(0.1, momentum=0.9), decay=0.9),
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

SCHEDULES: dict[str, Schedule] = {
    "Constant": Constant(0.3),
    "StepDecay": StepDecay(0.8, factor=0.5, every=3),
    "Exponential": Exponential(0.8, decay=0.9),
    "Cosine": Cosine(0.8, steps=8, final=0.1),
    "Warmup": Warmup(4, then=0.8),
    "OneCycle": OneCycle(1.0, steps=10),
    "ReduceOnPlateau": ReduceOnPlateau(0.8, factor=0.5, patience=1),
}
LOSSES_OF_EPOCHS = (0.9, 0.5, 0.5, 0.6, 0.4, 0.41, 0.39999, 0.3, float("nan"), 0.3)


def initializer_cases() -> Iterator[Case]:
    """Yield cases of values drawn on the host, which must reach a device bit for bit."""
    for name, initializer in CHECKED_INITIALIZERS.items():
        for variant, shape in SHAPES.items():

            def inputs(
                initializer: Initializer = initializer,
                shape: tuple[int, ...] = shape,
                path: tuple[str, str] = (name, variant),
            ) -> HostArrays:
                return {"drawn": np.asarray(initializer.draw(shape, host_generator(0, *path)))}

            yield Case(
                name,
                variant,
                "initializer",
                inputs,
                _unchanged,
                exact=frozenset({"values"}),
                witnesses=(drawn_by_numpy(name, shape, (name, variant)),),
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
            witnesses=formula(partial(bits_values, seed, step, count)),
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
            witnesses=formula(partial(mask_values, 3, 5, rate)),
            dtypes=("float32",),
        )
    yield Case(
        "random bits",
        "known answers",
        "random",
        counters,
        _answers,
        exact=frozenset(f"vector {k}" for k in range(len(KNOWN_ANSWERS))),
        witnesses=(Witness("Random123 vectors", known_answers),),
        dtypes=("float32",),
    )


def _bits(
    placement: Placement, arrays: dict[str, Array], seed: int, step: int, count: int
) -> dict[str, Array]:
    stream = placement.context(seed, step).random
    assert stream is not None
    return {"first draw": stream.bits(count), "second draw": stream.bits(count)}


def _answers(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the words of each counter with its key."""
    xp, words = placement.xp, {}
    for k, (_, key, _) in enumerate(KNOWN_ANSWERS):
        counter = arrays[f"counter {k}"]
        words[f"vector {k}"] = xp.concat(threefry2x32(key, counter[:1], counter[1:]))
    return words


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
                witnesses=update_witnesses(name),
                wide=frozenset({"state 0", "state 1"}),
                dtypes=VECTORS[variant][2],
            )


def schedule_cases() -> Iterator[Case]:
    """Yield a case for each schedule: its rates, as the steps of a descent along a slope of 1."""
    for name, schedule in SCHEDULES.items():
        yield Case(
            name,
            "ordinary",
            "schedule",
            _losses_of_epochs,
            partial(_steps, schedule),
            witnesses=formula(partial(schedule_values, name)),
        )


def _losses_of_epochs() -> HostArrays:
    return {"losses": np.array(LOSSES_OF_EPOCHS)}


def _steps(schedule: Schedule, placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    sgd, one = SGD(schedule), placement.array(np.ones(1))
    rates = []
    for step in range(len(LOSSES_OF_EPOCHS)):
        scalars = sgd.scalars(step + 1, sgd.rate(step, LOSSES_OF_EPOCHS[:step]))
        theta, _ = sgd.update(0.0 * one, one, (), scalars, placement.xp)
        rates.append(-theta)
    return {"rates": placement.xp.concat(rates)}


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
