"""`NCCL`: a group of processes with one NVIDIA GPU each, which sum gradients between the GPUs."""

from __future__ import annotations

import os
import time
from typing import Any, NoReturn

from bp_arrays.devices import Device
from bp_arrays.distributed._group import ProcessGroup
from bp_arrays.errors import InputError
from bp_arrays.typing import Array, HostArray


class NCCL(ProcessGroup):
    """The processes of a launcher, with one NVIDIA GPU each, whose gradients NCCL sums.

    Started by torchrun, or whatever sets the environment variables RANK, WORLD_SIZE, LOCAL_RANK,
    MASTER_ADDR and MASTER_PORT; otherwise by mpiexec, which needs the extra `mpi`. Each process
    puts its model on its own GPU: `device=f"cuda:{group.local_rank}"`. NCCL comes with CuPy's
    wheels, or is found where the system has it.

    Parameters
    ----------
    timeout : float, default 600.0
        Seconds that a process waits for the others before it ends all of them.

    Raises
    ------
    InputError
        If a variable is missing, or the processes cannot be connected.
    MissingExtraError
        If the processes were started by mpiexec and mpi4py is not installed.

    Notes
    -----
    Steps, and the update, run operation by operation, not as a CUDA graph.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> group = bp.NCCL()  # doctest: +SKIP
    >>> model = bp.Model(net, 20, device=f"cuda:{group.local_rank}", seed=0)  # doctest: +SKIP
    >>> bp.fit(model, x, t, ..., distributed=group)  # doctest: +SKIP
    """

    def __init__(self, *, timeout: float = 600.0) -> None:
        super().__init__(timeout)
        from bp_arrays.distributed._mpi import MPI
        from bp_arrays.distributed._sockets import Sockets  # imports much that others do not need

        self._host: Any = Sockets(timeout) if "RANK" in os.environ else MPI(timeout=timeout)
        self.rank, self.size = self._host.rank, self._host.size
        self.local_rank = self._host.local_rank
        self._communicator: Any = None
        self._device: Device | None = None

    def why_not_on(self, device: Device) -> str:
        if device.runs_as == "cuda graph":
            return ""
        return f"expected a model on a CUDA device for NCCL, got {device}; use bp.MPI()"

    def sum_of(self, vector: Array, device: Device) -> Array:
        """Return the sum of the processes' float vectors, on the GPU."""
        with device.activate():
            if self._device != device:
                self._communicator, self._device = self._new_communicator(), device
            received = device.xp.empty_like(vector)
            self._since = time.monotonic()
            self._communicator.sum(vector, received)
            self._since = None
        return received

    def _new_communicator(self) -> Any:
        """Return what sums arrays on the current GPU of each process."""
        from cupy.cuda import nccl

        if not nccl.available:
            raise InputError("NCCL: CuPy has not found it on this machine; use bp.MPI()")
        return Communicator(self)

    def _sum(self, sent: HostArray, received: HostArray) -> None:
        self._host._sum(sent, received)

    def _gather(self, value: Any) -> list[Any]:
        values: list[Any] = self._host._gather(value)
        return values

    def _all_failed(self, seconds: float) -> bool:
        failed: bool = self._host._all_failed(seconds)
        return failed

    def _lost(self) -> str:
        text: str = self._host._lost()
        return text

    def _end(self) -> NoReturn:
        self._host._end()
        raise SystemExit(1)  # not reached


class Communicator:
    """NCCL's communicator of a group, on the current GPU of each process.

    Parameters
    ----------
    group : ProcessGroup
    """

    def __init__(self, group: ProcessGroup) -> None:
        from cupy.cuda import nccl

        self._nccl = nccl
        number = list(nccl.get_unique_id()) if group.rank == 0 else None
        unique = tuple(group.first(number))
        try:
            self._communicator = nccl.NcclCommunicator(group.size, unique, group.rank)
        except nccl.NcclError as error:
            raise InputError(
                f"NCCL: {error}; each process needs its own GPU: "
                'device=f"cuda:{group.local_rank}"'
            ) from None

    def sum(self, vector: Any, received: Any) -> None:
        """Write the sum of the processes' vectors to another one, and wait for it."""
        import cupy

        kind = {4: self._nccl.NCCL_FLOAT32, 8: self._nccl.NCCL_FLOAT64}[vector.dtype.itemsize]
        stream = cupy.cuda.get_current_stream()
        self._communicator.allReduce(
            vector.data.ptr, received.data.ptr, vector.size, kind, self._nccl.NCCL_SUM, stream.ptr
        )
        stream.synchronize()
