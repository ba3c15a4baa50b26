"""Functions that several activations share, in forms that neither overflow nor cancel."""

from __future__ import annotations

from bp_arrays.typing import Array, Namespace


def logistic(a: Array, xp: Namespace) -> Array:
    """Return σ(a) = 1 / (1 + e⁻ᵃ), from e^−|a| so that nothing overflows and no tail is lost."""
    e = xp.exp(-xp.abs(a))
    return xp.where(a >= 0.0, 1.0, e) / (1.0 + e)
