"""The chain rule from the loss down to any value in a net, written out.

∂L/∂(input j) of a stage is Σ_k ∂L/∂(output k) · ∂(output k)/∂(input j). Applied from a weight up to
the loss this is the derivation of the notes; it is told here once for all nets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from bp_arrays.explanation._expression import Number, Product, Sum, Symbol, Term
from bp_arrays.explanation._stages import LinearStage, MeasuredStage, ResidualStage, Stage, Vector

MOST_TERMS = 6
"""Terms of a sum that are written; the smaller ones are added up in one."""

NOTES_LAYERS = 2
"""Nets of up to so many Linear layers are written out whole, as in the notes; of larger ones only
the way to the next layer, and the δ there on lines of their own."""


@dataclass
class ChainRule:
    """Writes ∂L/∂(a value) as an expression.

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
    _named: dict[str, tuple[int, int]] = field(default_factory=dict)

    def at_output(self, s: int, k: int) -> Term:
        """∂L/∂(output k of stage s), written out as far as the next Linear layers."""
        return self._at_output(s, k, self._depth)

    def where(self) -> dict[str, Term]:
        """What the δ written so far stand for, and the δ in those, up to the loss."""
        found: dict[str, Term] = {}
        while len(found) < len(self._named):
            for text, (s, k) in list(self._named.items())[len(found) :]:
                found[text] = self._at_input(s + 1, k, 0)
        return found

    @property
    def _depth(self) -> int:
        """How many Linear layers above a weight's own are written out."""
        linears = sum(isinstance(stage, LinearStage) for stage in self.stages)
        return 1 if linears <= NOTES_LAYERS else 0

    def _at_output(self, s: int, k: int, depth: int) -> Term:
        if s == len(self.stages) - 1:
            return self.loss_terms[k]
        stage = self.stages[s]
        if isinstance(stage, LinearStage) and depth < 0:
            return self._by_name(s, k, stage.delta_symbol(k, float(self.deltas[s][k])))
        return self._at_input(s + 1, k, depth)

    def _at_input(self, s: int, j: int, depth: int) -> Term:
        """Σ_k ∂L/∂y_k · ∂y_k/∂x_j."""
        stage = self.stages[s]
        if isinstance(stage, LinearStage):
            depth -= 1
        kept, rest = _largest(stage.factors(j), self.deltas[s])
        unwritten = isinstance(stage, (ResidualStage, MeasuredStage))
        terms = [
            product(self._error(s, k) if unwritten else self._at_output(s, k, depth), factor)
            for k, factor in kept
        ]
        if rest is not None:
            terms.append(rest)
        return Sum(terms) if len(terms) > 1 else terms[0]

    def _error(self, s: int, k: int) -> Term:
        """∂L/∂y_k by its name: sums of sums would say nothing to a reader."""
        if s == len(self.stages) - 1:
            return self.loss_terms[k]
        return self._by_name(s, k, self.stages[s].error(k, float(self.deltas[s][k])))

    def _by_name(self, s: int, k: int, symbol: Symbol) -> Symbol:
        self._named.setdefault(symbol.text, (s, k))
        return symbol


def product(*terms: Term) -> Term:
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
    words = f"{len(factors) - MOST_TERMS} smaller terms"
    return (
        [(k, factor) for k, factor in factors if k in strongest],
        Symbol(f"({words})", rf"(\text{{{words}}})", rest),
    )
