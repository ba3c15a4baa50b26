"""The complementary error function, which the array API standard lacks.

Rational approximations on three ranges, the coefficients from W. J. Cody, "Rational Chebyshev
approximations for the error function", Mathematics of Computation 23, 1969. All three are
evaluated for all elements, on arguments clipped to their range, and `where` selects one: arrays
cannot branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.typing import Array, Namespace

NEAR, FAR, BEYOND = 0.46875, 4.0, 30.0
"""Up to NEAR 1 - erf, up to FAR erfc, then its asymptotic form; beyond BEYOND it is 0."""

ERF_P = (
    1.85777706184603153e-1,
    3.16112374387056560e0,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
         2.84423683343917062e3)  # fmt: skip
ERFC_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
ERFC_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
TAIL_P = (
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4,
)
TAIL_Q = (
    1.0,
    2.56852019228982242e0,
    1.87295284992346047e0,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3,
)


@Kernel
def erfc(x: Array, *, xp: Namespace) -> Array:
    """Return erfc(x) = 2/√π ∫ₓ^∞ e^−t² dt, with a small relative error in the tail too.

    Parameters
    ----------
    x : array, of any float dtype
    xp : namespace of x
    """
    if x.dtype not in (xp.float32, xp.float64):  # the coefficients overflow in half precision
        return xp.astype(erfc.standard(xp.astype(x, xp.float32), xp=xp), x.dtype)
    y = xp.minimum(xp.abs(x), BEYOND)

    near = xp.minimum(y, NEAR)
    square = near * near
    erf_near = near * (_polynomial(ERF_P, square) / _polynomial(ERF_Q, square))

    middle = xp.minimum(xp.maximum(y, NEAR), FAR)
    scaled_middle = _polynomial(ERFC_P, middle) / _polynomial(ERFC_Q, middle)

    far = xp.maximum(y, FAR)
    inverse = 1.0 / (far * far)
    series = inverse * (_polynomial(TAIL_P, inverse) / _polynomial(TAIL_Q, inverse))
    scaled_far = (1.0 / math.sqrt(math.pi) - series) / far

    scaled = xp.where(y <= FAR, scaled_middle, scaled_far)
    positive = xp.where(y <= NEAR, 1.0 - erf_near, _exp_minus_square(y, xp) * scaled)
    negative = xp.where(y <= NEAR, 1.0 + erf_near, 2.0 - positive)
    return xp.where(x < 0.0, negative, positive)


# no native form for JAX: the tail of its erfc is wrong by 32 eps in float32, this one's by 3
@erfc.native("torch")
def _(x: Array, *, xp: Namespace) -> Array:
    import torch

    return torch.special.erfc(x)


@erfc.native("cupy")
def _(x: Array, *, xp: Namespace) -> Array:
    from cupyx.scipy import special

    if x.dtype == xp.float16:  # special.erfc would return float64
        return xp.astype(special.erfc(xp.astype(x, xp.float32)), x.dtype)
    return special.erfc(x)


def _exp_minus_square(y: Array, xp: Namespace) -> Array:
    """Return e^−y², with y² in two parts, the first exact, so that rounding is not amplified."""
    coarse = xp.floor(y * 16.0) / 16.0
    return xp.exp(-(coarse * coarse)) * xp.exp(-((y - coarse) * (y + coarse)))


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    value = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value
