"""`MPI`: a group of processes started by mpiexec, by way of mpi4py."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any, NoReturn

from bp_arrays.distributed._group import ProcessGroup
from bp_arrays.errors import MissingExtraError
from bp_arrays.extras import require_extra
from bp_arrays.typing import HostArray

FORWARDING = 0.5
"""Seconds for mpiexec to forward the message of an error: after an abort it drops the rest."""


def _copies_of(comm: Any) -> tuple[Any, Any]:
    """Return two copies of a communicator, for gradients and for errors: MPI has a few thousand.

    They are an attribute of it, and so those of no other one that later has its handle.
    """
    copies: tuple[Any, Any] | None = comm.Get_attr(_key_of_copies())
    if copies is None:
        copies = comm.Dup(), comm.Dup()
        comm.Set_attr(_key_of_copies(), copies)
    return copies


@functools.cache
def _key_of_copies() -> int:
    from mpi4py import MPI as mpi

    key: int = mpi.Comm.Create_keyval()
    return key


class MPI(ProcessGroup):
    """The processes that `mpiexec` has started, which exchange gradients over MPI.

    Requires the extra `mpi`: mpi4py, and an MPI library. Arrays on a GPU travel by way of the
    host; between NVIDIA GPUs `NCCL` is faster. Created in every process, before anything that one
    of them alone does.

    Parameters
    ----------
    comm : mpi4py communicator, optional
        The processes; by default all of them, `MPI.COMM_WORLD`.
    timeout : float, default 600.0
        Seconds that a process waits for the others before it ends all of them.

    Raises
    ------
    MissingExtraError
        If mpi4py or the MPI library is not installed.

    Notes
    -----
    An error that is not caught in one process ends all of them, as the others would wait for it
    for ever.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> group = bp.MPI()  # doctest: +SKIP
    >>> bp.fit(model, x, t, ..., distributed=group)  # doctest: +SKIP
    """

    def __init__(self, comm: Any = None, *, timeout: float = 600.0) -> None:
        super().__init__(timeout)
        try:
            require_extra("mpi")
        except RuntimeError as error:  # mpi4py without an MPI library
            raise MissingExtraError(
                f"mpi4py found no MPI library; pip install mpich ({error})"
            ) from None
        from mpi4py import MPI as mpi

        comm = mpi.COMM_WORLD if comm is None else comm
        self._mpi = mpi
        self._comm, self._errors = _copies_of(comm)
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        machine = comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank = machine.Get_rank()
        machine.Free()
        if self.size > 1:
            self._abort_on_uncaught_errors()

    def _sum(self, sent: HostArray, received: HostArray) -> None:
        self._comm.Allreduce(sent, received)

    def _gather(self, value: Any) -> list[Any]:
        values: list[Any] = self._comm.allgather(value)
        return values

    def _all_failed(self, seconds: float) -> bool:
        request = self._errors.Ibarrier()
        end = time.monotonic() + seconds
        while not request.Test():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def _end(self) -> NoReturn:
        time.sleep(FORWARDING)
        self._mpi.COMM_WORLD.Abort(1)
        raise SystemExit(1)  # not reached

    def _abort_on_uncaught_errors(self) -> None:
        """End all processes after the traceback of an error that nothing caught."""
        previous = sys.excepthook
        if getattr(previous, "ends_all_processes", False):
            return

        def hook(kind: Any, error: Any, trace: Any) -> None:
            previous(kind, error, trace)
            sys.stderr.flush()
            self.abort(f"{kind.__name__}: {error}")

        hook.ends_all_processes = True  # type: ignore[attr-defined]
        sys.excepthook = hook
