"""`target_device`: the device that the options and the rank of a process name."""

from __future__ import annotations

import argparse

from bp_arrays.devices import Device, ask_for_float64, device
from bp_arrays.distributed import ProcessGroup


def target_device(args: argparse.Namespace, group: ProcessGroup | None) -> Device:
    """Return the device of --device, of several GPUs the one of this process, with the dtypes.

    Raises
    ------
    DeviceUnavailableError, InputError
        If it cannot be used, or lacks the dtype of --dtype.
    """
    ask_for_float64()  # --dtype, or the data, may require it
    target = device(args.device).require()
    if group is not None and target.runs_as == "cuda graph" and ":" not in args.device:
        target = device(f"cuda:{group.local_rank}").require()
    if args.dtype is not None:
        target.dtype(args.dtype)
    return target
