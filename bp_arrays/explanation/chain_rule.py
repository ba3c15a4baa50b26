"""The chain rule from the loss down to one weight, written out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from bp_arrays.explanation.expression import (
    Number,
    Product,
    Sum,
    Symbol,
    Term,
    shown,
    with_names,
    with_numbers,
)
from bp_arrays.explanation.stages import LinearStage, Stage, Vector

MOST_TERMS = 6
"""Terms of a sum that are written; the smaller ones are added up in one."""

NOTES_LAYERS = 2
"""Nets of up to so many Linear layers are written out whole, as in the notes; of larger ones only
the way to the next layer, and the δ there on lines of their own."""


@dataclass
class ChainRule:
    """Writes ∂L/∂x_j of any stage as an expression.

    Parameters
    ----------
    stages : list of Stage
        The chain, first to last.
    loss_terms : list of Term
        ∂L/∂y_k of the last outputs.
    deltas : list of vectors
        ∂L/∂(output) of each stage, as numbers, for the δ that stand in place of an expression.
    """

    stages: Sequence[Stage]
    loss_terms: Sequence[Term]
    deltas: Sequence[Vector]
    where: dict[str, Term] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        """How many Linear layers above a weight's own are written out."""
        linears = sum(isinstance(stage, LinearStage) for stage in self.stages)
        return 1 if linears <= NOTES_LAYERS else 0

    def at_output(self, s: int, k: int, depth: int) -> Term:
        """∂L/∂(output k of stage s); below `depth` Linear layers more, as δ."""
        if s == len(self.stages) - 1:
            return self.loss_terms[k]
        stage = self.stages[s]
        if isinstance(stage, LinearStage) and depth < 0:
            return self._delta(stage, s, k)
        return self.at_input(s + 1, k, depth)

    def at_input(self, s: int, j: int, depth: int) -> Term:
        """∂L/∂(input j of stage s) = Σ_k ∂L/∂y_k · ∂y_k/∂x_j."""
        stage = self.stages[s]
        if isinstance(stage, LinearStage):
            depth -= 1
        factors = stage.factors(j)
        kept, rest = _largest(factors, self.deltas[s])
        terms = [_product(self.at_output(s, k, depth), factor) for k, factor in kept]
        if rest is not None:
            terms.append(rest)
        return Sum(terms) if len(terms) > 1 else terms[0]

    def _delta(self, stage: LinearStage, s: int, k: int) -> Symbol:
        """δ of a Linear layer as a symbol; what it stands for is kept for the lines below."""
        name = stage.delta_name
        symbol = Symbol(name.text(k + 1), name.latex(k + 1), float(self.deltas[s][k]))
        if symbol.text not in self.where:
            self.where[symbol.text] = Number(0.0)  # so that it is listed once
            self.where[symbol.text] = self.at_input(s + 1, k, 0)
        return symbol


def _product(*terms: Term) -> Term:
    """A product without products in it and without factors 1."""
    factors: list[Term] = []
    for term in terms:
        factors += term.factors if isinstance(term, Product) else [term]
    factors = [f for f in factors if not (isinstance(f, Number) and f.text == "1")]
    if not factors:
        return Number(1.0, "1", "1")
    return Product(factors) if len(factors) > 1 else factors[0]


def _largest(
    factors: list[tuple[int, Term]], delta: Vector
) -> tuple[list[tuple[int, Term]], Symbol | None]:
    """The terms that matter most, in order, and the sum of the others as one symbol."""
    if len(factors) <= MOST_TERMS + 1:
        return factors, None
    sizes = {k: factor.value * float(delta[k]) for k, factor in factors}
    strongest = set(sorted(sizes, key=lambda k: -abs(sizes[k]))[:MOST_TERMS])
    rest = math.fsum(size for k, size in sizes.items() if k not in strongest)
    left_out = len(factors) - MOST_TERMS
    words = f"{left_out} smaller terms"
    return (
        [(k, factor) for k, factor in factors if k in strongest],
        Symbol(f"({words})", rf"(\text{{{words}}})", rest),
    )


@dataclass(frozen=True)
class WeightExplanation:
    """Why the derivative of the loss by one weight is what it is.

    Parameters
    ----------
    weight : Symbol
        The weight and its value.
    expression : Expression
        The chain rule written out.
    where : dict of str to Term
        What the δ in it stand for.
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
        """The derivative as the written-out chain rule gives it."""
        return self.expression.value

    @property
    def updated(self) -> float:
        """The weight after the update w ← w − η ∂L/∂w."""
        return self.weight.value - self.eta * self.computed

    @property
    def text(self) -> str:
        """The derivation as plain text."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        name = f"∂L/∂{self.weight.text}"
        indent = " " * len(name)
        found = [
            f"{name} = {with_names(self.expression)}",
            f"{indent} = {with_numbers(self.expression)}",
        ]
        if isinstance(self.expression, Product):
            found.append(f"{indent} = {_collapsed(self.expression)}")
        found.append(f"{indent} = {shown_fully(self.value)}")
        for symbol, term in self.where.items():
            found.append(f"  with {symbol} = {with_names(term)}")
            found.append(f"       {' ' * len(symbol)} = {with_numbers(term)}")
            found.append(f"       {' ' * len(symbol)} = {shown_fully(term.value)}")
        found += [
            f"  by backward:             {shown_fully(self.computed)}",
            f"  by central differences:  {shown_fully(self.numeric)}",
            f"  update:  {self.weight.text} ← {shown_fully(self.weight.value, 6)} − {self.eta:g}·"
            f"{shown(self.computed)} = {shown_fully(self.updated, 6)}",
        ]
        return found

    @property
    def latex(self) -> str:
        """The derivation as LaTeX, in an align* environment."""
        lines = [
            rf"\frac{{\partial L}}{{\partial {self.weight.latex}}}"
            rf" &= {with_names(self.expression, latex=True)} \\",
            rf" &= {with_numbers(self.expression, latex=True)} \\",
            rf" &= {self.value:.6g}",
        ]
        for symbol, term in self.where.items():
            lines[-1] += r" \\"
            lines.append(
                rf"{_latex_of(self.expression, self.where, symbol)} &= "
                rf"{with_names(term, latex=True)} = {term.value:.6g}"
            )
        return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"])

    def __str__(self) -> str:
        return self.text


def shown_fully(value: float, digits: int = 9) -> str:
    """A result, with as many digits as are worth comparing."""
    return f"{value + 0.0:.{digits}g}".replace("-", "−")  # + 0.0: no −0


def _collapsed(product: Product) -> str:
    """The product with every factor as one number."""
    return "·".join(shown(factor.value) for factor in product.factors)


def _latex_of(expression: Term, where: dict[str, Term], text: str) -> str:
    """The LaTeX name of a symbol that occurs in one of the expressions."""
    for term in (expression, *where.values()):
        for token in term.tokens(latex=True):
            if isinstance(token, Symbol) and token.text == text:
                return token.latex
    return text
