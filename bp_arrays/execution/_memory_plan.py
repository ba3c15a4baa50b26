"""Where the arrays of a program lie: few pieces of memory, each used for many of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.execution._instructions import Instruction, Slot
from bp_arrays.typing import HostArray


class Arena:
    """Memory that several programs share, of which one runs at a time."""

    def __init__(self) -> None:
        self.chunks: list[HostArray] = []

    def lease(self) -> Lease:
        """All of it, for another program."""
        return Lease(self)


class Lease:
    """What one program has of an arena: pieces are taken and given back while it is laid out."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._free = list(arena.chunks)

    def take(self, size: int) -> HostArray:
        """The smallest free piece of `size` bytes or more; a new one if there is none."""
        fitting = [chunk for chunk in self._free if chunk.nbytes >= size]
        if not fitting:
            chunk: HostArray = np.empty(size, np.uint8)
            self._arena.chunks.append(chunk)
            return chunk
        chunk = min(fitting, key=lambda chunk: chunk.nbytes)
        # by identity: `remove` would compare the numbers in them
        self._free = [other for other in self._free if other is not chunk]
        return chunk

    def give_back(self, chunk: HostArray) -> None:
        """This piece is not read any more."""
        self._free.append(chunk)


class MemoryPlan:
    """The memory of every array of a list of instructions.

    `arrays` holds, by name, those that lie here, and constants; `views` those that lie in other
    arrays, each after the one that it lies in.

    Parameters
    ----------
    instructions : sequence of Instruction
    given : sequence of Slot
        Arrays with memory of the caller's.
    results : sequence of Slot
        Arrays to be read after the first `split` instructions.
    split : int
    arena : Arena
    """

    def __init__(
        self,
        instructions: Sequence[Instruction],
        given: Sequence[Slot],
        results: Sequence[Slot],
        split: int,
        arena: Arena,
    ) -> None:
        self.arrays: dict[str, Any] = {}
        self.views: list[Slot] = []
        self._known = {id(slot) for slot in given}
        self._fleeting = {id(i.result) for i in instructions if i.assigned}
        self._lease = arena.lease()
        self._chunks: dict[int, HostArray] = {}
        last_read = _last_reads(instructions, results, split)
        for number, instruction in enumerate(instructions):
            roots = {id(slot.root): slot.root for slot in instruction.read}
            dying = [slot for key, slot in roots.items() if last_read[key] == number]
            self._place(instruction, dying)
        for slot in results:
            self._make_known(slot)

    def _place(self, instruction: Instruction, dying: Sequence[Slot]) -> None:
        """Give the result its memory, and back that of the operands nobody reads any more."""
        result = instruction.result
        if instruction.elementwise:  # its result may lie where an operand of its shape does
            for slot in dying:
                if slot.shape == result.shape and slot.dtype == result.dtype:
                    self._give_back(slot)
        for slot in instruction.read:
            self._make_known(slot)
        if result.base is None and not instruction.assigned:
            size = result.dtype.itemsize * int(np.prod(result.shape, dtype=np.int64))
            chunk = self._chunks[id(result)] = self._lease.take(size)
            self.arrays[result.name] = chunk[:size].view(result.dtype).reshape(result.shape)
            self._known.add(id(result))
        else:
            self._make_known(result)
        for slot in dying:
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        if id(slot) in self._chunks:
            self._lease.give_back(self._chunks.pop(id(slot)))

    def _make_known(self, slot: Slot) -> None:
        if id(slot) in self._known or id(slot) in self._fleeting:
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
    """The number of the last instruction that reads an array's memory, by the array."""
    last: dict[int, int] = {}
    for number, instruction in enumerate(instructions):
        for slot in (instruction.result, *instruction.read):
            last[id(slot.root)] = number
    for slot in results:  # read between the two functions
        last[id(slot.root)] = max(last.get(id(slot.root), 0), split)
    return last
