"""`Witness`: values of a case that are not computed by the library's maths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bp_arrays.typing import HostArray

HostArrays = dict[str, HostArray]

FORMULA = "formula by index"


@dataclass(frozen=True)
class Witness:
    """A second computation of some results of a case.

    Parameters
    ----------
    name : str
        What computes them, for the report: "formula by index", "torch.optim".
    values : function of (inputs, results) to results by name
        `inputs` and `results` are the case's, on the host in float64. Results that it does not
        return are not judged. `results` is for values that are defined by a property, such as
        orthogonal columns: the witness then returns the nearest values that have it.
    """

    name: str
    values: Callable[[HostArrays, HostArrays], HostArrays]


def formula(values: Callable[[HostArrays], HostArrays]) -> tuple[Witness, ...]:
    """Return the witness of a formula of the inputs alone."""
    return (Witness(FORMULA, lambda inputs, results: values(inputs)),)
