"""A case: inputs, a computation, and how near to the truth its results must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bp_arrays.testing._placement import HostArrays, Place
from bp_arrays.typing import Array

Compute = Callable[[Place, dict[str, Array]], dict[str, Array]]
Objective = Callable[[Place, dict[str, Array]], Array]

PARAMETER, GRADIENT = "parameter ", "d "
"""How the names of a parameter among the inputs, and of its gradient in the results, begin."""

DEFAULT_LIMIT = 16.0
DTYPES = ("float32", "float64")
DTYPES_WITH_HALF = (*DTYPES, "float16", "bfloat16")


@dataclass(frozen=True)
class Derivatives:
    """What an oracle needs to check the backward of a case.

    Parameters
    ----------
    objective : function of (place, inputs) to a 0-d array
        The scalar whose derivatives the case's results claim to be; it runs the forward only.
    of : dict of str to str
        Which result is the derivative by which input: {"dx": "x"}.
    analytic : bool
        Whether the forward is an analytic function as written, so that a complex step can be
        taken through it: no absolute value, maximum or comparison on the way.
    """

    objective: Objective
    of: dict[str, str]
    analytic: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """One computation that every device must agree on.

    Parameters
    ----------
    component : str
        The public name of what is checked: "Sigmoid".
    variant : str
        What is special about these inputs: "ordinary", "batch of 1", ...
    kind : str
        "activation", "layer", "loss", "optimizer", "initializer", "random", "kernel" or "training".
    inputs : function of no arguments to host arrays by name
        The same numbers every time it is called.
    compute : function of (place, arrays) to arrays by name
    limit : float, default 16
        How many eps of the tested dtype a result may be from the float64 reference, in the
        2-norm and in the maximum norm, each relative to the norm of the reference.
    exact : frozenset of str
        Results that must be equal to the last bit: random bits, masks, integers.
    derivatives : Derivatives, optional
        How the backward is held against an oracle.
    dtypes : tuple of str, default ("float32", "float64")
        The dtypes that make sense for the case, each tested where a device has it.
    traceable : bool, default True
        Whether `compute` is a pure function of its arrays, such as jax.jit takes; a training,
        which reads its losses back, is not.
    """

    component: str
    variant: str
    kind: str
    inputs: Callable[[], HostArrays]
    compute: Compute
    limit: float = DEFAULT_LIMIT
    exact: frozenset[str] = frozenset()
    derivatives: Derivatives | None = None
    dtypes: tuple[str, ...] = DTYPES
    traceable: bool = True

    @property
    def name(self) -> str:
        """Unique in the registry: "Sigmoid, batch of 1"."""
        return f"{self.component}, {self.variant}"

    def __repr__(self) -> str:
        return f"Case({self.name!r})"


def host_results(place: Place, results: dict[str, Any]) -> HostArrays:
    """The results of a computation as NumPy arrays."""
    return {name: place.device.to_numpy(value) for name, value in results.items()}
