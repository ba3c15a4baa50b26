"""What makes the maths fast without touching it."""

from bp_arrays.execution.compiling import compile_step, compiled
from bp_arrays.execution.cuda_graph import StepGraph, capturable, why_no_graph
from bp_arrays.execution.cuda_update import update_kernel
from bp_arrays.execution.lean_numpy import lean
from bp_arrays.execution.paths import path_of
from bp_arrays.execution.sharing import is_unshared
from bp_arrays.execution.updating import InPlaceUpdate

__all__ = [
    "InPlaceUpdate",
    "StepGraph",
    "capturable",
    "compile_step",
    "compiled",
    "is_unshared",
    "lean",
    "path_of",
    "update_kernel",
    "why_no_graph",
]
