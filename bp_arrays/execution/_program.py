"""`Program`: a computation on NumPy as a list of operations in preallocated memory.

A training step does the same operations on arrays of the same shapes, thousands of times. Run
through layers, each operation allocates an array, and Python spends more time between the
operations than a small batch spends in them. A program is the list recorded by `StepRecorder`,
written as two Python functions whose every line writes into memory allocated before:

    def forward(argument1, argument2, argument3):
        dot(argument1, view5, out=result7)
        add(result7, view6, out=result8)
        maximum(result8, constant9, out=result10)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any, get_args

import numpy as np

from bp_arrays.execution._instructions import Instruction, Kind, Slot, copied, needed_for
from bp_arrays.execution._memory_plan import Arena, MemoryPlan
from bp_arrays.typing import HostArray

SLOT = re.compile(rf"({'|'.join(get_args(Kind))})\d+")
"""The names of arrays, which functions must not have."""


class Program:
    """Two functions, `forward` and `backward`, that write into memory allocated once.

    Parameters
    ----------
    forward, backward : sequence of Instruction
        In order; those whose results are not used are removed.
    arguments : sequence of Slot
        The arguments of both functions.
    bound : sequence of Slot
        Arrays in memory of the caller, which `bind` sets.
    results : sequence of Slot
        Results of `forward`, read before `backward` is called.
    written : sequence of Slot
        Results of `backward`, in memory of the caller.
    arena : Arena
        The memory for all other arrays.
    """

    def __init__(
        self,
        forward: Sequence[Instruction],
        backward: Sequence[Instruction],
        *,
        arguments: Sequence[Slot],
        bound: Sequence[Slot],
        results: Sequence[Slot],
        written: Sequence[Slot],
        arena: Arena,
    ) -> None:
        needed = needed_for([*results, *written], [*forward, *backward])
        self.steps = [i for i in [*forward, *backward] if i in needed]
        self.split = split = sum(i in needed for i in forward)
        self._bound = bound
        self._names: dict[Any, str] = {}
        plan = MemoryPlan(self.steps, bound, results, split, arena)
        self._views = plan.views
        self._globals: dict[str, Any] = {"copyto": np.copyto, **plan.arrays}
        self._tables: list[tuple[str, Instruction]] = []
        signature = ", ".join(slot.name for slot in arguments)
        self.source = "\n".join(
            [
                *self._function("forward", signature, self.steps[:split]),
                *self._function("backward", signature, self.steps[split:]),
            ]
        )
        exec(compile(self.source, "<recorded step>", "exec"), self._globals)
        self.forward: Callable[..., None] = self._globals["forward"]
        self.backward: Callable[..., None] = self._globals["backward"]

    def bind(self, memory: Mapping[str, HostArray]) -> None:
        """Use these arrays, by name, for the bound slots from the next run on."""
        for slot in self._bound:
            self._globals[slot.name] = memory[slot.name]
        for slot in self._views:
            assert slot.base is not None and slot.view is not None
            self._globals[slot.name] = slot.view(self._globals[slot.base.name])
        for name, loop in self._tables:
            arrays = [self._globals[slot.name] for slot in (*loop.addressed, *loop.into)]
            places = [(a.__array_interface__["data"][0], a.size) for a in arrays]
            self._globals[name][:] = [*loop.sizes, *itertools.chain(*places)]

    def unbind(self) -> None:
        """Refer to no memory of the caller until `bind` is called again."""
        for slot in (*self._bound, *self._views):
            self._globals[slot.name] = None

    def array(self, slot: Slot) -> HostArray:
        """Return the array of a slot, with the values of the last run."""
        array: HostArray = self._globals[slot.name]
        return array

    def _function(
        self, name: str, signature: str, instructions: Iterable[Instruction]
    ) -> Iterator[str]:
        yield f"def {name}({signature}):"
        assigned = [i.result.name for i in self.steps if i.assigned]
        if assigned:
            yield f"    global {', '.join(assigned)}"
        yield "    pass"
        for instruction in instructions:
            yield "    " + self._line(instruction)

    def _line(self, instruction: Instruction) -> str:
        named = {key: self._code(value) for key, value in instruction.options.items()}
        arguments = [self._code(operand) for operand in instruction.operands]
        result = instruction.result.name
        if instruction.into:  # a compiled loop
            passed = instruction.operands[len(instruction.addressed) :]
            arguments = [self._table_of(instruction), *map(self._code, passed)]
        elif not instruction.copied and not instruction.assigned:
            outputs = ", ".join(slot.name for slot in instruction.written)
            named["out"] = f"({outputs})" if instruction.also else result
        if instruction.function is copied:
            return f"copyto({result}, {arguments[0]}, casting='unsafe')"
        call = ", ".join([*arguments, *(f"{key}={code}" for key, code in named.items())])
        function = self._name_of(instruction.function)
        if instruction.assigned:
            return f"{result} = {function}({call})"
        if instruction.copied:
            return f"copyto({result}, {function}({call}), casting='unsafe')"
        return f"{function}({call})"

    def _table_of(self, loop: Instruction) -> str:
        """Return the name of a loop's table: its sizes, and the address and size of each array."""
        name = f"table{len(self._tables)}"
        count = len(loop.sizes) + 2 * (len(loop.addressed) + len(loop.into))
        self._globals[name] = np.zeros(count, np.int64)
        self._tables.append((name, loop))
        return name

    def _code(self, value: Any) -> str:
        """Return a value as source code: by name, or, for simple values, as a literal."""
        if isinstance(value, Slot):
            return value.name
        if type(value) in (list, tuple):
            inner = ", ".join(map(self._code, value))
            return f"[{inner}]" if isinstance(value, list) else f"({inner},)"
        if value is None or isinstance(value, (bool, int, str)):
            return repr(value)
        return self._name_of(value)

    def _name_of(self, value: Any) -> str:
        """Return the name of a function or another value in the source."""
        owner = getattr(value, "__self__", None)
        name = str(getattr(value, "__name__", "k"))
        key: Any = id(value)
        if isinstance(owner, np.ufunc):  # add.reduce is a new object at each access
            key = name = f"{owner.__name__}_{name}"
        if key not in self._names:
            if not name.isidentifier() or iskeyword(name):
                name = "f"
            while name in self._globals or SLOT.fullmatch(name):
                name += "_"
            self._names[key] = name
            self._globals[name] = value  # also keeps the object alive, so that its id stays unique
        return self._names[key]
