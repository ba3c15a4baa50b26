"""`WeightExplanation`: the chain rule of one weight as text and LaTeX, with two checks."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.explanation._expression import (
    Product,
    Symbol,
    Term,
    latex_number,
    shown,
    with_names,
    with_numbers,
)


@dataclass(frozen=True)
class WeightExplanation:
    """The derivative of the loss by one weight, written out and checked.

    Parameters
    ----------
    weight : Symbol
        The weight and its value.
    expression : Expression
        The written-out chain rule.
    where : dict of str to Term
        The expressions of the δ in it.
    computed : float
        The derivative from the layers' backward.
    numeric : float
        The derivative by central differences.
    eta : float
        The learning rate of the update shown.
    """

    weight: Symbol
    expression: Term
    where: dict[str, Term]
    computed: float
    numeric: float
    eta: float

    @property
    def value(self) -> float:
        """The derivative computed from the written-out chain rule."""
        return self.expression.value

    @property
    def updated(self) -> float:
        """The weight after the update w ← w − η ∂L/∂w."""
        return self.weight.value - self.eta * self.computed

    @property
    def text(self) -> str:
        """The derivation as plain text: the formula, the same with numbers, the checks."""
        name = f"∂L/∂{self.weight.text}"
        lines = _equations(name, self.expression)
        for symbol, term in self.where.items():
            lines += _equations(f"  with {symbol}", term)
        lines += [
            f"  by backward:             {shown_fully(self.computed)}",
            f"  by central differences:  {shown_fully(self.numeric)}",
            f"  update:  {self.weight.text} ← {shown_fully(self.weight.value, 6)} − {self.eta:g}·"
            f"{shown(self.computed)} = {shown_fully(self.updated, 6)}",
        ]
        return "\n".join(lines)

    @property
    def latex(self) -> str:
        """The derivation as LaTeX, an aligned block for $$, equation or align."""
        lines = [
            rf"\frac{{\partial L}}{{\partial {self.weight.latex}}}"
            rf" &= {with_names(self.expression, latex=True)}",
            rf"&= {with_numbers(self.expression, latex=True)}",
            rf"&= {latex_number(self.value)}",
        ]
        for symbol, term in self.where.items():
            lines.append(
                rf"{_latex_of(self.expression, self.where, symbol)} &= "
                rf"{with_names(term, latex=True)} = {latex_number(term.value)}"
            )
        return "\n".join([r"\begin{aligned}", " \\\\\n".join(lines), r"\end{aligned}"])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"WeightExplanation(∂L/∂{self.weight.text} = {shown_fully(self.value)})"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.latex}\n$$"


def shown_fully(value: float, digits: int = 9) -> str:
    """Format a result with the digits that are worth comparing."""
    return f"{value + 0.0:.{digits}g}".replace("-", "−")  # + 0.0: no −0


def _equations(name: str, expression: Term) -> list[str]:
    """Write the formula, the same with numbers, its factors as one number each, the result."""
    sides = [with_names(expression), with_numbers(expression)]
    if isinstance(expression, Product):
        sides.append("·".join(shown(factor.value) for factor in expression.factors))
    sides.append(shown_fully(expression.value))
    distinct = [side for k, side in enumerate(sides) if k == 0 or side != sides[k - 1]]
    margin = " " * len(name)
    return [f"{margin if k else name} = {side}" for k, side in enumerate(distinct)]


def _latex_of(expression: Term, where: dict[str, Term], text: str) -> str:
    """Return the LaTeX name of a symbol in one of the expressions."""
    for term in (expression, *where.values()):
        for token in term.tokens(latex=True):
            if isinstance(token, Symbol) and token.text == text:
                return token.latex
    return text
