"""The proof that every device gives the same gradients: cases, oracles, and how near is near."""

from bp_arrays.testing.agreement import error_in_eps
from bp_arrays.testing.case import Case, Derivatives
from bp_arrays.testing.oracles import Oracle, oracles_for
from bp_arrays.testing.place import Place, rounded
from bp_arrays.testing.registry import cases, components

__all__ = [
    "Case",
    "Derivatives",
    "Oracle",
    "Place",
    "cases",
    "components",
    "error_in_eps",
    "oracles_for",
    "rounded",
]
