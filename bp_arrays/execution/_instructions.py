"""What a recorded computation is made of: arrays without numbers, and operations on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bp_arrays.typing import HostArray, Shape


def copied(array: HostArray) -> HostArray:
    """The function that only copies: to another dtype, or to other memory."""
    return array


Kind = Literal["argument", "argument_view", "memory", "constant", "view", "result"]
"""Where the memory of an array comes from: passed at every run, or a part of such an array; bound
by the caller; fixed numbers; a part of another array; or laid out by the program."""


@dataclass(eq=False)
class Slot:
    """An array of a program: what is known of it before there are numbers.

    Parameters
    ----------
    kind : Kind
        Where its memory comes from.
    number : int
        Counted from 1, over all arrays of the program.
    shape, dtype
        Those of the array.
    contiguous : bool
        Whether its elements follow each other in memory, so that it can be reshaped in place.
    base, view : Slot and function, optional
        For an array that lies in another's memory: which, and how it is cut out of it.
    constant : array, optional
        For an array that never changes.
    has_views : bool
        Whether other arrays lie in its memory.
    """

    kind: Kind
    number: int
    shape: Shape
    dtype: np.dtype[Any]
    contiguous: bool = True
    base: Slot | None = None
    view: Callable[[HostArray], HostArray] | None = None
    constant: HostArray | None = None
    has_views: bool = False

    @cached_property
    def name(self) -> str:
        """The name in the program's source: "result7"."""
        return f"{self.kind}{self.number}"

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


def needed_for(wanted: Sequence[Slot], instructions: Sequence[Instruction]) -> set[Instruction]:
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


def _slots(operands: Iterable[Any]) -> Iterator[Slot]:
    for operand in operands:
        if isinstance(operand, Slot):
            yield operand
        elif isinstance(operand, (list, tuple)):
            yield from _slots(operand)
