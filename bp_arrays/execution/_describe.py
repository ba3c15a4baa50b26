"""Describe how training runs on a device: replayed, jit, CUDA graph or operation by operation."""

from __future__ import annotations

from bp_arrays.devices import Device
from bp_arrays.execution._update_loop import has_compiler
from bp_arrays.execution.cuda._graph import why_no_graph


def path_of(device: Device) -> str:
    """Describe what compiles training on this device, or why nothing does.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> path_of(bp.device("torch:cpu"))
    'plain, operation by operation'
    """
    if device.runs_as == "replay":
        return "recorded steps, " + (
            "updates by Numba's loops"
            if has_compiler()
            else 'plain updates; faster with Numba: pip install "bp_arrays[fast]"'
        )
    if device.runs_as == "jit":
        return "whole steps by jax.jit"
    if device.runs_as == "cuda graph":
        why = why_no_graph(device)
        return "whole steps as CUDA graphs" if not why else f"plain, operation by operation: {why}"
    return "plain, operation by operation"
