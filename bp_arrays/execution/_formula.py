"""`Formula`: an elementwise computation as a list of operations, traced by a run on symbols.

An optimizer's update is written once, with operators and functions of the namespace. Run on
symbols instead of arrays it records the operations on each element, from which a compiler makes
one loop without temporaries. Only operations that IEEE 754 rounds correctly are supported, + − × ÷
and the square root, so that the loop computes the same bits as the array operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("float32", "float64")
"""The dtypes for which formulas are compiled."""


class NotElementwise(Exception):
    """The computation cannot be written as a loop over elements with the same bits."""


@dataclass
class Formula:
    """A traced computation as assignments in Python.

    Parameters
    ----------
    arrays, scalars : list of str
        The names of the inputs.
    once : list of str
        Assignments of numbers, in double precision, before the loop.
    each : list of str
        Assignments for each element. Constants and numbers appear as `T(...)`, with T the dtype
        of the arrays.
    results : list of str
        The names, or constants, of the results.
    """

    arrays: list[str]
    scalars: list[str]
    once: list[str] = field(default_factory=list)
    each: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FormulaSymbol:
    """A symbolic value: an element of an array, or a number that is the same for all elements."""

    formula: Formula
    code: str
    is_array: bool

    @property
    def dtype(self) -> str:
        """T stands for float32 or float64."""
        return "T"

    def __add__(self, other: Any) -> FormulaSymbol:
        return self._with("+", other)

    def __radd__(self, other: Any) -> FormulaSymbol:
        return self._with("+", other, swapped=True)

    def __sub__(self, other: Any) -> FormulaSymbol:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> FormulaSymbol:
        return self._with("-", other, swapped=True)

    def __mul__(self, other: Any) -> FormulaSymbol:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> FormulaSymbol:
        return self._with("*", other, swapped=True)

    def __truediv__(self, other: Any) -> FormulaSymbol:
        return self._with("/", other)

    def __rtruediv__(self, other: Any) -> FormulaSymbol:
        return self._with("/", other, swapped=True)

    def __neg__(self) -> FormulaSymbol:
        return self._assigned(f"-{self.code}", self.is_array)

    def __bool__(self) -> bool:
        raise NotElementwise("a branch on a value")

    def _with(self, operator: str, other: Any, *, swapped: bool = False) -> FormulaSymbol:
        if not isinstance(other, FormulaSymbol):
            if isinstance(other, bool) or not isinstance(other, (int, float)):
                raise NotElementwise(f"{operator} with {type(other).__name__}")
            other = FormulaSymbol(self.formula, repr(float(other)), False)
        left, right = (other, self) if swapped else (self, other)
        is_array = self.is_array or other.is_array
        codes = [side._as_element() if is_array else side.code for side in (left, right)]
        return self._assigned(f"{codes[0]} {operator} {codes[1]}", is_array)

    def _as_element(self) -> str:
        return self.code if self.is_array else f"T({self.code})"

    def _assigned(self, expression: str, is_array: bool) -> FormulaSymbol:
        lines = self.formula.each if is_array else self.formula.once
        name = f"{'t' if is_array else 'k'}{len(lines)}"
        lines.append(f"{name} = {expression}")
        return FormulaSymbol(self.formula, name, is_array)


class FormulaFunctions:
    """The namespace of symbols: the functions that can be compiled."""

    float32 = "float32"

    def result_type(self, dtype: str, other: str) -> str:
        """Return T, which is as wide as float32."""
        return dtype

    def sqrt(self, x: FormulaSymbol) -> FormulaSymbol:
        return x._assigned(f"sqrt({x._as_element()})", True)

    def __getattr__(self, name: str) -> Any:
        raise NotElementwise(f"the function {name}")


def traced(update: Callable[..., Any], states: int, scalars: int) -> Formula:
    """Return the formula of an update of (theta, g, state, scalars, xp) to (theta, state).

    Raises
    ------
    NotElementwise
        If it does anything other than arithmetic on elements.
    """
    names = ["theta", "g", *(f"s{k}" for k in range(states))]
    formula = Formula(names, [f"x{k}" for k in range(scalars)])
    theta, g, *state = (FormulaSymbol(formula, f"{name}_i", True) for name in formula.arrays)
    numbers = tuple(FormulaSymbol(formula, name, False) for name in formula.scalars)
    new_theta, new_state = update(theta, g, tuple(state), numbers, FormulaFunctions())
    results: Sequence[Any] = (new_theta, *new_state)
    if len(results) != states + 1 or not all(isinstance(r, FormulaSymbol) for r in results):
        raise NotElementwise("a result that is not an array")
    formula.results = [result._as_element() for result in results]
    return formula
