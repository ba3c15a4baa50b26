"""The largest terms of a long sum, and the others as one symbol."""

from __future__ import annotations

import math

from bp_arrays.explanation._expression import Symbol, Term
from bp_arrays.explanation._stages import Vector

MOST_TERMS = 6
"""Terms of a sum that are written out; the smaller ones are added up into one."""


def largest(
    factors: list[tuple[int, Term]], delta: Vector
) -> tuple[list[tuple[int, Term]], Symbol | None]:
    """Return the largest terms δ_k factor_k, in order, and the sum of the others as one symbol."""
    if len(factors) > MOST_TERMS + 1:  # a sum over the outputs that are reached, if by any
        factors = [(k, factor) for k, factor in factors if factor.value != 0.0] or factors[:1]
    if len(factors) <= MOST_TERMS + 1:
        return factors, None
    sizes = {k: factor.value * float(delta[k]) for k, factor in factors}
    kept = set(sorted(sizes, key=lambda k: -abs(sizes[k]))[:MOST_TERMS])
    rest = math.fsum(size for k, size in sizes.items() if k not in kept)
    label = f"{len(factors) - MOST_TERMS} smaller terms"
    return (
        [(k, factor) for k, factor in factors if k in kept],
        Symbol(f"({label})", rf"(\text{{{label}}})", rest),
    )
