"""Groups of instructions that share a loop, and arrays that loops write where they are needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter, methodcaller

import numpy as np

from bp_arrays.execution._fused_loops import (
    OPERATIONS,
    IsReadElsewhere,
    JoinedPart,
    LoopGroup,
    is_reduction,
    origin,
    starts_in,
)
from bp_arrays.execution._instructions import Instruction, Slot, copied, is_view
from bp_arrays.typing import HostArray, Shape

NEAR = 16
"""Instructions past which one may move to the loop of its operand: its result uses memory."""

FIRST_PART = 2 * 10**6
"""The number of the first view in a joined array, above those of all others."""


def groups_of(
    steps: Sequence[Instruction], program: Iterable[Instruction], *, moves: bool = False
) -> list[Instruction | LoopGroup]:
    """Return the instructions in an order in which those that can share a loop are one group.

    Parameters
    ----------
    steps : sequence of Instruction
    program : iterable of Instruction
        All that may read memory of the caller: a loop must not overwrite what one of them reads.
    moves : bool, default False
        Whether instructions may move past others, to join a loop that reads or computes the same.
    """
    read = {id(slot.root) for step in program for slot in step.read if slot.root.kind == "memory"}
    ordered = _views_first(steps)
    overwriting = [k for k, step in enumerate(ordered) if id(step.result.root) in read]
    grouping = _Grouping(ordered, min(overwriting, default=len(ordered)), moves)
    for number, step in enumerate(ordered):
        if number in overwriting or not _may_be_in_loop(step):
            grouping.emit_before(number, everything=number in overwriting)
        else:
            grouping.waiting.append(number)
    grouping.emit_groups(grouping.waiting)
    return [item for part in grouping.plan for item in _worthwhile(part)]


class _Grouping:
    """The instructions of a part: those that may be in a loop wait until they are needed.

    Parameters
    ----------
    steps : sequence of Instruction
    stop : int
        The number of the first that overwrites memory of the caller, past which none moves.
    moves : bool
    """

    def __init__(self, steps: Sequence[Instruction], stop: int, moves: bool) -> None:
        self.steps, self._stop, self._moves = steps, stop, moves
        self._sources, self._readers = _dependencies(steps)
        self._done = [False] * len(steps)
        self.plan: list[Instruction | LoopGroup] = []
        self.waiting: list[int] = []
        self._next: list[int] = []  # read what a new loop computes, and come later in the step

    def emit_before(self, number: int, *, everything: bool = False) -> None:
        """Add an instruction that no loop can contain, after those it needs."""
        everything = everything or not self._moves
        self.emit_groups(list(self.waiting) if everything else self._needed(number))
        if not self._done[number]:
            self._done[number] = True
            self.plan.append(self.steps[number])

    def emit_groups(self, needed: Sequence[int]) -> None:
        """Add these instructions, in loops with others that wait."""
        self._next = []
        for number in needed:
            if self._done[number]:
                continue
            step = self.steps[number]
            if self._is_ready(number) and _reduced_before(step, self.plan):
                self._done[number] = True
                continue
            group = LoopGroup()
            if not group.try_add(step):
                self._finish(number)
                self.plan.append(step)
                continue
            self._finish(number)
            self.plan.append(group)
            self._extend(group, set(needed))
        self.waiting = [number for number in self.waiting if not self._done[number]]

    def _extend(self, group: LoopGroup, needed: set[int]) -> None:
        """Add those that are needed now, or read what the group or the last one computes."""
        added = True
        while added:
            added = False
            for number in (*self.waiting, *self._next):
                if self._done[number] or not self._is_ready(number):
                    continue
                step = self.steps[number]
                if not (number in needed or number in self._next or group.computes_for(step)):
                    continue  # in a later loop its result may need no memory
                if group.try_add(step) or _reduced_before(step, self.plan):
                    self._finish(number)
                    added = True

    def _finish(self, number: int) -> None:
        self._done[number] = True
        if self._moves:
            stop = min(number + NEAR, self._stop)
            readers = (k for k in self._readers[number] if k < stop)
            self._next += [k for k in readers if _may_be_in_loop(self.steps[k])]

    def _is_ready(self, number: int) -> bool:
        return all(self._done[source] for source in self._sources[number])

    def _needed(self, number: int) -> list[int]:
        """Return the waiting instructions on which an instruction depends, in order."""
        needed: set[int] = set()
        sources = list(self._sources[number])
        while sources:
            source = sources.pop()
            if not self._done[source] and source not in needed:
                needed.add(source)
                sources += self._sources[source]
        return sorted(needed)


def _views_first(steps: Sequence[Instruction]) -> list[Instruction]:
    """Return the instructions, views of arguments first: they would end a group."""
    views, others = [], []
    known: set[int] = set()
    for step in steps:
        if step.assigned and all(s.kind == "argument" or id(s) in known for s in step.read):
            views.append(step)
            known.add(id(step.result))
        else:
            others.append(step)
    return views + others


def _dependencies(steps: Sequence[Instruction]) -> tuple[list[set[int]], list[list[int]]]:
    """Return the numbers of the instructions that each one reads, and of those that read it."""
    made_by: dict[int, int] = {}
    sources: list[set[int]] = [set() for _ in steps]
    readers: list[list[int]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        for slot in step.read:
            part: Slot | None = slot
            while part is not None:
                if id(part) in made_by:
                    sources[number].add(made_by[id(part)])
                part = part.base
        for source in sources[number]:
            readers[source].append(number)
        made_by |= {id(slot): number for slot in step.written}
    return sources, readers


def _may_be_in_loop(step: Instruction) -> bool:
    known = step.function in OPERATIONS or step.function is copied or is_reduction(step)
    return known and not (step.assigned or step.also or step.into)


def _reduced_before(step: Instruction, plan: Sequence[Instruction | LoopGroup]) -> bool:
    """Add a sum or maximum to the loop that computes its operand, if it can be part of it."""
    if not is_reduction(step):
        return False
    source = id(origin(step.operands[0]))
    loops = (item for item in plan if isinstance(item, LoopGroup) and source in item.layouts)
    return any(loop.try_add(step) for loop in loops)


def _worthwhile(item: Instruction | LoopGroup) -> list[Instruction | LoopGroup]:
    """Return a group as its only instruction if the loop would not be faster."""
    if isinstance(item, LoopGroup) and len(item.steps) == 1:
        [step] = item.steps
        return [item] if item.layouts[id(step.result)] == "row" else [step]
    return [item]


class Readers:
    """Which instructions read which arrays of a program.

    Parameters
    ----------
    steps : iterable of Instruction
    results : iterable of Slot
        Arrays that are read after the program.
    """

    def __init__(self, steps: Iterable[Instruction], results: Iterable[Slot]) -> None:
        self._results = {id(part) for slot in results for part in (origin(slot), slot.root)}
        self._readers: dict[int, set[int]] = {}
        for step in steps:
            for slot in step.read:
                for part in (origin(slot), slot.root):
                    self._readers.setdefault(id(part), set()).add(id(step))

    def outside(self, group: LoopGroup) -> IsReadElsewhere:
        """Return the function that tells whether a result of a group is read by others."""
        inside = {id(step) for step in group.steps}

        def is_read(slot: Slot) -> bool:
            keys = {id(slot), id(slot.root)}
            if slot.base is not None or keys & self._results:
                return True
            return any(self._readers.get(key, set()) - inside for key in keys)

        return is_read

    def only(self, slot: Slot, step: Instruction) -> bool:
        """Return True if an array in memory of its own is read by one instruction only."""
        if slot.kind != "result" or slot.base is not None or id(slot) in self._results:
            return False
        return self._readers.get(id(slot)) == {id(step)}


class Joined:
    """Arrays that loops write where they would be copied: np.concatenate is not called for them.

    All of its operands must be results of loops, or such arrays themselves, that nothing else
    reads.

    Parameters
    ----------
    plan : sequence of Instruction and LoopGroup
    readers : Readers
    """

    def __init__(self, plan: Sequence[Instruction | LoopGroup], readers: Readers) -> None:
        self.parts: dict[int, JoinedPart] = {}
        self._readers = readers
        self._numbers = itertools.count(FIRST_PART)
        loops = [item for item in plan if isinstance(item, LoopGroup)]
        self._loops = {
            key: loop for loop in loops for key, v in loop.layouts.items() if v == "full"
        }
        self._calls = {
            id(item.result): item
            for item in plan
            if isinstance(item, Instruction) and item.function is np.concatenate
        }
        dropped: set[int] = set()
        for item in reversed(plan):  # what is joined may be joined again
            if id(item) in dropped or item not in self._calls.values():
                continue
            assert isinstance(item, Instruction)
            parts: dict[int, JoinedPart] = {}
            calls = self._joined(item, item.result, item.result, parts)
            if calls is not None:
                self.parts |= parts
                dropped |= calls
        self.plan = [item for item in plan if id(item) not in dropped]

    def _joined(
        self, call: Instruction, place: Slot, whole: Slot, parts: dict[int, JoinedPart]
    ) -> set[int] | None:
        """Add the parts of a call's result, which lies at a place in the whole array.

        Return the ids of the calls that are not needed then; None if they are.
        """
        [operands], axis = call.operands, call.options["axis"]
        calls, start = {id(call)}, 0
        for operand in operands:
            source = origin(operand)
            if source.dtype != whole.dtype or not self._readers.only(source, call):
                return None
            stop = start + operand.shape[axis]
            index = (*[slice(None)] * (axis % len(operand.shape)), slice(start, stop))
            start = stop
            view = self._view(place, operand.shape, itemgetter(index))
            if id(source) in self._loops:
                starts = starts_in(view, self._loops[id(source)])
                if starts is None:
                    return None
                parts[id(source)] = JoinedPart(whole, view, starts)
                continue
            inner, shape = self._calls.get(id(source)), source.shape
            if inner is None or not is_view(view.layout(), shape):
                return None
            reshaped = self._view(view, shape, methodcaller("reshape", shape))
            more = self._joined(inner, reshaped, whole, parts)
            if more is None:
                return None
            calls |= more
        return calls

    def _view(self, base: Slot, shape: Shape, function: Callable[[HostArray], HostArray]) -> Slot:
        view = Slot("view", next(self._numbers), shape, base.dtype, contiguous=False)
        view.lies_in(base, function)
        return view
