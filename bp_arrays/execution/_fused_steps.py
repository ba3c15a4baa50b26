"""`FusedSteps`: the operations of a recorded step in compiled loops, when that is worth it.

Compiling takes about a second for each different loop, so steps must have run for as long, or be
about to; then a second thread compiles while training continues. The loops compute the same bits.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from bp_arrays.execution._background import (
    Outlay,
    cost_of_loops,
    exiting,
    numba_module,
    started,
)
from bp_arrays.execution._fused_loops import LoopGroup, LoopSource
from bp_arrays.execution._instructions import Instruction, Slot, copied
from bp_arrays.execution._kernel_loops import KernelLoop, has_loop
from bp_arrays.execution._loop_groups import Joined, Readers, groups_of
from bp_arrays.execution._memory_plan import Arena, MemoryPlan
from bp_arrays.execution._update_loop import has_compiler, is_on_disk, module_of

logger = logging.getLogger("bp_arrays")

SOURCE = '''\
"""Written by bp_arrays: one pass over the rows of arrays."""
import numpy as np
from numpy import {dtype} as T, sqrt
from bp_arrays.execution._row_reductions import array_at, row_maximum, row_sum  # {version}


{loop}'''

VERSION = 5
"""Version of `_row_reductions`; raise it when the reductions change, so that cached loops are
compiled again.
"""

PLANNING, PLANNING_EACH = 0.1, 1e-3
"""Seconds of steps that pay for the plan of their loops, at least and for each instruction."""

SAME_MEMORY = 1.01
"""How many times the memory of the plain instructions a plan may need."""

FIRST_NUMBER = 10**6
"""The number of the first new array, above those of any recording."""

Groups = list[list[Instruction | LoopGroup]]
Source = LoopSource | KernelLoop
Plan = list[list[Instruction | Source]]
"""Of forward and of backward."""

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
        self._plan: Plan | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._outlay = Outlay()
        self._cost = max(PLANNING, PLANNING_EACH * sum(map(len, self._parts)))
        self._ended = not has_compiler()

    def spend(self, seconds: float, steps_to_come: int = 0) -> None:
        """Add the time of a step without the loops; plan and compile them when it is worth it."""
        if self._ended or (self._thread is not None and self._thread.is_alive()):
            return
        self._outlay.add(seconds)
        if self._outlay.exceeds(self._cost, steps_to_come):
            self._start()

    def _start(self) -> None:
        with self._lock:  # steps of several models may share the request
            if self._ended or (self._thread is not None and self._thread.is_alive()):
                return
            work = self._make_plan if self._plan is None else self._compile
            try:
                self._thread = started(lambda: self._try(work))
            except RuntimeError as error:  # the system has no more threads: training continues
                logger.info("no thread to compile loops of a step, NumPy continues: %s", error)
                self._ended = True

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
            if not exiting.is_set():
                logger.info("Numba cannot compile loops of a step, NumPy continues: %s", error)
            self._ended = True

    def _make_plan(self) -> None:
        if self._plan is not None:
            return
        plan = self._best_plan()
        sources = [item for part in plan for item in part if isinstance(item, Source)]
        new = {key for source in sources if (key := _key(source)) not in _loops}
        on_disk = sum(is_on_disk(text, "loop") for text, _ in new)
        self._outlay, self._cost = Outlay(), cost_of_loops(on_disk, len(new) - on_disk)
        self._plan, self._ended = plan, not sources

    def _best_plan(self) -> Plan:
        """Return the plan of fewest operations that needs no more memory than others."""
        every = [*self._parts[0], *self._parts[1]]
        readers = Readers(every, self._results)

        def with_sources(groups: Groups) -> Plan:
            joined = [Joined(part, readers) for part in groups]
            return [[with_source(item, part) for item in part.plan] for part in joined]

        def with_source(item: Instruction | LoopGroup, part: Joined) -> Instruction | Source:
            if isinstance(item, LoopGroup):
                return LoopSource(item, readers.outside(item), part.parts)
            return KernelLoop(item) if has_loop(item) else item

        in_order, moved = (
            [groups_of(part, every, moves=moves) for part in self._parts] for moves in (False, True)
        )
        if sum(map(len, moved)) >= sum(map(len, in_order)):
            return with_sources(in_order)
        plan = with_sources(moved)
        memory = self._memory_of(plan)
        if memory > SAME_MEMORY * self._memory_of(self._parts):
            other = with_sources(in_order)
            return plan if memory <= self._memory_of(other) else other
        return plan

    def _memory_of(self, plan: Sequence[Sequence[Instruction | Source]]) -> int:
        """Return the bytes of the arrays of a plan."""
        forward, backward = _with_loops(plan, lambda source: copied)
        steps, arena = [*forward, *backward], Arena()
        bound = [slot.root for step in steps for slot in step.read if slot.root.kind == "memory"]
        MemoryPlan(steps, bound, self._results, len(forward), arena)
        return sum(chunk.nbytes for chunk in arena.chunks)

    def _compile(self) -> None:
        assert self._plan is not None
        self.steps, self._ended = _with_loops(self._plan, compiled_loop), True


def _with_loops(
    plan: Sequence[Sequence[Instruction | Source]],
    loop_of: Callable[[Source], Callable[..., Any]],
) -> tuple[list[Instruction], list[Instruction]]:
    """Return the instructions of both parts, with calls of loops."""
    numbers = itertools.count(FIRST_NUMBER)
    forward, backward = (
        [
            step
            for item in part
            for step in (
                item.instructions(loop_of(item), numbers) if isinstance(item, Source) else [item]
            )
        ]
        for part in plan
    )
    return forward, backward


def _key(source: Source) -> tuple[str, tuple[str, ...]]:
    text = SOURCE.format(dtype=source.dtype.name, version=VERSION, loop=source.text)
    return text, source.types


def compiled_loop(source: Source) -> Callable[..., None]:
    """Return the compiled loop of a source; one per process for equal texts and dtypes."""
    key = _key(source)
    if exiting.is_set():
        raise RuntimeError("the process ends")
    if key not in _loops:
        numba = numba_module()

        text, dtypes = key
        module, cached = module_of(text, "loop")
        table = numba.types.Array(numba.int64, 1, "C")
        # of the user, who may pass memory that is read-only, or a part of a file's
        arguments = [
            numba.types.Array(_numba_type(dtype), 1, "C", readonly=True, aligned=False)
            for dtype in dtypes
        ]
        # as in NumPy: division by zero is infinity, and no operations are reordered or fused
        compiler = numba.njit(
            numba.void(table, *arguments), error_model="numpy", fastmath=False, cache=cached
        )
        _loops[key] = compiler(module.loop)
    return _loops[key]


def _numba_type(dtype: str) -> Any:
    import numba

    return numba.boolean if dtype == "bool" else getattr(numba, dtype)
