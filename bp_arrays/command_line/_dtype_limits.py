"""`limits_of`: the rounding and the range of a dtype, including bfloat16."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Limits(NamedTuple):
    """The relative rounding of a dtype, its smallest normal and its largest positive number."""

    eps: float
    smallest: float
    largest: float


BFLOAT16 = Limits(2.0**-7, 2.0**-126, (2.0 - 2.0**-7) * 2.0**127)
"""NumPy lacks this dtype."""


def limits_of(dtype: str) -> Limits:
    """Return the limits of a dtype.

    >>> limits_of("float16").largest
    65504.0
    """
    if dtype == "bfloat16":
        return BFLOAT16
    limits = np.finfo(dtype)
    return Limits(float(limits.eps), float(limits.tiny), float(limits.max))
