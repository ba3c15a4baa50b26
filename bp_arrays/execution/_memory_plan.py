"""`MemoryPlan`: the memory of a program's arrays, in few chunks that many arrays use in turn."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.execution._instructions import Instruction, Slot
from bp_arrays.typing import HostArray


class Arena:
    """Memory shared by several programs, of which one runs at a time."""

    def __init__(self) -> None:
        self.chunks: list[HostArray] = []

    def chunks_for(self, uses: Sequence[Use]) -> list[HostArray]:
        """Return a chunk for each use; those of one chunk follow one another.

        The largest are placed first, each in the smallest chunk that is free all the time: small
        ones fill the gaps of large ones, and never keep a large one from a large chunk.
        """
        taken = sorted(map(_Chunk, self.chunks), key=_Chunk.size)
        chunks: dict[int, HostArray] = {}
        for number in sorted(range(len(uses)), key=lambda k: -uses[k].size):
            size, start, stop = uses[number]
            time = (1 << stop) - (1 << start)  # a bit for each instruction
            first = bisect_left(taken, size, key=_Chunk.size)
            fitting = itertools.islice(taken, first, None)
            chunk = next((chunk for chunk in fitting if not chunk.times & time), None)
            if chunk is None:
                chunk = _Chunk(np.empty(size, np.uint8))
                self.chunks.append(chunk.memory)
                taken.insert(first, chunk)
            chunk.times |= time
            chunks[number] = chunk.memory
        return [chunks[number] for number in range(len(uses))]


@dataclass
class _Chunk:
    """A chunk, and the times of its uses, a bit for each instruction."""

    memory: HostArray
    times: int = 0

    def size(self) -> int:
        return self.memory.nbytes


class Use(NamedTuple):
    """The use of `size` bytes from instruction `start` to that before `stop`."""

    size: int
    start: int
    stop: int


class MemoryPlan:
    """The memory of every array of a list of instructions.

    `arrays` holds, by name, the arrays in the arena and constants; `views` the arrays in the memory
    of others, each after its base.

    Parameters
    ----------
    instructions : sequence of Instruction
    bound : sequence of Slot
        Arrays in memory of the caller.
    results : sequence of Slot
        Arrays that are read after the first `split` instructions.
    split : int
    arena : Arena
    """

    def __init__(
        self,
        instructions: Sequence[Instruction],
        bound: Sequence[Slot],
        results: Sequence[Slot],
        split: int,
        arena: Arena,
    ) -> None:
        self.arrays: dict[str, Any] = {}
        self.views: list[Slot] = []
        self._known = {id(slot) for slot in bound}
        self._temporary = {id(i.result) for i in instructions if i.assigned}
        self._begun: dict[int, tuple[Slot, int]] = {}
        self._ended: list[tuple[Slot, Use]] = []
        last_read = _last_reads(instructions, results, split)
        for number, instruction in enumerate(instructions):
            used = (*instruction.read, *instruction.also)
            roots = {id(slot.root): slot.root for slot in used}
            last_used = [slot for key, slot in roots.items() if last_read[key] == number]
            self._plan(number, instruction, last_used)
        for slot, _ in list(self._begun.values()):
            self._end(slot, len(instructions))
        chunks = arena.chunks_for([use for _, use in self._ended])
        for (slot, use), chunk in zip(self._ended, chunks, strict=True):
            self.arrays[slot.name] = chunk[: use.size].view(slot.dtype).reshape(slot.shape)
        for slot in results:
            self._make_known(slot)

    def _plan(self, number: int, instruction: Instruction, last_used: Sequence[Slot]) -> None:
        """Begin the use of memory by the results, and end that by operands read for the last time.

        All uses of a chunk begin at its start: a result lies exactly where an operand lies.
        """
        result = instruction.result
        if instruction.elementwise:  # its result may overwrite an operand of its shape
            for slot in last_used:
                if slot.shape == result.shape and slot.dtype == result.dtype:
                    self._end(slot, number)
        for slot in instruction.read:
            self._make_known(slot)
        for slot in instruction.written:
            if slot.base is None and not instruction.assigned:
                self._begun.setdefault(id(slot), (slot, number))  # loops may share an array
                self._known.add(id(slot))
            else:
                self._make_known(slot)
        for slot in instruction.into:
            self._make_known(slot)
        for slot in last_used:
            self._end(slot, number + 1)

    def _end(self, slot: Slot, stop: int) -> None:
        if id(slot) in self._begun:
            _, start = self._begun.pop(id(slot))
            size = slot.dtype.itemsize * int(np.prod(slot.shape, dtype=np.int64))
            self._ended.append((slot, Use(size, start, stop)))

    def _make_known(self, slot: Slot) -> None:
        if id(slot) in self._known or id(slot) in self._temporary:
            return
        self._known.add(id(slot))
        if slot.base is not None:
            self._make_known(slot.base)
            self.views.append(slot)
        elif slot.constant is not None:
            self.arrays[slot.name] = slot.constant


def _last_reads(
    instructions: Sequence[Instruction], results: Sequence[Slot], split: int
) -> dict[int, int]:
    """Return the number of the last instruction that uses an array's memory, by the array's id."""
    last: dict[int, int] = {}
    for number, instruction in enumerate(instructions):
        for slot in (*instruction.written, *instruction.read):
            last[id(slot.root)] = number
    for slot in results:  # read between the two functions
        last[id(slot.root)] = max(last.get(id(slot.root), 0), split)
    return last
