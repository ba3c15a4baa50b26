"""A computation on NumPy as a list of operations with all memory laid out beforehand.

A training step does the same operations on arrays of the same shapes, thousands of times. Done
through layers, each operation makes a new array, and Python spends more time between the
operations than a small batch spends in them. A program is the bare list, written out as two Python
functions whose every line writes into memory that is there already: `recording` makes it.

    def forward(x, t, weight, step):
        dot(x, v3, out=v6)
        add(v6, v4, out=v6)
        maximum(v6, 0.0, out=v7)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

import numpy as np

from bp_arrays.typing import Shape

HostArray = np.ndarray[Any, Any]
SLOT = re.compile(r"[a-z]\d+")
"""What slots are called; functions are called otherwise."""


def identity(array: HostArray) -> HostArray:
    """The function that only copies: to another dtype, or to another place."""
    return array


@dataclass(eq=False)
class Slot:
    """An array of a program: what is known of it before there are numbers.

    Parameters
    ----------
    name : str
        What it is called in the program's source.
    shape, dtype
        Those of the array.
    contiguous : bool
        Whether its elements follow each other in memory, so that it can be reshaped in place.
    base, view : Slot and function, optional
        For an array that lies in another's memory: which, and how it is cut out of it.
    constant : array, optional
        For an array that never changes.
    """

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    contiguous: bool = True
    base: Slot | None = None
    view: Callable[[HostArray], HostArray] | None = None
    constant: HostArray | None = None

    @property
    def root(self) -> Slot:
        """The array whose memory this one lies in; itself, if it has its own."""
        slot = self
        while slot.base is not None:
            slot = slot.base
        return slot

    def lies_in(self, base: Slot, view: Callable[[HostArray], HostArray]) -> None:
        """Have this array's numbers written into a part of another's memory."""
        self.base, self.view = base, view


@dataclass(eq=False)
class Instruction:
    """One operation: what is called on which arrays, and where the result goes.

    Parameters
    ----------
    function : callable
        Takes `out=` unless `copied`.
    operands : tuple
        Slots, other values, and lists of them.
    options : dict
        Further arguments by name.
    result : Slot
    copied : bool
        Whether the function makes an array of its own, which is then copied to its place.
    assigned : bool
        Whether the result only exists during a run: a view of an argument.
    elementwise : bool
        Whether the result may be written over an operand of the same shape.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    result: Slot
    options: dict[str, Any] = field(default_factory=dict)
    copied: bool = False
    assigned: bool = False
    elementwise: bool = False

    @property
    def read(self) -> Iterator[Slot]:
        """The slots among the operands."""
        return _slots(self.operands)


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


class Program:
    """Two functions in a row, `forward` and `backward`, that write into memory laid out once.

    Parameters
    ----------
    forward, backward : sequence of Instruction
        In order; those whose results nobody reads are left out.
    arguments : sequence of Slot
        Handed in at every run.
    given : sequence of Slot
        Arrays with memory of the caller's, handed in by `bind`.
    results : sequence of Slot
        What `forward` computes, still to be read after it.
    written : sequence of Slot
        What `backward` computes, in memory of the caller's.
    arena : Arena
        Where the memory for everything in between comes from.
    """

    def __init__(
        self,
        forward: Sequence[Instruction],
        backward: Sequence[Instruction],
        *,
        arguments: Sequence[Slot],
        given: Sequence[Slot],
        results: Sequence[Slot],
        written: Sequence[Slot],
        arena: Arena,
    ) -> None:
        needed = _needed([*forward, *backward], [*results, *written])
        self._steps = [i for i in [*forward, *backward] if i in needed]
        split = sum(i in needed for i in forward)
        self._given = given
        self._names: dict[Any, str] = {}
        self._world: dict[str, Any] = {"copyto": np.copyto}
        last_read = self._last_reads(results, split)
        self._lay_out(results, last_read, arena.lease())
        signature = ", ".join(slot.name for slot in arguments)
        self.source = "\n".join(
            [
                *self._function("forward", signature, self._steps[:split]),
                *self._function("backward", signature, self._steps[split:]),
            ]
        )
        exec(compile(self.source, "<recorded step>", "exec"), self._world)
        self.forward: Callable[..., None] = self._world["forward"]
        self.backward: Callable[..., None] = self._world["backward"]

    def bind(self, memory: Mapping[str, HostArray]) -> None:
        """Use these arrays for the given slots, by their names, from the next run on."""
        for slot in self._given:
            self._world[slot.name] = memory[slot.name]
        for slot in self._views:
            assert slot.base is not None and slot.view is not None
            self._world[slot.name] = slot.view(self._world[slot.base.name])

    def array(self, slot: Slot) -> HostArray:
        """The memory of a slot, with what the last run left there."""
        found: HostArray = self._world[slot.name]
        return found

    def _last_reads(self, results: Sequence[Slot], split: int) -> dict[int, int]:
        """The number of the last instruction that reads an array's memory, by the array."""
        last: dict[int, int] = {}
        for number, instruction in enumerate(self._steps):
            for slot in (instruction.result, *instruction.read):
                last[id(slot.root)] = number
        for slot in results:  # read between the two functions
            last[id(slot.root)] = max(last.get(id(slot.root), 0), split)
        return last

    def _lay_out(self, results: Sequence[Slot], last_read: dict[int, int], lease: Lease) -> None:
        """Give every array its memory: that of an array nobody reads any more, if there is one."""
        chunks: dict[int, HostArray] = {}
        self._views: list[Slot] = []
        known = {id(slot) for slot in self._given}
        fleeting = {id(i.result) for i in self._steps if i.assigned}

        def make_known(slot: Slot) -> None:
            if id(slot) in known or id(slot) in fleeting:
                return
            known.add(id(slot))
            if slot.base is not None:
                make_known(slot.base)
                self._views.append(slot)
            elif slot.constant is not None:
                self._world[slot.name] = slot.constant

        for number, instruction in enumerate(self._steps):
            result = instruction.result
            dying = [
                slot
                for slot in {id(s.root): s.root for s in instruction.read}.values()
                if last_read[id(slot)] == number and id(slot) in chunks
            ]
            if instruction.elementwise:  # its result may lie where an operand of its shape does
                for slot in dying:
                    if slot.shape == result.shape and slot.dtype == result.dtype:
                        lease.give_back(chunks.pop(id(slot)))
            for slot in instruction.read:
                make_known(slot)
            if result.base is None and not instruction.assigned:
                size = result.dtype.itemsize * int(np.prod(result.shape, dtype=np.int64))
                chunk = lease.take(size)
                chunks[id(result)] = chunk
                self._world[result.name] = chunk[:size].view(result.dtype).reshape(result.shape)
                known.add(id(result))
            else:
                make_known(result)
            for slot in dying:
                if id(slot) in chunks:
                    lease.give_back(chunks.pop(id(slot)))
        for slot in results:
            make_known(slot)

    def _function(
        self, name: str, signature: str, instructions: Iterable[Instruction]
    ) -> Iterator[str]:
        yield f"def {name}({signature}):"
        fleeting = [i.result.name for i in self._steps if i.assigned]
        if fleeting:
            yield f"    global {', '.join(fleeting)}"
        yield "    pass"
        for instruction in instructions:
            yield "    " + self._line(instruction)

    def _line(self, instruction: Instruction) -> str:
        named = {key: self._code(value) for key, value in instruction.options.items()}
        arguments = [self._code(operand) for operand in instruction.operands]
        result = instruction.result.name
        if not instruction.copied and not instruction.assigned:
            named["out"] = result
        if instruction.function is identity:
            return f"copyto({result}, {arguments[0]}, casting='unsafe')"
        call = ", ".join([*arguments, *(f"{key}={code}" for key, code in named.items())])
        function = self._name_of(instruction.function)
        if instruction.assigned:
            return f"{result} = {function}({call})"
        if instruction.copied:
            return f"copyto({result}, {function}({call}), casting='unsafe')"
        return f"{function}({call})"

    def _code(self, value: Any) -> str:
        """A value as it stands in the source: by name, or, if it has none, written out."""
        if isinstance(value, Slot):
            return value.name
        if isinstance(value, (list, tuple)):
            inner = ", ".join(map(self._code, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        return self._name_of(value)

    def _name_of(self, value: Any) -> str:
        """The name under which the source finds a function or another value."""
        owner = getattr(value, "__self__", None)
        name = str(getattr(value, "__name__", "k"))
        key: Any = id(value)
        if isinstance(owner, np.ufunc):  # add.reduce, another object at every look
            key = name = f"{owner.__name__}_{name}"
        if key not in self._names:
            if not name.isidentifier() or iskeyword(name):
                name = "f"
            while name in self._world or SLOT.fullmatch(name):
                name += "_"
            self._names[key] = name
            self._world[name] = value  # which also keeps the id taken
        return self._names[key]


def _slots(operands: Iterable[Any]) -> Iterator[Slot]:
    for operand in operands:
        if isinstance(operand, Slot):
            yield operand
        elif isinstance(operand, (list, tuple)):
            yield from _slots(operand)


def _needed(instructions: Sequence[Instruction], wanted: Sequence[Slot]) -> set[Instruction]:
    """The instructions without which the wanted arrays would not be there."""
    alive = {id(slot) for slot in wanted} | {id(slot.root) for slot in wanted}
    found: set[Instruction] = set()
    for instruction in reversed(instructions):
        if id(instruction.result) in alive:
            found.add(instruction)
            for slot in instruction.read:
                while slot is not None:  # a view is there when all it is a view of is
                    alive.add(id(slot))
                    slot = slot.base  # type: ignore[assignment]
    return found
