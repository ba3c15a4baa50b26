"""What makes the maths fast without touching it."""

from bp_arrays.execution.compiling import compile_step, compiled
from bp_arrays.execution.updating import InPlaceUpdate

__all__ = ["InPlaceUpdate", "compile_step", "compiled"]
