"""The processes that a launcher has started: mpiexec, torchrun, or none."""

from __future__ import annotations

import os

from bp_arrays.checks import argument_error
from bp_arrays.distributed._group import ProcessGroup

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "WORLD_SIZE")
"""The environment variables in which launchers write the number of processes.

Of MPICH and Intel MPI, of Open MPI, of MVAPICH, and of torchrun.
"""


def launched_processes() -> int:
    """Return the number of processes that a launcher has started with this one; 1 without any."""
    for name in SIZES:
        value = os.environ.get(name, "")
        if value.isdecimal():
            return max(1, int(value))
    return 1


def group_named(name: str) -> ProcessGroup:
    """Return the group "mpi" or "nccl".

    Raises
    ------
    InputError
        For another name.
    MissingExtraError
        If its library is not installed.
    """
    if name == "mpi":
        from bp_arrays.distributed._mpi import MPI

        return MPI()
    if name == "nccl":
        from bp_arrays.distributed._nccl import NCCL

        return NCCL()
    raise argument_error("group_named", "name", name, "mpi or nccl")
