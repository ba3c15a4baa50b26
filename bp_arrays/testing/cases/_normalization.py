"""Cases of the layers of `normalization`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bp_arrays.layers import Layer
from bp_arrays.normalization import LayerNorm, RMSNorm
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing.cases._inputs import extremes, normal
from bp_arrays.testing.cases._layer import layer_case
from bp_arrays.testing.witnesses._normalization import normalization_values
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.typing import HostArray

POSITIONS = {
    "ordinary": (5, 4),
    "batch of 1": (1, 2, 5),
    "one feature": (6, 1),
    "odd sizes": (3, 5, 7),
    "large reduction": (1000, 3),
}
"""(batch, ..., features) of the layers that normalize each position by itself."""

LIMITS = {"large reduction": 64.0}

OF_POSITIONS: dict[str, tuple[Layer, Layer]] = {
    "LayerNorm": (LayerNorm(), LayerNorm(scale=False, bias=False)),
    "RMSNorm": (RMSNorm(), RMSNorm(scale=False)),
}
"""Each layer with its parameters, and without."""


def normalization_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    for name, (layer, plain) in OF_POSITIONS.items():
        for variant in (*POSITIONS, "non-contiguous", "extreme values", "no parameters"):
            yield layer_case(
                plain if variant == "no parameters" else layer,
                partial(_positions, name, variant),
                variant,
                limit=LIMITS.get(variant, DEFAULT_LIMIT),
                analytic=True,
                oracle=variant not in ("large reduction", "extreme values"),
                witnesses=formula(partial(normalization_values, name)),
                dtypes=DTYPES_WITH_HALF if variant in ("ordinary", "odd sizes") else DTYPES,
            )


def _positions(name: str, variant: str) -> HostArray:
    """Return an input whose last axis is normalized."""
    if variant == "extreme values":
        return extremes(3)
    if variant == "non-contiguous":
        return normal(name, variant, "x", shape=(8, 5)).T[:, ::2]
    shape = POSITIONS.get(variant, POSITIONS["ordinary"])
    # of one feature only ε is left of the slope: numbers of the size of its root
    return normal(name, variant, "x", shape=shape, scale=3e-3 if shape[-1] == 1 else 1.0)
