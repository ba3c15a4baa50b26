"""A computation on NumPy as a list of operations with all memory laid out beforehand.

A training step does the same operations on arrays of the same shapes, thousands of times. Done
through layers, each operation makes a new array, and Python spends more time between the
operations than a small batch spends in them. A program is the bare list, written out as two Python
functions whose every line writes into memory that is there already: `recording` makes it.

    def forward(argument1, argument2, argument3):
        dot(argument1, view5, out=result7)
        add(result7, view6, out=result8)
        maximum(result8, constant9, out=result10)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any, get_args

import numpy as np

from bp_arrays.execution._instructions import Instruction, Kind, Slot, copied, needed_for
from bp_arrays.execution._memory_plan import Arena, MemoryPlan
from bp_arrays.typing import HostArray

SLOT = re.compile(rf"({'|'.join(get_args(Kind))})\d+")
"""The names of arrays; functions get other names."""


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
        needed = needed_for([*results, *written], [*forward, *backward])
        self._steps = [i for i in [*forward, *backward] if i in needed]
        split = sum(i in needed for i in forward)
        self._given = given
        self._names: dict[Any, str] = {}
        plan = MemoryPlan(self._steps, given, results, split, arena)
        self._views = plan.views
        self._world: dict[str, Any] = {"copyto": np.copyto, **plan.arrays}
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
        if instruction.function is copied:
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
