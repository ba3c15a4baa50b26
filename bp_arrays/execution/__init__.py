"""What makes the maths fast without touching it."""

from bp_arrays.execution.compiling import compile_step, compiled
from bp_arrays.execution.cuda_graph import StepGraph, capturable, why_no_graph
from bp_arrays.execution.cuda_update import update_kernel
from bp_arrays.execution.instructions import identity
from bp_arrays.execution.lean_numpy import lean
from bp_arrays.execution.memory import Arena
from bp_arrays.execution.paths import path_of
from bp_arrays.execution.program import Program
from bp_arrays.execution.recording import NotRecordable, Recorded, Recorder
from bp_arrays.execution.updating import InPlaceUpdate

__all__ = [
    "Arena",
    "InPlaceUpdate",
    "NotRecordable",
    "Program",
    "Recorded",
    "Recorder",
    "StepGraph",
    "capturable",
    "compile_step",
    "compiled",
    "identity",
    "lean",
    "path_of",
    "update_kernel",
    "why_no_graph",
]
