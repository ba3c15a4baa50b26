"""Cases of the losses with missing targets and weights per position, and of the further losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bp_arrays.losses import (
    CTC,
    BinaryCrossEntropy,
    Contrastive,
    CosineSimilarity,
    GaussianNLL,
    Hinge,
    Huber,
    KLDivergence,
    L2Loss,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiMargin,
    PoissonNLL,
    SquaredHinge,
    TripletMargin,
)
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays
from bp_arrays.testing.cases._inputs import extremes, normal
from bp_arrays.testing.cases._layer import loss_case
from bp_arrays.testing.witnesses._loss_terms import (
    OF_TARGETS,
    values_of_pairs,
    values_of_paths,
    values_of_positions,
    values_of_targets,
    values_of_triplets,
)
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import HostArray, Shape

Draw = Callable[[str, str, Shape], HostArray]
"""(component, variant, shape of y) -> targets."""


def _values(name: str, variant: str, shape: Shape) -> HostArray:
    return normal(name, variant, "t", shape=shape) - 2e-3


def _half_as_many(name: str, variant: str, shape: Shape) -> HostArray:
    return _values(name, variant, (*shape[:-1], shape[-1] // 2))


def _labels(name: str, variant: str, shape: Shape) -> HostArray:
    return (normal(name, variant, "t", shape=shape) > 0).astype(np.float64)


def _signs(name: str, variant: str, shape: Shape) -> HostArray:
    return np.sign(normal(name, variant, "t", shape=shape))


def _counts(name: str, variant: str, shape: Shape) -> HostArray:
    """Draw counts: 0, small ones on both sides of the 8 of Stirling's series, and fractions."""
    return np.floor(np.abs(normal(name, variant, "t", shape=shape, scale=10.0))) / 2.0


def _shares(name: str, variant: str, shape: Shape) -> HostArray:
    """Draw probabilities, some of them 0."""
    drawn = (
        np.maximum(normal(name, variant, "t", shape=shape) + 0.5, 0.0)
        + 1e-3 * np.eye(shape[-1])[np.zeros(shape[:-1], int)]
    )
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True))


def _classes(name: str, variant: str, shape: Shape) -> HostArray:
    positions = shape[:-1]
    return np.reshape(np.arange(np.prod(positions)) % shape[-1], positions)


def _some_ignored(name: str, variant: str, shape: Shape) -> HostArray:
    t = _classes(name, variant, shape)
    return np.where(np.arange(t.size).reshape(t.shape) % 2 == 1, -1, t)


def _inputs(
    name: str, variant: str, shape: Shape, draw: Draw, weight_axes: int, missing: float
) -> HostArrays:
    y = extremes(shape[-1]) if variant == EXTREME else normal(name, variant, "y", shape=shape)
    t = draw(name, variant, y.shape)
    if missing:
        gone = normal(name, variant, "missing", shape=t.shape) < missing
        t = np.where(gone, np.nan, t)
    inputs = {"y": y, "t": t}
    if weight_axes:
        weight = np.abs(normal(name, variant, "weight", shape=y.shape[:weight_axes]))
        if weight_axes > 1:
            weight[0, -1] = 0.0  # a mask
        inputs["weight"] = weight
    return inputs


EXTREME = "extreme values"


def _case(
    name: str,
    variant: str,
    loss: Loss,
    shape: Shape,
    draw: Draw,
    *,
    weights: int = 0,
    missing: float = 0.0,
    oracle: bool = True,
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case; `weights` is the number of axes of the weights, `missing` a threshold."""
    values = values_of_targets if name in OF_TARGETS else values_of_positions
    return loss_case(
        loss,
        partial(_inputs, name, variant, shape, draw, weights, missing),
        variant,
        component=name,
        oracle=oracle and variant != EXTREME,
        witnesses=formula(partial(values, name, loss.reduction)),
        dtypes=dtypes,
    )


def loss_term_cases() -> Iterator[Case]:
    """Yield the cases of missing targets, of weights per position, and of the further losses."""
    yield from _missing_targets()
    yield from _further_losses()
    yield from _contrastive()
    yield from _triplets()
    yield from _ctc()


def _missing_targets() -> Iterator[Case]:
    sequence = (3, 4, 2)
    squared = partial(MeanSquaredError, ignore_nan=True)
    name = "MeanSquaredError"
    yield _case(name, "missing targets", squared(), (5, 4), _values, missing=0.2)
    yield _case(
        name, "missing, weighted mean", squared(), sequence, _values, weights=1, missing=0.2
    )
    yield _case(
        name, "missing, masked sum", squared(reduction="sum"), sequence, _values, weights=2,
        dtypes=DTYPES_WITH_HALF, missing=0.2,
    )  # fmt: skip
    yield _case(name, "all missing", squared(), (2, 3), _values, missing=99.0)
    yield _case(name, "masked sequences", MeanSquaredError(), sequence, _values, weights=2)
    yield _case("L2Loss", "missing, masked", L2Loss(ignore_nan=True), sequence, _values, weights=2,
                missing=0.2)  # fmt: skip
    yield _case("MeanAbsoluteError", "missing targets", MeanAbsoluteError(ignore_nan=True), (5, 4),
                _values, missing=0.2)  # fmt: skip
    yield _case("Huber", "masked sequences", Huber(0.7), sequence, _values, weights=2)
    yield _case(
        "BinaryCrossEntropy, pos_weight", "missing labels",
        BinaryCrossEntropy(pos_weight=3.0, ignore_nan=True), (5, 4), _labels, weights=1,
        missing=0.2,
    )  # fmt: skip


def _further_losses() -> Iterator[Case]:
    makes: dict[str, tuple[Callable[..., Loss], Draw, bool]] = {
        "Hinge": (Hinge, _labels, True),
        "SquaredHinge": (SquaredHinge, _signs, True),
        "PoissonNLL": (PoissonNLL, _counts, True),
        "PoissonNLL, full": (partial(PoissonNLL, True), _counts, True),
        "GaussianNLL": (GaussianNLL, _half_as_many, True),
        "GaussianNLL, full": (partial(GaussianNLL, 0.1, True), _half_as_many, True),
        "KLDivergence": (KLDivergence, _shares, False),
        "CosineSimilarity": (CosineSimilarity, _values, False),
        "MultiMargin": (MultiMargin, _classes, False),
        "MultiMargin, squared": (partial(MultiMargin, 2, 0.7, -1), _some_ignored, False),
    }
    for name, (make, draw, takes_nan) in makes.items():
        half = DTYPES_WITH_HALF
        yield _case(name, "ordinary", make(), (5, 4), draw, dtypes=half)
        if "," in name:  # the options of a loss that has cases of its own
            total = make(reduction="sum")
            yield _case(name, "masked sum", total, (3, 4, 4), draw, weights=2)
            continue
        yield _case(name, "batch of 1", make(), (1, 2), draw)
        yield _case(name, "weighted sum", make(reduction="sum"), (7, 6), draw, weights=1)
        yield _case(name, "masked sequences", make(), (3, 4, 4), draw, weights=2)
        if takes_nan:
            ignoring = make(ignore_nan=True)
            yield _case(name, "missing targets", ignoring, (5, 4), draw, missing=0.2)
        if not name.startswith("Poisson"):  # eʸ overflows
            yield _case(name, EXTREME, make(), (12, 4), draw)


def _vectors(
    variant: str, classes: tuple[int, ...], weighted: bool, name: str = "Contrastive"
) -> HostArrays:
    rows = len(classes)
    inputs = {"y": normal(name, variant, "y", shape=(rows, 3)), "t": np.array(classes)}
    if weighted:
        inputs["weight"] = np.abs(normal(name, variant, "weight", shape=(rows,)))
    return inputs


def _contrastive() -> Iterator[Case]:
    for variant, classes, temperature, reduction in (
        ("ordinary", (0, 1, 1, 0, 4, 1), 0.5, "mean"),
        ("weighted sum", (7, 1, 1, 0, 7), 1.0, "sum"),
        ("weighted mean", (0, 1, 1, 0, 7, 7, 7), 0.1, "mean"),
        ("batch of 1", (3,), 0.5, "mean"),
        ("no pairs", (3, 2, 1), 0.5, "mean"),
    ):
        yield loss_case(
            Contrastive(temperature, reduction=reduction),
            partial(_vectors, variant, classes, variant.startswith("weighted")),
            variant,
            witnesses=formula(partial(values_of_pairs, temperature, reduction)),
            dtypes=DTYPES_WITH_HALF if variant == "ordinary" else DTYPES,
        )


def _triplets() -> Iterator[Case]:
    name = "TripletMargin"
    for variant, classes, margin, reduction in (
        ("ordinary", (0, 1, 1, 0, 4, 1), 1.0, "mean"),
        ("weighted sum", (7, 1, 1, 0, 7), 0.5, "sum"),
        ("weighted mean", (0, 1, 1, 0, 7, 7, 7), 2.0, "mean"),
        ("batch of 1", (3,), 1.0, "mean"),
        ("one class", (2, 2, 2), 1.0, "mean"),
    ):
        yield loss_case(
            TripletMargin(margin, reduction=reduction),
            partial(_vectors, variant, classes, variant.startswith("weighted"), name),
            variant,
            witnesses=formula(partial(values_of_triplets, margin, reduction)),
            dtypes=DTYPES_WITH_HALF if variant == "ordinary" else DTYPES,
        )


def _sequences(variant: str, labels: list[list[int]], shape: Shape, weighted: bool) -> HostArrays:
    inputs = {"y": normal("CTC", variant, "y", shape=(len(labels), *shape)), "t": np.array(labels)}
    if weighted:
        inputs["weight"] = np.abs(normal("CTC", variant, "weight", shape=(len(labels),)))
    return inputs


def _ctc() -> Iterator[Case]:
    for variant, labels, shape, blank, reduction in (
        ("ordinary", [[1, 2, 1], [2, 2, -1], [1, -1, -1], [-1, -1, -1]], (5, 3), 0, "mean"),
        ("weighted sum", [[0, 1], [0, 0]], (4, 3), 2, "sum"),
        ("batch of 1", [[1, 1]], (3, 3), 0, "mean"),
        ("one time", [[1], [2]], (1, 4), 3, "mean"),
    ):
        yield loss_case(
            CTC(blank, reduction=reduction),
            partial(_sequences, variant, labels, shape, variant == "weighted sum"),
            variant,
            witnesses=formula(partial(values_of_paths, blank, -1, reduction)),
            dtypes=DTYPES_WITH_HALF if variant == "ordinary" else DTYPES,
        )
