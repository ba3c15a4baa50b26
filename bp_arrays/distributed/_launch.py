"""The processes that a launcher has started: mpiexec, torchrun, or none."""

from __future__ import annotations

import os

from bp_arrays.checks import argument_error
from bp_arrays.distributed._group import ProcessGroup

MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""The variables in which mpiexec writes the number of processes: of MPICH and Intel MPI, of Open
MPI, of MVAPICH."""


def launched_by() -> str:
    """Return "mpi" if mpiexec has started several processes, "nccl" if torchrun has, or "none"."""
    if any(_number(name) > 1 for name in MPI_SIZES):
        return "mpi"
    return "nccl" if "RANK" in os.environ and _number("WORLD_SIZE") > 1 else "none"


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1


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
