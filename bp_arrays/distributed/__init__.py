"""Groups of processes that train one model: sums of arrays, and agreement, between them."""

from bp_arrays.distributed._group import ProcessGroup
from bp_arrays.distributed._launch import group_named, launched_by
from bp_arrays.distributed._mpi import MPI
from bp_arrays.distributed._nccl import NCCL

__all__ = ["MPI", "NCCL", "ProcessGroup", "group_named", "launched_by"]
