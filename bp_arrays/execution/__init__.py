"""What makes the maths fast without touching it."""

from bp_arrays.execution.blocking import block_update
from bp_arrays.execution.compiling import compile_step, compiled

__all__ = ["block_update", "compile_step", "compiled"]
