"""`ChainRule`: the written-out chain rule from the loss down to any value in a net.

∂L/∂(input j) of a stage is Σ_k ∂L/∂(output k) · ∂(output k)/∂(input j). Applied from a weight up to
the loss this is the derivation of the notes, for any net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bp_arrays.explanation._expression import Number, Product, Sum, Symbol, Term
from bp_arrays.explanation._largest_terms import largest
from bp_arrays.explanation._stages import LinearStage, Stage, Vector

NOTES_LAYERS = 2
"""Number of Linear layers up to which a net is written out completely, as in the notes. In larger
nets the expression ends at the next layer, whose δ follow on separate lines."""


@dataclass
class Written:
    """The expressions that a derivation has written, for the rules of further weights.

    Parameters
    ----------
    expressions : dict of (stage, input) to (Term, names of the δ in it)
    bodies : dict of stage to ChainRule
        The rule of each residual block's body.
    """

    expressions: dict[tuple[int, int], tuple[Term, dict[str, tuple[int, int]]]] = field(
        default_factory=dict
    )
    bodies: dict[int, ChainRule] = field(default_factory=dict)


@dataclass
class ChainRule:
    """Write ∂L/∂(a value) as an expression.

    Parameters
    ----------
    stages : list of Stage
        The chain, first to last.
    loss_terms : list of Term
        ∂L/∂y_k of the last outputs.
    deltas : list of vectors
        ∂L/∂(output) of each stage, as numbers: values of the δ that abbreviate an expression.
    written : Written
        What the rules of other weights of the same derivation have written.
    """

    stages: Sequence[Stage]
    loss_terms: Sequence[Term]
    deltas: Sequence[Vector]
    written: Written = field(default_factory=lambda: Written())
    _named: dict[str, tuple[int, int]] = field(default_factory=dict)

    def at_output(self, s: int, k: int) -> Term:
        """Write ∂L/∂(output k of stage s), as far as the next Linear layers."""
        return self._at_output(s, k, self._depth)

    def where(self) -> dict[str, Term]:
        """Return the expressions of the δ written so far and of the δ in them, up to the loss."""
        expressions: dict[str, Term] = {}
        while len(expressions) < len(self._named):
            for text, (s, k) in list(self._named.items())[len(expressions) :]:
                expressions[text] = self._written(s + 1, k)
        return expressions

    def _written(self, s: int, j: int) -> Term:
        """Write ∂L/∂x_j of a stage as far as the next symbols, once for all weights."""
        expressions = self.written.expressions
        if (s, j) not in expressions:
            own, self._named = self._named, {}
            term = self._at_input(s, j, 0)
            expressions[s, j] = term, self._named
            self._named = own
        term, named = expressions[s, j]
        for text, at in named.items():
            self._named.setdefault(text, at)
        return term

    @property
    def _depth(self) -> int:
        """The number of Linear layers above the layer of a weight that are written out."""
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
        """Write Σ_k ∂L/∂y_k · ∂y_k/∂x_j."""
        stage = self.stages[s]
        if isinstance(stage, LinearStage):
            depth -= 1
        return self._total(s, stage.factors(j), None if stage.abbreviated else depth)

    def total(self, s: int, factors: list[tuple[int, Term]]) -> Term:
        """Write Σ_k ∂L/∂y_k · factor_k for outputs k of a stage, with ∂L/∂y_k as symbols."""
        return self._total(s, factors, None)

    def _total(self, s: int, factors: list[tuple[int, Term]], depth: int | None) -> Term:
        """Write the largest terms of the sum, and the others as one symbol."""
        shown, rest = largest(factors, self.deltas[s])
        terms: list[Term] = []
        for k, factor in shown:
            error = self._error(s, k) if depth is None else self._at_output(s, k, depth)
            terms.append(product(error, factor))
        if rest is not None:
            terms.append(rest)
        if not terms:
            return Number(0.0, "0", "0")
        return Sum(terms) if len(terms) > 1 else terms[0]

    def _error(self, s: int, k: int) -> Term:
        """Return ∂L/∂y_k as a symbol: written out, it would be an unreadable sum of sums."""
        if s == len(self.stages) - 1:
            return self.loss_terms[k]
        return self._by_name(s, k, self.stages[s].error(k, float(self.deltas[s][k])))

    def _by_name(self, s: int, k: int, symbol: Symbol) -> Symbol:
        self._named.setdefault(symbol.text, (s, k))
        return symbol


def product(*terms: Term) -> Term:
    """Multiply terms; the product contains no nested products and no factors 1."""
    factors: list[Term] = []
    for term in terms:
        factors += term.factors if isinstance(term, Product) else [term]
    factors = [f for f in factors if not (isinstance(f, Number) and f.text == "1")]
    if not factors:
        return Number(1.0, "1", "1")
    return Product(factors) if len(factors) > 1 else factors[0]
