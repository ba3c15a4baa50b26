"""`Case`: inputs, a computation, and the accuracy that its results must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.witnesses import Witness
from bp_arrays.typing import Array

Compute = Callable[[Placement, dict[str, Array]], dict[str, Array]]
ScalarFunction = Callable[[Placement, dict[str, Array]], Array]

PARAMETER, GRADIENT = "parameter ", "d "
"""Prefixes of the names of parameters among the inputs, and of their gradients in the results."""

DEFAULT_LIMIT = 16.0
DTYPES = ("float32", "float64")
DTYPES_WITH_HALF = (*DTYPES, "float16", "bfloat16")


@dataclass(frozen=True)
class Derivatives:
    """The scalar function and the inputs by which an oracle differentiates a case.

    Parameters
    ----------
    objective : function of (placement, inputs) to a 0-d array
        The scalar whose derivatives the case computes; it runs the forward only.
    of : dict of str to str
        The input that each derivative among the results belongs to: {"dx": "x"}.
    analytic : bool
        Whether the forward is analytic as written, without absolute value, maximum or
        comparison, so that the complex-step oracle applies.
    """

    objective: ScalarFunction
    of: dict[str, str]
    analytic: bool = False


@dataclass(frozen=True, eq=False)
class Case:
    """One computation that must give the same results on every device.

    Parameters
    ----------
    component : str
        The public name of the component under test: "Sigmoid".
    variant : str
        The kind of inputs: "ordinary", "batch of 1", ...
    kind : str
        "function" of the array API, "activation", "layer", "loss", "optimizer", "schedule",
        "initializer", "random", "kernel" or "training".
    inputs : function of no arguments to host arrays by name
        The same numbers in every call.
    compute : function of (placement, arrays) to arrays by name
    limit : float, default 16
        The largest error of a result in eps of the tested dtype, in the 2-norm and in the maximum
        norm, each relative to the norm of the float64 reference.
    exact : frozenset of str
        Results that must be equal to the last bit: random bits, masks, integers.
    wide : frozenset of str
        Results that are in float32 where the tested dtype is half precision: losses and the states
        of optimizers.
    derivatives : Derivatives, optional
        Input of the oracles that check the backward.
    witnesses : tuple of Witness
        What computes values of the case without the library's maths.
    dtypes : tuple of str, default ("float32", "float64")
        The dtypes of the case, each tested on the devices that support it.
    traceable : bool, default True
        Whether `compute` is a pure function of its arrays, as jax.jit requires; a training run,
        which reads its losses back, is not.
    elementwise : bool, default False
        Whether the limit holds for the relative error of every element, not for the norms.
    """

    component: str
    variant: str
    kind: str
    inputs: Callable[[], HostArrays]
    compute: Compute
    limit: float = DEFAULT_LIMIT
    exact: frozenset[str] = frozenset()
    wide: frozenset[str] = frozenset()
    derivatives: Derivatives | None = None
    witnesses: tuple[Witness, ...] = ()
    dtypes: tuple[str, ...] = DTYPES
    traceable: bool = True
    elementwise: bool = False

    @property
    def name(self) -> str:
        """Name of the case, unique in the registry: "Sigmoid, batch of 1"."""
        return f"{self.component}, {self.variant}"

    def dtype_of(self, result: str, dtype: str) -> str:
        """Return the dtype in which a floating-point result is expected, tested in `dtype`."""
        return "float32" if result in self.wide and dtype not in DTYPES else dtype

    def __repr__(self) -> str:
        return f"Case({self.name!r})"


def host_results(placement: Placement, results: dict[str, Any]) -> HostArrays:
    """Copy the results of a computation into NumPy arrays."""
    return {name: placement.device.to_numpy(value) for name, value in results.items()}
