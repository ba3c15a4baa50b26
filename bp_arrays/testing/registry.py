"""The registry of cases: everything this library says is the same on every device."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bp_arrays.testing import maths_cases, training_cases, update_cases
from bp_arrays.testing.case import Case


@cache
def cases() -> tuple[Case, ...]:
    """Every case, in the order of the report.

    >>> {"Linear", "Sigmoid", "CrossEntropy", "Adam"} <= {case.component for case in cases()}
    True
    """
    found: Iterable[Case] = (
        *maths_cases.activation_cases(),
        *maths_cases.loss_cases(),
        *maths_cases.layer_cases(),
        *update_cases.initializer_cases(),
        *update_cases.random_cases(),
        *update_cases.optimizer_cases(),
        *training_cases.training_cases(),
    )
    return tuple(found)


def components() -> list[str]:
    """The names of what is checked, in the order of the report."""
    return list(dict.fromkeys(case.component for case in cases()))
