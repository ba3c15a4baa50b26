"""`MemoryPlan`: the memory of a program's arrays, in few chunks that many arrays use in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.execution._instructions import Instruction, Slot
from bp_arrays.typing import HostArray


class Arena:
    """Memory shared by several programs, of which one runs at a time."""

    def __init__(self) -> None:
        self.chunks: list[HostArray] = []

    def lease(self) -> Lease:
        """Return a lease of the whole arena, for another program."""
        return Lease(self)


class Lease:
    """The use of an arena by one program: chunks are taken and given back while it is planned."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._free = list(arena.chunks)

    def take(self, size: int) -> HostArray:
        """Return the smallest free chunk of `size` bytes or more; a new one if there is none."""
        fitting = [chunk for chunk in self._free if chunk.nbytes >= size]
        if not fitting:
            chunk: HostArray = np.empty(size, np.uint8)
            self._arena.chunks.append(chunk)
            return chunk
        chunk = min(fitting, key=lambda chunk: chunk.nbytes)
        # by identity, as `remove` would compare the values
        self._free = [other for other in self._free if other is not chunk]
        return chunk

    def give_back(self, chunk: HostArray) -> None:
        """Mark a chunk as free."""
        self._free.append(chunk)


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
        self._lease = arena.lease()
        self._chunks: dict[int, HostArray] = {}
        last_read = _last_reads(instructions, results, split)
        for number, instruction in enumerate(instructions):
            used = (*instruction.read, *instruction.also)
            roots = {id(slot.root): slot.root for slot in used}
            last_used = [slot for key, slot in roots.items() if last_read[key] == number]
            self._plan(instruction, last_used)
        for slot in results:
            self._make_known(slot)

    def _plan(self, instruction: Instruction, last_used: Sequence[Slot]) -> None:
        """Allocate the results, and free the operands that are not read any more."""
        result = instruction.result
        if instruction.elementwise:  # its result may overwrite an operand of its shape
            for slot in last_used:
                if slot.shape == result.shape and slot.dtype == result.dtype:
                    self._give_back(slot)
        for slot in instruction.read:
            self._make_known(slot)
        for slot in instruction.written:
            if slot.base is None and not instruction.assigned:
                self._allocate(slot)
            else:
                self._make_known(slot)
        for slot in instruction.into:
            self._make_known(slot)
        for slot in last_used:
            self._give_back(slot)

    def _allocate(self, slot: Slot) -> None:
        size = slot.dtype.itemsize * int(np.prod(slot.shape, dtype=np.int64))
        chunk = self._chunks[id(slot)] = self._lease.take(size)
        self.arrays[slot.name] = chunk[:size].view(slot.dtype).reshape(slot.shape)
        self._known.add(id(slot))

    def _give_back(self, slot: Slot) -> None:
        if id(slot) in self._chunks:
            self._lease.give_back(self._chunks.pop(id(slot)))

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
