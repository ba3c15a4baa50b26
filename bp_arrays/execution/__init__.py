"""Fast execution: recorded steps, compiled updates, jit and CUDA graphs."""

from bp_arrays.execution._blas_threads import BlasThreads, blas_threads, largest_product
from bp_arrays.execution._describe import path_of
from bp_arrays.execution._fast_numpy import fast_numpy
from bp_arrays.execution._fused_steps import FusedSteps
from bp_arrays.execution._in_place_update import InPlaceUpdate
from bp_arrays.execution._instructions import copied, needed_for
from bp_arrays.execution._jit import compile_step, compiled
from bp_arrays.execution._memory_plan import Arena
from bp_arrays.execution._program import Program
from bp_arrays.execution._recorder import NotRecordable, Recorded, StepRecorder
from bp_arrays.execution._thread_choice import ThreadChoice
from bp_arrays.execution.cuda import StepGraph, fused_update, update_kernel, why_no_graph

__all__ = [
    "Arena",
    "BlasThreads",
    "FusedSteps",
    "InPlaceUpdate",
    "NotRecordable",
    "Program",
    "Recorded",
    "StepGraph",
    "StepRecorder",
    "ThreadChoice",
    "blas_threads",
    "compile_step",
    "compiled",
    "copied",
    "fast_numpy",
    "fused_update",
    "largest_product",
    "needed_for",
    "path_of",
    "update_kernel",
    "why_no_graph",
]
