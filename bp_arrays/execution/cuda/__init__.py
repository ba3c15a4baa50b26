"""Steps of training as CUDA graphs."""

from bp_arrays.execution.cuda._graph import StepGraph, why_no_graph
from bp_arrays.execution.cuda._update_kernel import fused_update, update_kernel

__all__ = ["StepGraph", "fused_update", "update_kernel", "why_no_graph"]
