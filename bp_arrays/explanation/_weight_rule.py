"""Build the written-out chain rule of one weight from its name and indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.explanation._backward import deltas_of
from bp_arrays.explanation._chain_rule import ChainRule, product
from bp_arrays.explanation._differences import central_difference
from bp_arrays.explanation._expression import Sum, Symbol, Term, partial
from bp_arrays.explanation._largest_terms import MOST_TERMS
from bp_arrays.explanation._shared_weight_stages import SharedWeightStage
from bp_arrays.explanation._stages import (
    LinearStage,
    MeasuredStage,
    ResidualStage,
    Stage,
    Vector,
    indexed_symbol,
)
from bp_arrays.typing import ParameterTree


@dataclass(frozen=True)
class WeightRule:
    """The symbol of a weight, its chain rule, and the expressions of the δ in it."""

    weight: Symbol
    expression: Term
    where: dict[str, Term]


def weight_rule(
    name: str, at: tuple[int, ...], stages: Sequence[Stage], rule: ChainRule
) -> WeightRule | None:
    """Return the chain rule of a weight by name and indices, from 0; None if no stage has it.

    For a Linear layer it is ∂L/∂w_ij = δ_j x_i and ∂L/∂b_j = δ_j; for a convolution, or a Linear
    layer of a sequence, the sum of δ x over all positions.
    """
    path, _, leaf = name.rpartition(".")
    for s, stage in enumerate(stages):
        if isinstance(stage, LinearStage) and stage.path == path:
            delta = rule.at_output(s, at[-1])
            if leaf == "bias":
                return WeightRule(stage.bias_symbol(at[0]), delta, rule.where())
            symbol = stage.weight_symbol(*at)
            return WeightRule(symbol, product(delta, stage.input(at[0])), rule.where())
        if isinstance(stage, SharedWeightStage) and stage.path == path:
            expression = rule.total(s, stage.terms(leaf, at))
            return WeightRule(stage.symbol(leaf, at), expression, rule.where())
        if isinstance(stage, MeasuredStage) and name.startswith(stage.parameter("")):
            return _measured(name, at, s, stage, rule)
        if isinstance(stage, ResidualStage):
            inner = _in_residual(name, at, s, stage, rule)
            if inner is not None:
                return inner
    return None


def _in_residual(
    name: str, at: tuple[int, ...], s: int, stage: ResidualStage, rule: ChainRule
) -> WeightRule | None:
    """Return the rule of a weight inside a block, from the error at the block's output."""
    delta, bodies = rule.deltas[s], rule.written.bodies
    errors = [stage.error(k, float(value)) for k, value in enumerate(delta)]
    if s not in bodies:
        bodies[s] = ChainRule(stage.body, errors, deltas_of(stage.body, delta))
    body = ChainRule(stage.body, errors, bodies[s].deltas, bodies[s].written)
    inner = weight_rule(name, at, stage.body, body)
    if inner is None:
        return None
    terms = [inner.expression, *inner.where.values()]
    used = {token.text for e in terms for token in e.tokens() if isinstance(token, Symbol)}
    above = {
        error.text: rule.at_output(s, k) for k, error in enumerate(errors) if error.text in used
    }
    return WeightRule(inner.weight, inner.expression, {**inner.where, **above, **rule.where()})


def _measured(
    name: str, at: tuple[int, ...], s: int, stage: MeasuredStage, rule: ChainRule
) -> WeightRule:
    """Return the rule of a weight of a layer without a formula: ∂y_k/∂w by central differences."""
    keys = name.removeprefix(stage.parameter("")).split(".")
    values: Any = stage.params
    for key in keys:
        values = values[key]
    start = float(values[at])
    weight = indexed_symbol(name, at, start)

    def output(value: float) -> Vector:
        return stage.forward(stage.x, _replaced(stage.params, keys, at, value))

    slopes: list[tuple[int, Term]] = [
        (k, partial(stage.output(k), weight, float(slope)))
        for k, slope in enumerate(central_difference(output, start))
    ]
    if len(slopes) <= MOST_TERMS + 1:
        terms = [product(rule.at_output(s, k), slope) for k, slope in slopes]
        return WeightRule(weight, Sum(terms), rule.where())
    return WeightRule(weight, rule.total(s, slopes), rule.where())


def _replaced(
    params: ParameterTree, keys: Sequence[str], at: tuple[int, ...], value: float
) -> ParameterTree:
    """Copy the parameters with one number changed."""
    key, *deeper = keys
    if deeper:
        return {**params, key: _replaced(params[key], deeper, at, value)}
    changed = np.array(params[key])
    changed[at] = value
    return {**params, key: changed}
