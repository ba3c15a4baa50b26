"""`Slot` and `Instruction`: the arrays and the operations of a recorded computation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bp_arrays.typing import HostArray, Shape


def copied(array: HostArray) -> HostArray:
    """Return the array: the function of an instruction that only copies, perhaps to a dtype."""
    return array


Kind = Literal["argument", "argument_view", "memory", "constant", "view", "result"]
"""The origin of the memory of an array: an argument of every run, or a view of one; memory bound
by the caller; a constant; a view of another array; or memory planned by the program."""


@dataclass(eq=False)
class Slot:
    """An array of a program, without numbers.

    Parameters
    ----------
    kind : Kind
        The origin of its memory.
    number : int
        Its number among all arrays of the program, from 1.
    shape, dtype
        Those of the array.
    contiguous : bool
        Whether its elements are contiguous in memory, so that a reshape is a view.
    base, view : Slot and function, optional
        For an array in the memory of another one: that array, and the function from it to the view.
    constant : array, optional
        The values of a constant.
    has_views : bool
        Whether other arrays are views of its memory.
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
        """The array that owns the memory of this one: itself, if it is not a view."""
        slot = self
        while slot.base is not None:
            slot = slot.base
        return slot

    def layout(self) -> HostArray:
        """Return an array with the shape and strides of this one, in memory that is not used."""
        if self.base is None or self.view is None:
            return np.empty(self.shape, self.dtype)
        return self.view(self.base.layout())

    def lies_in(self, base: Slot, view: Callable[[HostArray], HostArray]) -> None:
        """Place this array in a part of another array's memory."""
        self.base, self.view = base, view


@dataclass(eq=False)
class Instruction:
    """One operation: a function, its operands and its result.

    Parameters
    ----------
    function : callable
        Accepts `out=` unless `copied`.
    operands : tuple
        Slots, other values, and lists of them.
    options : dict
        Keyword arguments.
    result : Slot
    copied : bool
        Whether the function returns a new array, which is then copied to the result's memory.
    assigned : bool
        Whether the result exists during a run only, as a view of an argument.
    elementwise : bool
        Whether the result may overwrite an operand of the same shape.
    also : tuple of Slot
        Further results: the function then takes a tuple as `out=`.
    into, sizes : tuple of Slot, tuple of int
        Of a compiled loop, which has no `out=`: its first argument is a table of these numbers,
        then the addresses of operands and results, as vectors. Operands that are different memory
        at every run come last, and are arguments of their own.
    """

    function: Callable[..., Any]
    operands: tuple[Any, ...]
    result: Slot
    options: dict[str, Any] = field(default_factory=dict)
    copied: bool = False
    assigned: bool = False
    elementwise: bool = False
    also: tuple[Slot, ...] = ()
    into: tuple[Slot, ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def read(self) -> Iterator[Slot]:
        """The slots among the operands and options."""
        return _slots((*self.operands, *self.options.values()))

    @property
    def addressed(self) -> tuple[Any, ...]:
        """The operands of a compiled loop that stay where they are."""
        kinds = ("argument", "argument_view")
        return tuple(slot for slot in self.operands if slot.kind not in kinds)

    @property
    def written(self) -> tuple[Slot, ...]:
        """The slots of all results."""
        return (self.result, *self.also)


def needed_for(wanted: Sequence[Slot], instructions: Sequence[Instruction]) -> set[Instruction]:
    """Return the instructions on which the wanted arrays depend."""
    alive = {id(slot) for slot in wanted} | {id(slot.root) for slot in wanted}
    needed: set[Instruction] = set()
    for instruction in reversed(instructions):
        if any(id(slot) in alive for slot in instruction.written):
            needed.add(instruction)
            for slot in instruction.read:
                while slot is not None:  # a view needs every array that it is a view of
                    alive.add(id(slot))
                    slot = slot.base  # type: ignore[assignment]
    return needed


def _slots(operands: Iterable[Any]) -> Iterator[Slot]:
    for operand in operands:
        if isinstance(operand, Slot):
            yield operand
        elif isinstance(operand, (list, tuple)):
            yield from _slots(operand)


def is_view(layout: HostArray, shape: Any) -> bool:
    """Return True if NumPy can reshape an array with these strides without a copy."""
    try:
        np.reshape(layout, shape, copy=False)
    except ValueError:
        return False
    return True
