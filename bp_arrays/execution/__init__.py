"""What makes the maths fast without touching it."""

from bp_arrays.execution.compiling import compile_step

__all__ = ["compile_step"]
