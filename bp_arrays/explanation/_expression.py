"""Formulas that can be read, typeset, and computed: symbols with values, sums and products.

An expression gives a list of tokens, text or symbols. Written with the symbols' names it is the
formula, written with their values it is the formula with the numbers put in, and computed from
the values alone it is the number that must come out.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """A name with a value: y₁ = 0.7514.

    Parameters
    ----------
    text, latex : str
        The name as plain text, and as LaTeX.
    value : float
    """

    text: str
    latex: str
    value: float

    def tokens(self, latex: bool = False) -> list[Token]:
        return [self]


LATEX_TIMES = r" \, "
"""Between symbols nothing but a little space; between numbers a dot."""


def partial(y: Symbol, x: Symbol, value: float) -> Symbol:
    """∂y/∂x as one symbol."""
    latex = rf"\frac{{\partial {y.latex}}}{{\partial {x.latex}}}"
    return Symbol(f"∂{y.text}/∂{x.text}", latex, value)


Token = str | Symbol


class Expression(ABC):
    """Something that has a value and can be written."""

    @property
    @abstractmethod
    def value(self) -> float:
        """The number it comes to, in double precision."""

    @abstractmethod
    def tokens(self, latex: bool = False) -> list[Token]:
        """What is written, piece by piece."""


Term = Expression | Symbol


@dataclass(frozen=True)
class Number(Expression):
    """A number that belongs to the formula, such as the 1 in 1 − y."""

    number: float
    text: str = ""
    latex_text: str = ""

    @property
    def value(self) -> float:
        return self.number

    def tokens(self, latex: bool = False) -> list[Token]:
        return [(self.latex_text if latex else self.text) or shown(self.number)]


@dataclass(frozen=True)
class Difference(Expression):
    """(a − b)."""

    a: Term
    b: Term

    @property
    def value(self) -> float:
        return self.a.value - self.b.value

    def tokens(self, latex: bool = False) -> list[Token]:
        minus = " - " if latex else " − "
        return ["(", *self.a.tokens(latex), minus, *self.b.tokens(latex), ")"]


@dataclass(frozen=True)
class Sum(Expression):
    """[a + b + ...]; a sum of one term is that term."""

    terms: Sequence[Term]

    @property
    def value(self) -> float:
        return math.fsum(term.value for term in self.terms)

    def tokens(self, latex: bool = False) -> list[Token]:
        if len(self.terms) == 1:
            return self.terms[0].tokens(latex)
        found: list[Token] = ["\\left[" if latex else "["]
        for k, term in enumerate(self.terms):
            found += [" + "] if k else []
            found += term.tokens(latex)
        return [*found, "\\right]" if latex else "]"]


@dataclass(frozen=True)
class Product(Expression):
    """a · b · ..."""

    factors: Sequence[Term]

    @property
    def value(self) -> float:
        return math.prod(factor.value for factor in self.factors)

    def tokens(self, latex: bool = False) -> list[Token]:
        times = LATEX_TIMES if latex else "·"
        found: list[Token] = []
        for k, factor in enumerate(self.factors):
            found += [times] if k else []
            found += factor.tokens(latex)
        return found


@dataclass(frozen=True)
class Square(Expression):
    """a²."""

    a: Symbol

    @property
    def value(self) -> float:
        return self.a.value**2

    def tokens(self, latex: bool = False) -> list[Token]:
        return ["{", self.a, "}^2"] if latex else [self.a, "²"]  # braces: h^{(1)} has one above


def shown(value: float) -> str:
    """A number as a formula shows it: four digits, a negative one in parentheses."""
    text = f"{value:.4g}".replace("-", "−")
    return f"({text})" if value < 0.0 else text


def with_names(term: Term, latex: bool = False) -> str:
    """The formula: "(y₁ − t₁)·y₁·(1 − y₁)"."""
    tokens = term.tokens(latex)
    return "".join((t.latex if latex else t.text) if isinstance(t, Symbol) else t for t in tokens)


def with_numbers(term: Term, latex: bool = False) -> str:
    """The same with the values put in."""
    if not latex:
        return "".join(t if isinstance(t, str) else shown(t.value) for t in term.tokens())
    return "".join(
        t.replace(LATEX_TIMES, r" \cdot ") if isinstance(t, str) else _latex_shown(t.value)
        for t in term.tokens(latex=True)
    )


def latex_number(value: float, digits: int = 6) -> str:
    """6.7e-05 as it is typeset: 6.7 · 10⁻⁵."""
    mantissa, _, exponent = f"{value + 0.0:.{digits}g}".partition("e")  # + 0.0: no −0
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def _latex_shown(value: float) -> str:
    text = latex_number(value, 4)
    return f"({text})" if value < 0.0 else text
