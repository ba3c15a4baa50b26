"""Expressions with values: symbols, sums and products, as text, as LaTeX, and as numbers.

An expression is a list of tokens, text or symbols. Written with the names of the symbols it is the
formula, written with their values it is the formula with numbers, and computed from the values it
is the result.
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
"""Multiplication of symbols in LaTeX: a thin space; numbers get a dot instead."""


def partial(y: Symbol, x: Symbol, value: float) -> Symbol:
    """Return ∂y/∂x as one symbol."""
    latex = rf"\frac{{\partial {y.latex}}}{{\partial {x.latex}}}"
    return Symbol(f"∂{y.text}/∂{x.text}", latex, value)


Token = str | Symbol


class Expression(ABC):
    """Base class of expressions: a value, and tokens to write it."""

    @property
    @abstractmethod
    def value(self) -> float:
        """The value of the expression in double precision."""

    @abstractmethod
    def tokens(self, latex: bool = False) -> list[Token]:
        """Return the texts and symbols of the written expression."""


Term = Expression | Symbol


@dataclass(frozen=True)
class Number(Expression):
    """A constant of a formula, such as the 1 in 1 − y."""

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
    """Difference (a − b)."""

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
    """Sum [a + b + ...]; a sum of one term is that term."""

    terms: Sequence[Term]

    @property
    def value(self) -> float:
        return math.fsum(term.value for term in self.terms)

    def tokens(self, latex: bool = False) -> list[Token]:
        if len(self.terms) == 1:
            return self.terms[0].tokens(latex)
        tokens: list[Token] = ["\\left[" if latex else "["]
        for k, term in enumerate(self.terms):
            tokens += [" + "] if k else []
            tokens += term.tokens(latex)
        return [*tokens, "\\right]" if latex else "]"]


@dataclass(frozen=True)
class Product(Expression):
    """Product a · b · ..."""

    factors: Sequence[Term]

    @property
    def value(self) -> float:
        return math.prod(factor.value for factor in self.factors)

    def tokens(self, latex: bool = False) -> list[Token]:
        times = LATEX_TIMES if latex else "·"
        tokens: list[Token] = []
        for k, factor in enumerate(self.factors):
            tokens += [times] if k else []
            tokens += factor.tokens(latex)
        return tokens


@dataclass(frozen=True)
class Square(Expression):
    """Square a²."""

    a: Symbol

    @property
    def value(self) -> float:
        return self.a.value**2

    def tokens(self, latex: bool = False) -> list[Token]:
        return ["{", self.a, "}^2"] if latex else [self.a, "²"]  # braces: h^{(1)} has an exponent


def shown(value: float) -> str:
    """Format a number in a formula: four digits, in parentheses if it is negative."""
    text = f"{value:.4g}".replace("-", "−")
    return f"({text})" if value < 0.0 else text


def with_names(term: Term, latex: bool = False) -> str:
    """Write a term with the names of its symbols: "(y₁ − t₁)·y₁·(1 − y₁)"."""

    def written(token: Token) -> str:
        if isinstance(token, str):
            return token
        return token.latex if latex else token.text

    return "".join(map(written, term.tokens(latex)))


def with_numbers(term: Term, latex: bool = False) -> str:
    """Write a term with the values of its symbols."""

    def written(token: Token) -> str:
        if isinstance(token, str):
            return token.replace(LATEX_TIMES, r" \cdot ") if latex else token
        return _latex_shown(token.value) if latex else shown(token.value)

    return "".join(map(written, term.tokens(latex)))


def latex_number(value: float, digits: int = 6) -> str:
    """Format a number for LaTeX: 6.7e-05 becomes 6.7 · 10⁻⁵."""
    mantissa, _, exponent = f"{value + 0.0:.{digits}g}".partition("e")  # + 0.0: no −0
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def _latex_shown(value: float) -> str:
    text = latex_number(value, 4)
    return f"({text})" if value < 0.0 else text
