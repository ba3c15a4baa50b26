"""`KernelLoop`: the compiled loop of a kernel in place of its native form, with the same bits."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable
from types import CodeType

import numpy as np

from bp_arrays.execution._fused_loops import ARGUMENTS, FLOATS, INTEGERS, raveled
from bp_arrays.execution._instructions import Instruction, Slot
from bp_arrays.kernels import loop_of


class KernelLoop:
    """The call of a kernel's loop, as Python for Numba.

    Parameters
    ----------
    step : Instruction
        One that `has_loop`.
    """

    def __init__(self, step: Instruction) -> None:
        self._step = step
        self._arrays = _arrays_of(step)
        self._passed = [slot for slot in self._arrays if slot.root.kind in ARGUMENTS]
        self.text = self._text()

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype T of its numbers."""
        return self._step.result.dtype

    @property
    def types(self) -> tuple[str, ...]:
        """The dtypes of the arrays that the loop takes besides the table."""
        return tuple(slot.dtype.name for slot in self._passed)

    def _text(self) -> str:
        """Return the source: it depends on the kernel, on dtypes and dimensions, on no size."""
        loop = loop_of(self._step.function)
        assert loop is not None
        addressed = [slot for slot in self._arrays if slot not in self._passed]
        sizes = itertools.count()
        shapes = {
            id(slot): ", ".join(f"table[{next(sizes)}]" for _ in slot.shape)
            for slot in (self._step.result, *self._arrays)
        }
        places = itertools.count(next(sizes), 2)
        code = {id(slot): f"p{k}" for k, slot in enumerate(self._passed)}
        for slot in (*addressed, self._step.result):  # in the order of an instruction's table
            place = next(places)
            kind = f"np.{slot.dtype.name}"
            code[id(slot)] = f"array_at(table[{place}], table[{place + 1}], {kind})"
        arrays = [
            f"{code[id(slot)]}.reshape(({shapes[id(slot)]},))"
            for slot in (self._step.result, *self._arrays)
        ]
        parameters = ", ".join(["table", *(code[id(slot)] for slot in self._passed)])
        return (
            "from numba import njit\n"
            f"from {loop.__module__} import {loop.__name__}  # {_digest(loop.__code__)}\n\n"
            f'kernel = njit(error_model="numpy")({loop.__name__})\n\n\n'
            f"def loop({parameters}):\n"
            f"    kernel({', '.join(arrays)})\n"
        )

    def instructions(self, loop: Callable[..., None], numbers: Iterable[int]) -> list[Instruction]:
        """Return the instruction that calls the compiled loop, after those that it requires.

        Parameters
        ----------
        loop : function
        numbers : iterator of int
            Numbers for new slots.
        """
        counter = iter(numbers)
        vectors = []
        for slot in self._passed:
            vector = Slot("argument_view", next(counter), (math.prod(slot.shape),), slot.dtype)
            vectors.append(Instruction(raveled, (slot,), vector, assigned=True))
        result = self._step.result
        call = Instruction(
            loop,
            (
                *(slot for slot in self._arrays if slot not in self._passed),
                *(step.result for step in vectors),
            ),
            result,
            into=(result,),
            sizes=tuple(itertools.chain(result.shape, *(slot.shape for slot in self._arrays))),
        )
        return [*vectors, call]


def _digest(code: CodeType) -> str:
    """Return a digest of a function: Numba's cache does not see that one it calls has changed."""
    constants = [_digest(k) if isinstance(k, CodeType) else repr(k) for k in code.co_consts]
    content = repr((code.co_code, code.co_names, code.co_varnames, constants))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def has_loop(step: Instruction) -> bool:
    """Return True if an instruction is a kernel's native form that a loop can compute as well."""
    if loop_of(step.function) is None or step.also or step.result.dtype not in FLOATS:
        return False
    dtypes = (*INTEGERS, step.result.dtype)
    return step.result.layout().flags.c_contiguous and all(
        slot.shape and slot.dtype in dtypes and _is_contiguous(slot) for slot in _arrays_of(step)
    )


def _arrays_of(step: Instruction) -> list[Slot]:
    return [operand for operand in step.operands if isinstance(operand, Slot)]


def _is_contiguous(slot: Slot) -> bool:
    """Return True if a loop can read an array where it is; of an argument it gets a vector."""
    if slot.root.kind in ARGUMENTS:
        return True
    array = slot.layout() if slot.constant is None else slot.constant
    return bool(array.flags.c_contiguous)
