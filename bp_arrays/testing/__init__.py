"""The proof that every device gives the same gradients: cases, oracles, and how near is near."""

from bp_arrays.testing.agreement import error_in_eps
from bp_arrays.testing.case import Case, Derivatives
from bp_arrays.testing.checking import check, check_cases, chosen_cases
from bp_arrays.testing.html import to_html
from bp_arrays.testing.oracles import Oracle, oracles_for
from bp_arrays.testing.own_cases import own_cases
from bp_arrays.testing.place import Place
from bp_arrays.testing.registry import cases, components
from bp_arrays.testing.report import DeviceResult, Disagreement, Report

__all__ = [
    "Case",
    "Derivatives",
    "DeviceResult",
    "Disagreement",
    "Oracle",
    "Place",
    "Report",
    "cases",
    "check",
    "check_cases",
    "chosen_cases",
    "components",
    "error_in_eps",
    "oracles_for",
    "own_cases",
    "to_html",
]
