"""Every number of one backward pass, and the chain rule behind any of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bp_arrays.errors import InputError, unknown_name
from bp_arrays.explanation.chain_rule import ChainRule, WeightExplanation, _product
from bp_arrays.explanation.expression import Sum, Symbol, Term
from bp_arrays.explanation.stages import LinearStage, MeasuredStage, ResidualStage, Stage, Vector
from bp_arrays.losses import L2Loss, Loss
from bp_arrays.model import Model
from bp_arrays.model.targets import prepare_targets

STEP = float(np.finfo(np.float64).eps) ** (1 / 3)


@dataclass(frozen=True)
class LayerValues:
    """What one layer did with the sample, forward and backward.

    Parameters
    ----------
    path, kind : str
        Its place in the net, "0", and its class, "Linear".
    written : str
        What it computes, "a⁽¹⁾ = xw + b⁽¹⁾".
    input, output : vectors
    slope : vector or None
        The local derivative ∂h_j/∂a_j of a layer that works element by element.
    delta : vector
        δ = ∂L/∂(output).
    parameters, gradients, updated : dict of str to array
        By their names in the model: values, ∂L/∂ of each, and the values after the update.
    """

    path: str
    kind: str
    written: str
    input: Vector
    output: Vector
    slope: Vector | None
    delta: Vector
    parameters: dict[str, Vector]
    gradients: dict[str, Vector]
    updated: dict[str, Vector]


class Derivation:
    """One sample's way through a model, and the error's way back.

    Attributes
    ----------
    layers : list of LayerValues
        From the input to the output.
    loss_value : float
    gradients : dict of str to array
        ∂L/∂ of each parameter, from the layers' backward.
    eta : float
        The learning rate of the updates shown.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        x: Vector,
        t: Vector,
        stages: list[Stage],
        loss_terms: list[Term],
        loss_value: float,
        gradients: dict[str, Vector],
        eta: float,
    ) -> None:
        self.loss_target = prepare_targets(
            t, 1, loss, model.output_shape, model.device, model.dtype
        )
        self.model, self.loss, self.x, self.t = model, loss, x, t
        self.stages, self.loss_terms = stages, loss_terms
        self.loss_value, self.gradients, self.eta = loss_value, gradients, eta
        self.deltas = _deltas(stages, np.asarray([term.value for term in loss_terms]))
        self.layers = [self._values(stage, delta) for stage, delta in zip(
            stages, self.deltas, strict=True)]  # fmt: skip

    # -- one weight ---------------------------------------------------------------------------

    def weight(self, name: str, *indices: int) -> WeightExplanation:
        """The chain rule for one weight or bias, written out and checked.

        Parameters
        ----------
        name : str
            As in `model.parameters`: "0.weight".
        *indices : int
            From 1, as on paper: `weight("0.weight", 1, 2)` is w₁₂, from the first input to the
            second unit; `weight("0.bias", 2)` is b₂.

        Raises
        ------
        InputError
            For a name or an index the model does not have; the message says which it has.
        """
        named = self.model.parameters
        if name not in named:
            raise unknown_name("weight", name, named)
        shape = tuple(named[name].shape)
        if len(indices) != len(shape) or not all(
            isinstance(i, (int, np.integer)) and 1 <= i <= n
            for i, n in zip(indices, shape, strict=False)
        ):
            ranges = ", ".join(f"1 to {n}" for n in shape)
            raise InputError(
                f"{name} has the shape {shape} and its indices count from 1: expected {ranges}, "
                f"got {', '.join(map(str, indices)) or 'none'}"
            )
        if name not in self.gradients:
            raise InputError(f"{name} is not trained: no gradient belongs to it")
        at = tuple(int(i) - 1 for i in indices)
        symbol, expression, where = self._derived(name, at)
        return WeightExplanation(
            weight=symbol,
            expression=expression,
            where=where,
            computed=float(self.gradients[name][at]),
            numeric=self._measured(name, at),
            eta=self.eta,
        )

    @property
    def follows_notes(self) -> bool:
        """Whether this is a net like that of the notes: two Linear layers and the loss ½Σ(y−t)²."""
        linears = sum(isinstance(stage, LinearStage) for stage in self.stages)
        return linears == 2 and isinstance(self.loss, L2Loss)

    @property
    def first_weight(self) -> tuple[str, tuple[int, ...]] | None:
        """The first trained parameter and the indices of its first element, w₁₁ in the notes."""
        for name, gradient in self.gradients.items():
            return name, (1,) * gradient.ndim
        return None

    def largest_difference(self) -> float:
        """The largest difference between the gradients explained here and those of backward,
        relative to the largest gradient."""
        differences, scale = [0.0], 1e-300
        for stage, delta in zip(self.stages, self.deltas, strict=True):
            for owner, at_output in _linear_parts(stage, delta):
                explained = {
                    "weight": np.outer(owner.x, at_output),
                    "bias": at_output,
                }
                for leaf, value in explained.items():
                    name = f"{owner.path}.{leaf}" if owner.path else leaf
                    if name in self.gradients:
                        difference = np.max(np.abs(value - self.gradients[name]))
                        differences.append(float(difference))
                        scale = max(scale, float(np.max(np.abs(self.gradients[name]))))
        return max(differences) / scale

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.model.net!r}, loss={self.loss!r}, "
            f"value={self.loss_value:.6g}, {len(self.gradients)} parameters)"
        )

    # -- how --------------------------------------------------------------------------------------

    def _derived(self, name: str, at: tuple[int, ...]) -> tuple[Symbol, Term, dict[str, Term]]:
        """The symbol of a weight, its chain rule, and what the δ in it stand for."""
        path, _, leaf = name.rpartition(".")
        value = float(self.model.parameters[name][at])
        for s, stage in enumerate(self.stages):
            if stage.path == path and isinstance(stage, LinearStage):
                rule = ChainRule(self.stages, self.loss_terms, self.deltas)
                return _of_linear(rule, s, stage, leaf, at)
            if isinstance(stage, ResidualStage) and (
                not stage.path or path == stage.path or path.startswith(f"{stage.path}.")
            ):
                found = self._in_residual(stage, self.deltas[s], path, leaf, at)
                if found is not None:
                    return found
            if stage.path == path and isinstance(stage, MeasuredStage):
                return self._measured_chain(s, stage, name, at, value)
        raise InputError(f"{name}: the layer that has this weight cannot be explained")

    def _in_residual(
        self, stage: ResidualStage, delta: Vector, path: str, leaf: str, at: tuple[int, ...]
    ) -> tuple[Symbol, Term, dict[str, Term]] | None:
        """A weight inside a block: the error at the block's output goes down its own path."""
        last = stage.y_name
        terms: list[Term] = [
            Symbol(
                f"∂L/∂{last.text(k + 1)}",
                rf"\frac{{\partial L}}{{\partial {last.latex(k + 1)}}}",
                float(value),
            )
            for k, value in enumerate(delta)
        ]
        rule = ChainRule(stage.body, terms, _deltas(stage.body, delta))
        for s, part in enumerate(stage.body):
            if part.path == path and isinstance(part, LinearStage):
                return _of_linear(rule, s, part, leaf, at)
        return None

    def _measured_chain(
        self, s: int, stage: MeasuredStage, name: str, at: tuple[int, ...], value: float
    ) -> tuple[Symbol, Term, dict[str, Term]]:
        """A weight of a layer without a formula: ∂y_k/∂w by central differences."""
        rule = ChainRule(self.stages, self.loss_terms, self.deltas)
        below = ",".join(str(i + 1) for i in at)
        symbol = Symbol(f"{name}[{below}]", rf"\text{{{name}}}_{{{below}}}", value)
        slopes = _slopes_by(stage, name.rpartition(".")[2], at)
        terms = []
        for k, slope in enumerate(slopes):
            out = stage.output(k)
            factor = Symbol(
                f"∂{out.text}/∂{symbol.text}",
                rf"\frac{{\partial {out.latex}}}{{\partial {symbol.latex}}}",
                float(slope),
            )
            terms.append(_product(rule.at_output(s, k, rule.depth), factor))
        return symbol, Sum(terms), rule.where

    def _measured(self, name: str, at: tuple[int, ...]) -> float:
        """The derivative by central differences of the loss itself."""
        [entry] = [entry for entry in self.model.layout.trainable if entry.name == name]
        index = entry.offset + int(np.ravel_multi_index(at, entry.shape))
        start = float(self.model.vector[index])
        h = STEP * max(1.0, abs(start))
        above, below = self._loss_at(index, start + h), self._loss_at(index, start - h)
        return float((above - below) / ((start + h) - (start - h)))

    def _loss_at(self, index: int, value: float) -> float:
        """The loss with one parameter changed."""
        model = self.model
        theta = model.vector.copy()
        theta[index] = value
        context = model.context(training=False, needs_input_gradient=False)
        y, _ = model.net.forward(model.tree(theta), self.x, context)
        return float(self.loss.forward(y, self.loss_target, context)[0])

    def _values(self, stage: Stage, delta: Vector) -> LayerValues:
        prefix = f"{stage.path}." if stage.path else ""
        parameters = {
            name: value
            for name, value in self.model.parameters.items()
            if name.startswith(prefix) and (prefix or "." not in name or len(self.stages) == 1)
        }
        gradients = {name: self.gradients[name] for name in parameters if name in self.gradients}
        slopes: Callable[[], Vector] | None = getattr(stage, "slopes", None)
        return LayerValues(
            path=stage.path,
            kind=type(stage.layer).__name__,
            written=stage.written,
            input=stage.x,
            output=stage.y,
            slope=None if slopes is None else slopes(),
            delta=delta,
            parameters=parameters,
            gradients=gradients,
            updated={name: parameters[name] - self.eta * g for name, g in gradients.items()},
        )


def _deltas(stages: list[Stage], at_end: Vector) -> list[Vector]:
    """∂L/∂(output) of every stage, from the last to the first, by the stages' own factors."""
    found = [at_end]
    for stage in reversed(stages[1:]):
        found.append(stage.back(found[-1]))
    return found[::-1]


def _linear_parts(stage: Stage, delta: Vector) -> list[tuple[LinearStage, Vector]]:
    """The Linear layers of a stage, with the δ at their output."""
    if isinstance(stage, LinearStage):
        return [(stage, delta)]
    if isinstance(stage, ResidualStage):
        inner = _deltas(stage.body, delta)
        return [
            part
            for body, d in zip(stage.body, inner, strict=True)
            for part in _linear_parts(body, d)
        ]
    return []


def _of_linear(
    rule: ChainRule, s: int, stage: LinearStage, leaf: str, at: tuple[int, ...]
) -> tuple[Symbol, Term, dict[str, Term]]:
    """∂L/∂w_ij = δ_j x_i, and ∂L/∂b_j = δ_j."""
    delta = rule.at_output(s, at[-1], rule.depth)
    if leaf == "bias":
        bias = float(stage.params["bias"][at])
        name = stage.bias_name
        return Symbol(name.text(at[0] + 1), name.latex(at[0] + 1), bias), delta, rule.where
    i, j = at
    return stage.weight_symbol(i, j), _product(delta, stage.input(i)), rule.where


def _slopes_by(stage: MeasuredStage, leaf: str, at: tuple[int, ...]) -> Vector:
    """∂y_k/∂p of one parameter of a layer, by central differences."""
    params = dict(stage.params)
    start = float(params[leaf][at])
    h = STEP * max(1.0, abs(start))
    outputs = []
    for moved in (start + h, start - h):
        changed = np.array(params[leaf])
        changed[at] = moved
        y, _ = stage.layer.forward(
            {**params, leaf: changed}, stage.x.reshape((1, *stage.shape)), stage.context
        )
        outputs.append(np.ravel(y))
    slopes: Vector = (outputs[0] - outputs[1]) / ((start + h) - (start - h))
    return slopes
