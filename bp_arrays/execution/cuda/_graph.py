"""`StepGraph`: a training step as a CUDA graph, captured once, then launched as a whole.

Not proven on hardware yet: no run on a GPU is recorded (see benchmarks/README.md).
"""

from __future__ import annotations

import importlib.util
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from bp_arrays.devices import Device
from bp_arrays.execution.cuda._captured_array import CapturedNamespace, unwrapped, wrapped
from bp_arrays.execution.cuda._product import WORKSPACE_BYTES, MatrixProduct
from bp_arrays.trees import Tree

WARM = 2
"""Steps that run operation by operation first: kernels are compiled at their first call."""

logger = logging.getLogger("bp_arrays")


def why_no_graph(device: Device) -> str:
    """Return why steps cannot be captured on this device, "" if they can."""
    if device.runs_as != "cuda graph":
        return "only CuPy's arrays have CUDA graphs"
    if importlib.util.find_spec("nvmath") is None:
        return "CUDA graphs need nvmath-python: pip install nvmath-python"
    return ""


_in_use: list[Any] = []
"""Pools of deleted graphs with arrays, such as a model's parameters, that are still in use."""


def _release(pools: tuple[Any, ...]) -> None:
    """Free the memory of pools; blocks still in use are freed when the next graph is deleted.

    A pool that is deleted while a part of a block is in use would never free that block.
    """
    pools = (*_in_use, *pools)
    for pool in pools:
        pool.free_all_blocks()
    _in_use[:] = [pool for pool in pools if pool.used_bytes()]


def _limit(pools: tuple[Any, ...]) -> None:
    """Give pools the limit that the user has set for CuPy's, less what is in use already."""
    import cupy

    default = cupy.get_default_memory_pool()
    if limit := default.get_limit():
        left = limit - default.total_bytes() - WORKSPACE_BYTES
        if left <= 0:
            raise MemoryError(
                f"it needs {WORKSPACE_BYTES >> 20} MiB more than the limit of CuPy's memory pool, "
                f"{limit} bytes, leaves"
            )
        for pool in pools:
            pool.set_limit(size=left)


class StepGraph:
    """A repeated computation without arguments, on static arrays.

    It runs operation by operation `WARM` times, is then captured, and from then on launched as one
    graph. If it cannot be captured, it continues operation by operation, and the log says why.

    Parameters
    ----------
    device : Device

    Raises
    ------
    Exception
        Any exception of CUDA or cuBLAS, if there is no memory for a stream or a handle.
    """

    def __init__(self, device: Device) -> None:
        import cupy

        self._device = device
        with device.activate():
            self.stream = cupy.cuda.Stream(non_blocking=True)
            # every launch writes to the memory allocated during the capture: it comes from a pool
            # that nothing else uses, and that lives as long as the graph
            self._pool = cupy.cuda.MemoryPool()
            # other arrays created on the stream come from a second pool: CuPy's default pool would
            # keep freed memory for this stream only, forever
            self._outside_pool = cupy.cuda.MemoryPool()
            _limit((self._pool, self._outside_pool))
            with self.stream:
                self._product = MatrixProduct(self.stream)
            weakref.finalize(self, _release, (self._pool, self._outside_pool))
        self.xp: Any = CapturedNamespace(device.xp, self._product)
        self._graph: Any = None
        self._runs = 0
        self.refused = ""

    @property
    def is_captured(self) -> bool:
        """True once the computation is launched as a graph."""
        return self._graph is not None

    @contextmanager
    def on_stream(self) -> Iterator[None]:
        """Run the block on the graph's stream; wait for the stream at its end."""
        import cupy

        with self._device.activate():
            self.wait_for(cupy.cuda.get_current_stream())
            with self.stream, cupy.cuda.using_allocator(self._outside_pool.malloc):
                try:
                    yield
                finally:
                    self.stream.synchronize()

    def on_default_stream(self) -> AbstractContextManager[Any]:
        """Return the context of the default stream."""
        import cupy

        stream: AbstractContextManager[Any] = cupy.cuda.Stream.null
        return stream

    def wait_for(self, other: Any = None) -> None:
        """Make this stream wait for the work in another one, by default the default stream."""
        import cupy

        stream = cupy.cuda.Stream.null if other is None else other
        self.stream.wait_event(stream.record())

    def __call__(self, body: Callable[[], None]) -> None:
        """Run the computation once more; inside `on_stream`.

        Parameters
        ----------
        body : function without arguments or result
            The same computation at every call. It reads and writes arrays that live as long as
            this object; it may neither read nor write host memory.
        """
        if self.captures_next:
            self._capture(body)
        if self._graph is not None:
            self._graph.launch(self.stream)
            return
        self._runs += 1
        self.run_eagerly(body)

    @property
    def captures_next(self) -> bool:
        """True if the next call captures the computation."""
        return self._graph is None and not self.refused and self._runs >= WARM

    def run_eagerly(self, body: Callable[[], None]) -> None:
        """Run the computation operation by operation, with the graph's memory and products."""
        with self._own_pool():
            body()

    def refuse(self, why: BaseException | str) -> None:
        """Run the computation operation by operation from now on; log the reason."""
        self._graph = None
        self.refused = (
            "a step cannot be captured as a CUDA graph and runs operation by operation: "
            + " ".join(str(why).split())
        )
        logger.warning("%s: %s", self._device, self.refused)

    @contextmanager
    def _own_pool(self) -> Iterator[None]:
        import cupy

        with cupy.cuda.using_allocator(self._pool.malloc):
            yield

    def wrapped(self, tree: Tree) -> Any:
        """Return arrays as `CapturedArray`, whose products run on this graph's stream."""
        return wrapped(tree, self._product)

    def unwrapped(self, tree: Tree) -> Any:
        """Return `CapturedArray` as arrays of CuPy."""
        return unwrapped(tree)

    def _capture(self, body: Callable[[], None]) -> None:
        """Capture the operations of the body, which run only at the launch."""
        try:
            with self._own_pool():
                self._graph = self._recorded(body)
        except Exception as error:
            self.refuse(error)

    def _recorded(self, body: Callable[[], None]) -> Any:
        self.stream.begin_capture()
        try:
            body()
        except BaseException:
            with suppress(Exception):  # a failed capture must be ended, which fails again
                self.stream.end_capture()
            raise
        return self.stream.end_capture()
