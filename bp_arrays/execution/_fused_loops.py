"""One compiled loop in place of consecutive operations of a recorded step, with the same bits.

NumPy goes through memory once for each operation. Operations that follow one another on the same
(rows, columns), and sums or maxima of rows between them, can share one pass over the rows: what
only they read stays in registers or in a buffer of one row. `LoopGroup` holds such operations and
`LoopSource` writes the loop as Python for Numba. Exponentials and other functions that NumPy
computes itself, by code of its own for each processor, are left to it, so that results do not
depend on when the loops are ready, nor on whether Numba is installed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bp_arrays.execution._instructions import Instruction, Slot, copied
from bp_arrays.execution._recorded_functions import chosen, masked
from bp_arrays.typing import HostArray

OPERATIONS: dict[Any, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.negative: "-{}",
    np.positive: "{}",
    np.square: "{0} * {0}",
    np.reciprocal: "T(1.0) / {}",
    np.absolute: "abs({})",
    np.sqrt: "sqrt({})",
    # as NumPy: NaN is passed on, and of 0.0 and -0.0 the second is the result
    np.maximum: "({0} if {0} > {1} or {0} != {0} else {1})",
    np.minimum: "({0} if {0} < {1} or {0} != {0} else {1})",
    np.greater: "{} > {}",
    np.greater_equal: "{} >= {}",
    np.less: "{} < {}",
    np.less_equal: "{} <= {}",
    np.equal: "{} == {}",
    np.not_equal: "{} != {}",
    np.logical_and: "{} & {}",
    np.logical_or: "{} | {}",
    np.logical_not: "not {}",
    chosen: "({1} if {0} else {2})",
    masked: "({1} if {0} else T(0.0))",
}
BRANCHES = {np.maximum, np.minimum, chosen, masked}
"""Operations whose operands are read before the choice, so that LLVM needs no branch."""
ON_BOOLEANS = {np.logical_and, np.logical_or, np.logical_not}
CONDITIONAL = (chosen, masked, copied)
"""Functions whose first operand is a mask."""
COMPARISONS = {
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
}  # fmt: skip
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
INTEGERS = tuple(np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32))
INTEGERS = (*INTEGERS, np.dtype(np.int64))
"""Those that may be compared: int64 holds all of their numbers."""
BOOL = np.dtype(np.bool_)
ARGUMENTS = ("argument", "argument_view")
"""Arrays in other memory at every run."""
OVERLAPS = 8
"""Pairs of arrays that LLVM compares before a loop; with more it does not vectorize."""

Layout = Literal["full", "row", "column", "tile", "strided", "total", "one", "number"]
"""How an operand is read in row i, column j: [i, j], [i], [j], [i % period, j], [start[i] + j],
after the last row, [0], or as a literal."""

WIDE: tuple[Layout, ...] = ("full", "tile", "strided")
"""Those with a number for every row and column."""

IsReadElsewhere = Callable[[Slot], bool]


def origin(slot: Slot) -> Slot:
    """Return the array of which this is another shape: the same elements in the same order."""
    while (
        slot.kind == "view"
        and slot.base is not None
        and slot.contiguous
        and slot.base.contiguous
        and slot.dtype == slot.base.dtype
        and math.prod(slot.shape) == math.prod(slot.base.shape)
    ):
        slot = slot.base
    return slot


class LoopGroup:
    """Instructions over the same rows and columns that one loop computes."""

    def __init__(self) -> None:
        self.steps: list[Instruction] = []
        self.rows = self.columns = 0
        self.dtype: np.dtype[Any] | None = None
        self.layouts: dict[int, Layout] = {}  # by the id of the result
        self.complete_after_loop: set[int] = set()
        self.roots: set[int] = set()

    def try_add(self, step: Instruction) -> bool:
        """Add an instruction if it can be part of the loop; return whether it was added."""
        slots = step.operands
        if step.assigned or step.also or step.into or not slots:
            return False
        if not all(isinstance(slot, Slot) for slot in slots):
            return False
        compared = step.function in COMPARISONS and slots[0].dtype in INTEGERS
        if compared:
            if any(slot.dtype != slots[0].dtype for slot in slots):
                return False
            floats = set()
        else:
            floats = {s.dtype for s in (step.result, *slots) if s.dtype != BOOL}
            floats |= {self.dtype} if self.dtype is not None else set()
            if len(floats) != 1 or not floats <= set(FLOATS):
                return False
        layout = self._layout_of_result(step)
        if layout is None:
            return False
        self.steps.append(step)
        if floats:
            self.dtype = floats.pop()
        self.layouts[id(step.result)] = layout
        self.roots.add(id(step.result.root))
        if layout == "column":
            self.complete_after_loop.add(id(step.result))
        return True

    def computes_for(self, step: Instruction) -> bool:
        """Return True if an operand is computed by the loop."""
        return any(id(origin(slot)) in self.layouts for slot in step.read)

    def _layout_of_result(self, step: Instruction) -> Layout | None:
        reduced_by = _reduced_by(step)
        if reduced_by is not None:
            return self._reduced(reduced_by, step)
        function = step.function
        if function is copied:
            if step.result.dtype not in FLOATS:
                return None
        elif (
            function not in OPERATIONS
            or step.options
            or step.copied
            or (isinstance(function, np.ufunc) and not step.elementwise)
        ):
            return None
        conditions = len(step.operands) if step.function in ON_BOOLEANS else 0
        if function in CONDITIONAL:
            conditions = int(function is not copied or step.operands[0].dtype == BOOL)
        if any((slot.dtype == BOOL) != (k < conditions) for k, slot in enumerate(step.operands)):
            return None
        shape = step.result.shape
        size, columns = math.prod(shape), shape[-1] if shape else 0
        if not self.rows:
            if columns < 2 or size <= columns:
                return None
            self.rows, self.columns = size // columns, columns
        layouts = [self.layout_of(slot, shape) for slot in step.operands]
        layout: Layout | None = None
        if size == self.rows * self.columns and columns == self.columns:
            if set(WIDE) & set(layouts) or {"row", "column"} <= set(layouts):
                layout = "full"
        elif size == self.rows and set(layouts) <= {"row", "one", "number"} and "row" in layouts:
            layout = "row"
        elif size == 1 and set(layouts) <= {"total", "one", "number"} and "total" in layouts:
            layout = "total"
        if None in layouts or layout is None:
            if not self.steps:
                self.rows = self.columns = 0
            return None
        return layout

    def _reduced(self, ufunc: np.ufunc, step: Instruction) -> Layout | None:
        [x] = step.operands
        dimensions, axis = len(x.shape), step.options["axis"]
        axes = axis if isinstance(axis, tuple) else (axis,)
        if ufunc not in (np.add, np.maximum) or x.dtype != step.result.dtype:
            return None
        whole = None in axes or len({k % dimensions for k in axes}) == dimensions
        if whole and self.layouts.get(id(origin(x))) == "row":
            return "total"
        if dimensions < 2 or None in axes:
            return None
        rows, columns = math.prod(x.shape[:-1]), x.shape[-1]
        if self.rows and (rows, columns) != (self.rows, self.columns):
            return None
        if {k % dimensions for k in axes} == {dimensions - 1}:
            layout: Layout = "row"
        elif ufunc is np.add and dimensions == 2 and axes in ((0,), (-2,)):
            layout = "column"
        else:
            return None
        started = bool(self.rows)
        if not started:
            if columns < 2 or rows < 2:
                return None
            self.rows, self.columns = rows, columns
        if self.layout_of(x, x.shape) == "full":
            return layout
        if not started:
            self.rows = self.columns = 0
        return None

    def layout_of(self, slot: Slot, shape: tuple[int, ...]) -> Layout | None:
        """Return how an operand is read by an operation on `shape`; None if it cannot be."""
        source = origin(slot)
        if id(source) in self.complete_after_loop:
            return None
        size, last = math.prod(slot.shape), slot.shape[-1] if slot.shape else 0
        if id(source) in self.layouts:
            layout = self.layouts[id(source)]
            if layout == "full":
                whole = size == self.rows * self.columns == math.prod(shape)
                return "full" if whole and last == self.columns else None
            if layout == "total":
                return "total" if math.prod(shape) == 1 else None
            whole = math.prod(shape) == self.rows * self.columns
            return "row" if last == 1 or not whole else None
        if id(slot.root) in self.roots:  # a part, or another order, of what the loop computes
            return None
        if slot.constant is not None and _same_number(slot.constant) is not None:
            return "number"
        if size == 1:
            return "one"
        array = slot.layout() if slot.constant is None else slot.constant
        if not array.flags.writeable and slot.constant is None:
            return None
        whole = last == self.columns and size == self.rows * self.columns
        if whole and _row_stride(array, self.rows, self.columns) is not None:
            return "full"
        if last == 1 and size == self.rows and self.columns > 1:
            return "row" if array.flags.c_contiguous else None
        if last == self.columns and size == self.columns:
            return "column" if array.flags.c_contiguous else None
        trailing = tuple(itertools.dropwhile(lambda n: n == 1, slot.shape))
        if last != self.columns:
            return None
        if trailing == shape[-len(trailing) :] and array.flags.c_contiguous:
            return "tile"
        return "strided" if _row_starts(array, shape) is not None else None


def _same_number(constant: HostArray) -> Any:
    """Return the number that all elements are; None if they differ, or are NaN."""
    if not constant.size:
        return None
    first = constant.flat[0]
    return first if first == first and bool(np.all(constant == first)) else None


def _row_stride(array: HostArray, rows: int, columns: int) -> int | None:
    """Return the elements from row to row of an array seen as (rows, columns); None if it is not.

    The numbers of a row must be contiguous.
    """
    try:
        matrix = np.reshape(array, (rows, columns), copy=False)
    except ValueError:
        return None
    row, column = matrix.strides
    if column != array.itemsize or row < 0 or row % array.itemsize:
        return None
    return row // array.itemsize


def _row_starts(array: HostArray, shape: tuple[int, ...]) -> HostArray | None:
    """Return the position of each row of an array broadcast to `shape`, counted from the first.

    None if the numbers of a row are not contiguous, or a row lies before the first one.
    """
    wide = np.broadcast_to(array, shape)
    *strides, column = wide.strides
    if column != array.itemsize or any(n < 0 or n % array.itemsize for n in strides):
        return None
    starts = np.zeros((), np.int64)
    for size, stride in zip(shape, strides, strict=False):
        starts = starts[..., None] + np.arange(size) * (stride // array.itemsize)
    return np.ascontiguousarray(starts.reshape(-1))


@dataclass(frozen=True)
class JoinedPart:
    """A result that a loop writes to a part of another array.

    Parameters
    ----------
    whole, view : Slot
        The other array, and the part.
    starts : array of int
        The position of each row of the loop, from the first element of the part.
    """

    whole: Slot
    view: Slot
    starts: HostArray


class LoopSource:
    """The loop of a group, as Python for Numba.

    Parameters
    ----------
    group : LoopGroup
    is_read_elsewhere : function
        Whether a result is read by other instructions.
    parts : dict of int to JoinedPart, optional
        Results that are parts of other arrays, by the id of the result.
    """

    def __init__(
        self,
        group: LoopGroup,
        is_read_elsewhere: IsReadElsewhere,
        parts: dict[int, JoinedPart] | None = None,
    ) -> None:
        self.group, self.parts = group, parts or {}
        self.names = {id(step.result): f"t{k}" for k, step in enumerate(group.steps)}
        self.outputs = [step.result for step in group.steps if is_read_elsewhere(step.result)]
        self.inputs: dict[tuple[int, Layout], Slot] = {}
        self.read: dict[tuple[int, Layout], str] = {}
        self.sizes: list[int] = []
        self.starts: dict[tuple[int, Layout], HostArray] = {}
        self._flat = self._is_flat()
        self.arguments: list[tuple[int, Layout]] = []
        self.stored: set[int] = {id(slot) for slot in self.outputs}
        self.stored |= {id(origin(s.operands[0])) for s in group.steps if is_reduction(s)}
        while True:
            self._loops()
            used_later = self._used_in_later_loops()
            if used_later <= self.stored:
                break
            self.stored |= used_later
        self.text = self._text()

    def _is_flat(self) -> bool:
        """Return True if the whole arrays can be one row: nothing depends on the columns."""
        if set(self.group.layouts.values()) != {"full"}:
            return False
        if any(id(slot) in self.parts for slot in self.outputs):
            return False
        for step in self.group.steps:
            for slot in step.operands:
                layout = self._layout(slot, step)
                if layout == "full" and id(origin(slot)) not in self.names:
                    if not (slot.layout() if slot.constant is None else slot.constant).flags[
                        "C_CONTIGUOUS"
                    ]:
                        return False
                elif layout not in ("full", "one", "number"):
                    return False
        return True

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype T of its numbers; any, if it only compares integers."""
        return FLOATS[0] if self.group.dtype is None else self.group.dtype

    def _layout(self, slot: Slot, step: Instruction) -> Layout:
        shape = slot.shape if is_reduction(step) else step.result.shape
        source = origin(slot)
        if id(source) in self.names:
            return self.group.layouts[id(source)]
        layout = self.group.layout_of(slot, shape)
        assert layout is not None
        return layout

    # -- which operations share an inner loop ----------------------------------------------------

    def _loops(self) -> None:
        """Assign every instruction a loop over the columns, or the statements after one."""
        self.loop_of: dict[int, int] = {}  # of results that are full
        self.bodies: list[list[Instruction]] = [[]]
        self.after: list[list[Instruction]] = [[]]
        self.totals: list[Instruction] = []
        loads: set[str] = set()
        stores: set[str] = set()
        late: set[int] = set()  # row results of the statements after the last loop
        for step in self.group.steps:
            layout = self.group.layouts[id(step.result)]
            if layout == "row":
                self.after[-1].append(step)
                late.add(id(step.result))
                continue
            if layout == "total":
                self.totals.append(step)
                continue
            current = len(self.bodies) - 1
            new_loads, new_stores = set(loads), set(stores)
            for slot in step.operands:
                source = id(origin(slot))
                if self._layout(slot, step) in ("column", *WIDE):
                    if source not in self.names:
                        new_loads.add(f"{id(slot)}")
                    elif self.loop_of[source] < current:
                        new_loads.add(self.names[source])
            if id(step.result) in self.stored or layout == "column":
                new_stores.add(self.names[id(step.result)])
            waits = any(id(origin(slot)) in late for slot in step.operands)
            count = len(new_stores)
            overlaps = count * len(new_loads) + count * (count - 1) // 2
            if waits or (overlaps > OVERLAPS and self.bodies[-1]):
                self.bodies.append([])
                self.after.append([])
                late, loads, stores = set(), set(), set()
                current += 1
                for slot in step.operands:
                    if self._layout(slot, step) in ("column", *WIDE):
                        loads.add(self.names.get(id(origin(slot)), f"{id(slot)}"))
                if id(step.result) in self.stored or layout == "column":
                    stores.add(self.names[id(step.result)])
            else:
                loads, stores = new_loads, new_stores
            self.bodies[-1].append(step)
            self.loop_of[id(step.result)] = current

    def _used_in_later_loops(self) -> set[int]:
        return {
            id(origin(slot))
            for number, body in enumerate(self.bodies)
            for step in body
            for slot in step.operands
            if self.loop_of.get(id(origin(slot)), number) < number
        }

    # -- source ----------------------------------------------------------------------------------

    def _text(self) -> str:
        self._number_of_output = {id(slot): k for k, slot in enumerate(self.outputs)}
        self._output_starts = {
            k: self.parts[id(slot)].starts
            for k, slot in enumerate(self.outputs)
            if id(slot) in self.parts
        }
        self._summed: set[str] = set()  # arrays whose rows a reduction takes
        lines: list[str] = []
        for number, (body, after) in enumerate(zip(self.bodies, self.after, strict=True)):
            inner = [line for step in body for line in self._element(step, number)]
            if inner:
                lines += ["for j in range(width):", *(f"    {line}" for line in inner)]
            for step in after:
                lines += self._after_columns(step)
        lines = [*self._row_heads(), *lines]
        totals = [line for step in self.totals for line in self._after_columns(step)]
        # unsigned, as Numba takes a negative index from the end, which costs a choice per element
        head = ["width = np.uint64(columns)", *self._buffers(), *self._head()]
        parameters = ["table", *(self.read[key] for key in self.arguments)]
        text = [f"def loop({', '.join(parameters)}):"]
        text += [f"    {line}" for line in (*self._arrays(), *head)]
        text += ["    for i in range(rows):", *(f"        {line}" for line in lines)]
        text += [f"    {line}" for line in totals]
        return "\n".join(text) + "\n"

    def _arrays(self) -> list[str]:
        """Return the assignments of sizes and arrays, whose addresses are in the table."""
        names = ["rows", "columns", *(f"n{k}" for k in range(len(self.sizes)))]
        lines = [f"{name} = table[{k}]" for k, name in enumerate(names)]
        inputs = [(k, v) for k, v in self.inputs.items() if k not in self.arguments]
        arrays = [(self.read[key], slot.dtype) for key, slot in inputs]
        arrays += [(f"{self.read[key]}_starts", a.dtype) for key, a in self.starts.items()]
        arrays += [(f"q{k}_starts", a.dtype) for k, a in self._output_starts.items()]
        arrays += [(f"q{k}", slot.dtype) for k, slot in enumerate(self.outputs)]
        for k, (name, dtype) in zip(itertools.count(len(names), 2), arrays, strict=False):
            kind = self._type(dtype)
            lines.append(f"{name} = array_at(table[{k}], table[{k + 1}], {kind})")
        return lines

    def _buffers(self) -> list[str]:
        """Return the assignments of buffers of one row, or of one number for each row."""
        lines = []
        for key, slot in {id(step.result): step.result for step in self.group.steps}.items():
            if key in self.stored and key not in self._number_of_output:
                size = "columns" if self.group.layouts[key] == "full" else "rows"
                lines.append(f"b_{self.names[key]} = np.empty({size}, {self._type(slot.dtype)})")
        return lines

    def _type(self, dtype: np.dtype[Any]) -> str:
        if dtype == self.dtype:
            return "T"
        return "np.bool_" if dtype == BOOL else f"np.{dtype.name}"

    def _head(self) -> list[str]:
        lines = []
        for (_, layout), name in self.read.items():
            if layout == "one":
                lines.append(f"{name}_0 = {name}[0]")
        for slot, k in zip(self.outputs, itertools.count()):
            if self.group.layouts[id(slot)] == "column":
                lines.append(f"q{k}[:] = T(0.0)")
        return lines

    def _row_heads(self) -> list[str]:
        lines = []
        for (key, layout), name in self.read.items():
            slot = self.inputs[key, layout]
            if layout == "full":
                lines += self._part(name, "i", self._stride(slot))
            elif layout == "tile":
                period = self._size(math.prod(slot.shape) // self.group.columns)
                lines += self._part(name, f"i % {period}", "columns")
            elif layout == "strided":
                lines += self._part(name, f"{name}_starts[i]", "1")
            elif layout == "row":
                lines.append(f"{name}_i = {name}[i]")
        for k, slot in enumerate(self.outputs):
            if k in self._output_starts:
                lines += self._part(f"q{k}", f"q{k}_starts[i]", "1")
            elif self.group.layouts[id(slot)] == "full":
                lines += self._part(f"q{k}", "i", "columns")
        return lines

    def _part(self, name: str, row: str, stride: str) -> list[str]:
        lines = [f"{name}_start = {row} * {stride}", f"{name}_s = np.uint64({name}_start)"]
        if name in self._summed:
            lines.append(f"{name}_i = {name}[{name}_start : {name}_start + columns]")
        return lines

    def _stride(self, slot: Slot) -> str:
        if slot.constant is not None:  # it will be copied
            return "columns"
        stride = _row_stride(slot.layout(), self.group.rows, self.group.columns)
        assert stride is not None
        return "columns" if stride == self.group.columns else self._size(stride)

    def _size(self, number: int) -> str:
        self.sizes.append(number)
        return f"n{len(self.sizes) - 1}"

    def _stored_as(self, key: int) -> str:
        if key in self._number_of_output:
            part = "_i" if self.group.layouts[key] == "full" else ""
            return f"q{self._number_of_output[key]}{part}"
        return f"b_{self.names[key]}"

    def _stored_element(self, key: int) -> str:
        if key in self._number_of_output:
            name = f"q{self._number_of_output[key]}"
            return f"{name}[{name}_s + j]"
        return f"{self._stored_as(key)}[j]"

    def _code(self, slot: Slot, step: Instruction, loop: int) -> str:
        """Return an operand as an expression in row i and, in a loop, column j."""
        key, layout = id(origin(slot)), self._layout(slot, step)
        if key in self.names:
            if layout == "full" and self.loop_of[key] < loop:
                return self._stored_element(key)
            return self.names[key]
        if layout == "number":
            assert slot.constant is not None
            number = _same_number(slot.constant)
            if slot.dtype == BOOL:
                return repr(bool(number))
            if slot.dtype in INTEGERS:
                return repr(int(number))
            return f"T({float(number)!r})" if math.isfinite(number) else _infinity(number)
        name = self._input(slot, layout)
        if layout == "strided":
            array = slot.layout() if slot.constant is None else _ordered(slot.constant)
            starts = _row_starts(array, step.result.shape)
            assert starts is not None
            known = self.starts.setdefault((id(slot), layout), starts)
            assert np.array_equal(known, starts), "an operand broadcast in two ways"
        return {
            "full": f"{name}[{name}_s + j]",
            "tile": f"{name}[{name}_s + j]",
            "strided": f"{name}[{name}_s + j]",
            "row": f"{name}_i",
            "column": f"{name}[j]",
            "one": f"{name}_0",
        }[layout]

    def _input(self, slot: Slot, layout: Layout) -> str:
        key = id(slot), layout
        self.inputs[key] = slot
        if slot.root.kind in ARGUMENTS and key not in self.arguments:
            self.arguments.append(key)
        return self.read.setdefault(key, f"p{len(self.read)}")

    def _input_row(self, slot: Slot) -> str:
        return f"{self._input(slot, 'full')}_i"

    def _element(self, step: Instruction, loop: int) -> list[str]:
        name, key = self.names[id(step.result)], id(step.result)
        operands = [self._code(slot, step, loop) for slot in step.operands]
        if self.group.layouts[key] == "column":
            return [f"q{self._number_of_output[key]}[j] += {operands[0]}"]
        lines = []
        if step.function in BRANCHES:
            lines = [f"{name}_{k} = {code}" for k, code in enumerate(operands)]
            operands = [f"{name}_{k}" for k in range(len(operands))]
        lines.append(f"{name} = {self._expression(step, operands)}")
        if key in self.stored:
            lines.append(f"{self._stored_element(key)} = {name}")
        return lines

    def _after_columns(self, step: Instruction) -> list[str]:
        """Return the statements after the last column of a row, or after the last row."""
        name, key = self.names[id(step.result)], id(step.result)
        if is_reduction(step):
            [x] = step.operands
            source = id(origin(x))
            values = self._stored_as(source) if source in self.names else self._input_row(x)
            self._summed.add(values.removesuffix("_i"))
            function = "row_sum" if _reduced_by(step) is np.add else "row_maximum"
            lines = [f"{name} = {function}({values})"]
        else:
            operands = [self._code(slot, step, 0) for slot in step.operands]
            lines = [f"{name} = {self._expression(step, operands)}"]
        index = "i" if self.group.layouts[key] == "row" else "0"
        if key in self.stored:
            vector = self._stored_as(key)
            lines.append(f"{vector}[{index}] = {name}")
        return lines

    @staticmethod
    def _expression(step: Instruction, operands: Sequence[str]) -> str:
        if step.function is copied:
            return f"T({operands[0]})"
        return OPERATIONS[step.function].format(*operands)

    # -- the instruction ---------------------------------------------------------------------------

    @property
    def types(self) -> tuple[str, ...]:
        """The dtypes of the arrays that the loop takes besides the table."""
        return tuple(self.inputs[key].dtype.name for key in self.arguments)

    def instructions(self, loop: Callable[..., Any], numbers: Iterable[int]) -> list[Instruction]:
        """Return the instruction that calls the compiled loop, after those that it requires.

        Parameters
        ----------
        loop : function
        numbers : iterator of int
            Numbers for new slots.
        """
        rows, columns = self.group.rows, self.group.columns
        if self._flat:
            rows, columns = 1, rows * columns
        counter = iter(numbers)
        vectors = []
        for key in self.arguments:
            slot = self.inputs[key]
            vector = Slot("argument_view", next(counter), (math.prod(slot.shape),), slot.dtype)
            vectors.append(Instruction(raveled, (slot,), vector, assigned=True))
        operands = [
            _flat_view(slot, key[1], self.group, next(counter))
            for key, slot in self.inputs.items()
            if key not in self.arguments
        ]
        operands += [
            Slot("constant", next(counter), starts.shape, starts.dtype, constant=starts)
            for starts in (*self.starts.values(), *self._output_starts.values())
        ]
        into = [
            _strided_vector(self.parts[id(slot)].view, next(counter))
            if id(slot) in self.parts
            else _reshaped(slot, next(counter))
            for slot in self.outputs
        ]
        written = [self.parts[id(s)].whole if id(s) in self.parts else s for s in self.outputs]
        results = list({id(slot): slot for slot in written}.values())
        call = Instruction(
            loop,
            (*operands, *(step.result for step in vectors)),
            results[0],
            also=tuple(results[1:]),
            into=tuple(into),
            sizes=(rows, columns, *self.sizes),
        )
        return [*vectors, call]


def raveled(array: HostArray) -> HostArray:
    """Return an argument as a contiguous vector; a copy only if it is not contiguous."""
    return array.ravel()


def _ordered(constant: HostArray) -> HostArray:
    return np.array(constant, order="C")


def _infinity(number: Any) -> str:
    return "T(np.inf)" if number > 0 else "T(-np.inf)"


def _reduced_by(step: Instruction) -> np.ufunc | None:
    """Return the ufunc of a reduction; None for other operations."""
    owner = getattr(step.function, "__self__", None)
    return owner if isinstance(owner, np.ufunc) and step.function.__name__ == "reduce" else None


def is_reduction(step: Instruction) -> bool:
    return _reduced_by(step) is not None


def _reshaped(slot: Slot, number: int) -> Slot:
    """Return a result as a vector."""
    size = math.prod(slot.shape)
    view = Slot("view", number, (size,), slot.dtype)
    view.lies_in(slot, lambda a: a.reshape(size))
    return view


def _flat_view(slot: Slot, layout: Layout, group: LoopGroup, number: int) -> Slot:
    """Return an operand as a contiguous vector that begins with its first element."""
    size = math.prod(slot.shape)
    if slot.constant is not None:  # it may be a read-only view: a loop takes arrays of one kind
        constant = _ordered(slot.constant).reshape(size)
        return Slot("constant", number, (size,), slot.dtype, constant=constant)
    if layout == "full":
        stride = _row_stride(slot.layout(), group.rows, group.columns)
        assert stride is not None
        size = (group.rows - 1) * stride + group.columns
    elif layout == "strided":
        return _strided_vector(slot, number)
    return _vector(slot, size, number)


def _strided_vector(slot: Slot, number: int) -> Slot:
    """Return the vector from the first to the last element of an array that is not contiguous."""
    array = slot.layout()
    ends = [
        (n - 1) * (k // array.itemsize) for n, k in zip(array.shape, array.strides, strict=True)
    ]
    return _vector(slot, 1 + sum(ends), number)


def _vector(slot: Slot, size: int, number: int) -> Slot:
    view = Slot("view", number, (size,), slot.dtype)
    strides = (slot.dtype.itemsize,)
    view.lies_in(slot, lambda a: np.lib.stride_tricks.as_strided(a, (size,), strides))
    return view


def starts_in(part: Slot, group: LoopGroup) -> HostArray | None:
    """Return where the rows of a loop lie in a part of another array; None if they do not."""
    if part.shape[-1:] != (group.columns,) or math.prod(part.shape) != group.rows * group.columns:
        return None
    return _row_starts(part.layout(), part.shape)
