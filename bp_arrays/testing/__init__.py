"""Consistency checks across devices: cases, oracles of their derivatives, and the report."""

from bp_arrays.testing._case import (
    DTYPES as DTYPES,
    DTYPES_WITH_HALF as DTYPES_WITH_HALF,
    Case,
    Derivatives,
)
from bp_arrays.testing._checking import (
    DEVICES as DEVICES,
    WORKERS as WORKERS,
    check,
    check_cases,
    chosen_cases,
)
from bp_arrays.testing._error_norms import error_in_eps
from bp_arrays.testing._evidence import (
    Evidence as Evidence,
    cuda_line as cuda_line,
    write_record as write_record,
)
from bp_arrays.testing._expected import read_patterns as read_patterns
from bp_arrays.testing._functions import (
    DTYPES_NEEDED as DTYPES_NEEDED,
    functions,
    missing_functions,
)
from bp_arrays.testing._html import to_html
from bp_arrays.testing._oracles import Oracle, oracles_for
from bp_arrays.testing._placement import Placement
from bp_arrays.testing._registry import cases, components
from bp_arrays.testing._report import DeviceResult, Disagreement, Report
from bp_arrays.testing.cases._user import own_cases

__all__ = [
    "Case",
    "Derivatives",
    "DeviceResult",
    "Disagreement",
    "Oracle",
    "Placement",
    "Report",
    "cases",
    "check",
    "check_cases",
    "chosen_cases",
    "components",
    "error_in_eps",
    "functions",
    "missing_functions",
    "oracles_for",
    "own_cases",
    "to_html",
]
