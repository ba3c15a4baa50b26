"""`FusedSteps`: the operations of a recorded step in compiled loops, when that is worth it.

Compiling takes about a second for each different loop, so a step must have run for as long; then a
second thread compiles while training continues. The loops compute the same bits.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from bp_arrays.execution._fused_loops import LoopGroup, LoopSource, groups_of, read_elsewhere
from bp_arrays.execution._instructions import Instruction, Slot
from bp_arrays.execution._update_loop import has_compiler, module_of

logger = logging.getLogger("bp_arrays")

SOURCE = '''\
"""Written by bp_arrays: one pass over the rows of arrays."""
import numpy as np
from numpy import {dtype} as T, sqrt
from bp_arrays.execution._row_reductions import row_maximum, row_sum  # {version}


{loop}'''

VERSION = 4
"""Version of `_row_reductions`; raise it when the reductions change, so that cached loops are
compiled again.
"""

PLANNING, COMPILING = 0.5, 1.0
"""Seconds of steps after which loops are planned, and then those for each loop to be compiled."""

FIRST_NUMBER = 10**6
"""The number of the first new array, above those of any recording."""

_running_threads: set[threading.Thread] = set()
_exiting = threading.Event()


@atexit.register
def _stop() -> None:
    """Let threads end the loop that they compile: LLVM must not run while the process ends."""
    _exiting.set()
    for thread in list(_running_threads):
        thread.join()


_loops: dict[tuple[str, tuple[str, ...]], Callable[..., None]] = {}


class FusedSteps:
    """The request for compiled loops: `steps` is None until they are compiled, or if none can be.

    Parameters
    ----------
    forward, backward : sequence of Instruction
        As recorded, and all needed.
    results : sequence of Slot
        Arrays that are read after one of them.
    """

    def __init__(
        self,
        forward: Sequence[Instruction],
        backward: Sequence[Instruction],
        results: Sequence[Slot],
    ) -> None:
        self.steps: tuple[list[Instruction], list[Instruction]] | None = None
        self._parts, self._results = (list(forward), list(backward)), list(results)
        self._plan: list[list[Instruction | LoopSource]] | None = None
        self._thread: threading.Thread | None = None
        self._spent, self._threshold = 0.0, PLANNING
        self._ended = not has_compiler()

    def spend(self, seconds: float) -> None:
        """Add the time of a step without the loops; plan and compile them when it is worth it."""
        self._spent += seconds
        working = self._thread is not None and self._thread.is_alive()
        if self._spent > self._threshold and not self._ended and not working:
            work = self._make_plan if self._plan is None else self._compile
            self._start(threading.Thread(target=self._try, args=(work,), daemon=True))

    def _start(self, thread: threading.Thread) -> None:
        _running_threads.add(thread)  # before it runs, because it removes itself
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads: training continues
            _running_threads.discard(thread)
            logger.info("no thread to compile loops of a step, NumPy continues: %s", error)
            self._ended = True
        else:
            self._thread = thread

    def wait(self) -> None:
        """Plan and compile now."""
        if self._thread is not None:
            self._thread.join()
        for work in (self._make_plan, self._compile):
            if not self._ended:
                self._try(work)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a failure of the compiler must not stop training
            if not _exiting.is_set():
                logger.info("Numba cannot compile loops of a step, NumPy continues: %s", error)
            self._ended = True
        finally:
            _running_threads.discard(threading.current_thread())

    def _make_plan(self) -> None:
        if self._plan is not None:
            return
        every = [*self._parts[0], *self._parts[1]]
        plan = [
            [
                LoopSource(item, read_elsewhere(item, every, self._results))
                if isinstance(item, LoopGroup)
                else item
                for item in groups_of(part, every)
            ]
            for part in self._parts
        ]
        sources = [item for part in plan for item in part if isinstance(item, LoopSource)]
        missing = {key for source in sources if (key := _key(source)) not in _loops}
        self._threshold = self._spent + COMPILING * len(missing)
        self._plan, self._ended = plan, not sources

    def _compile(self) -> None:
        assert self._plan is not None
        numbers = itertools.count(FIRST_NUMBER)
        forward, backward = (
            [
                item.instruction(compiled_loop(item), numbers)
                if isinstance(item, LoopSource)
                else item
                for item in part
            ]
            for part in self._plan
        )
        self.steps, self._ended = (forward, backward), True


def _key(source: LoopSource) -> tuple[str, tuple[str, ...]]:
    text = SOURCE.format(dtype=source.dtype.name, version=VERSION, loop=source.text)
    return text, source.types


def compiled_loop(source: LoopSource) -> Callable[..., None]:
    """Return the compiled loop of a group; one per process for equal sources."""
    key = _key(source)
    if _exiting.is_set():
        raise RuntimeError("the process ends")
    if key not in _loops:
        import numba

        text, dtypes = key
        module, cached = module_of(text, "loop")
        arrays = [numba.types.Array(_numba_type(dtype), 1, "C") for dtype in dtypes]
        sizes = [numba.int64] * (2 + len(source.sizes))
        # as in NumPy: division by zero is infinity, and no operations are reordered or fused
        compiler = numba.njit(
            numba.void(*arrays, *sizes), error_model="numpy", fastmath=False, cache=cached
        )
        _loops[key] = compiler(module.loop)
    return _loops[key]


def _numba_type(dtype: str) -> Any:
    import numba

    return numba.boolean if dtype == "bool" else getattr(numba, dtype)
