"""`Derivation`: every number of the backward pass of one sample, and the chain rule of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from bp_arrays.activations import Sigmoid
from bp_arrays.errors import InputError
from bp_arrays.explanation._backward import deltas_of, linear_gradients
from bp_arrays.explanation._chain_rule import ChainRule, Written
from bp_arrays.explanation._differences import central_difference
from bp_arrays.explanation._expression import Term
from bp_arrays.explanation._stages import InnerLayer, ResidualStage, Stage, Vector
from bp_arrays.explanation._weight_explanation import WeightExplanation
from bp_arrays.explanation._weight_names import weight_named
from bp_arrays.explanation._weight_rule import weight_rule
from bp_arrays.inputs import prepare_targets
from bp_arrays.layers import Linear
from bp_arrays.losses import L2Loss, Loss
from bp_arrays.model import Model


@dataclass(frozen=True)
class LayerValues:
    """The numbers of one layer for the sample, forward and backward.

    Parameters
    ----------
    path, kind : str
        Its path in the net, "0", and its class, "Linear".
    written : str
        Its formula, "a⁽¹⁾ = xw + b⁽¹⁾".
    input, output : vectors
    slope : vector or None
        The local derivative ∂h_j/∂a_j of an element-wise layer.
    delta : vector
        δ = ∂L/∂(output).
    parameters, gradients, updated : dict of str to array
        By their names in the model: values, ∂L/∂ of each, and the values after the update.
    inner : tuple of InnerLayer
        The layers in it, if it is a container that is more than a chain.
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
    inner: tuple[InnerLayer, ...] = ()


class Derivation:
    """The forward and backward pass of one sample, with every intermediate number.

    Attributes
    ----------
    layers : list of LayerValues
        In order, from the input to the output.
    loss_value : float
    gradients : dict of str to array
        ∂L/∂ of each parameter, from the layers' backward.
    eta : float
        The learning rate of the updates shown.
    input_names, output_names : tuple of str
        The names of the inputs and outputs, such as columns and classes, or ().
    image_shape : (height, width, channels) or None
        The shape of the sample as an image.
    """

    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None

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
        self._written = Written()
        self.loss_value, self.gradients, self.eta = loss_value, gradients, eta
        self.deltas = deltas_of(stages, np.asarray([term.value for term in loss_terms]))
        self.layers = [self._values(stage, delta) for stage, delta in zip(
            stages, self.deltas, strict=True)]  # fmt: skip

    # -- one weight ---------------------------------------------------------------------------

    def weight(self, name: str, *indices: int) -> WeightExplanation:
        """Write out the chain rule of one weight or bias, and check it.

        Parameters
        ----------
        name : str
            A name of `model.parameters`, "0.weight"; or of a Linear layer the name that is printed,
            with its indices: "w₁₂", "w12", "u1,12", "w(2)12", "b(1)2".
        *indices : int
            From 1, as on paper: `weight("0.weight", 1, 2)` is w₁₂, from the first input to the
            second unit; `weight("0.bias", 2)` is b₂.

        Raises
        ------
        InputError
            For a name or an index that the model does not have; the message lists those it has.
        """
        named = self.model.parameters
        name, indices = weight_named(name, indices, self.stages, named)
        shape = tuple(named[name].shape)
        if len(indices) != len(shape) or not all(
            isinstance(i, (int, np.integer)) and not isinstance(i, bool) and 1 <= i <= n
            for i, n in zip(indices, shape, strict=False)
        ):
            ranges = ", ".join(f"1 to {n}" for n in shape)
            raise InputError(
                f"weight({name!r}): expected indices {ranges}, counted from 1, for its shape "
                f"{shape}, got {', '.join(map(str, indices)) or 'none'}"
            )
        if name not in self.gradients:
            raise InputError(f"weight({name!r}): expected a trained parameter; it has no gradient")
        at = tuple(int(i) - 1 for i in indices)
        rule = weight_rule(
            name,
            at,
            self.stages,
            ChainRule(self.stages, self.loss_terms, self.deltas, self._written),
        )
        if rule is None:
            raise InputError(f"weight({name!r}): the layer of this weight cannot be explained")
        return WeightExplanation(
            weight=rule.weight,
            expression=rule.expression,
            where=rule.where,
            computed=float(self.gradients[name][at]),
            numeric=self._measured(name, at),
            eta=self.eta,
        )

    @property
    def follows_notes(self) -> bool:
        """True for the net of the notes: 2-3-2 with sigmoids, and the loss ½Σ(y−t)²."""
        kinds = [type(stage.layer) for stage in self.stages]
        sizes = [self.x.size, *(stage.y.size for stage in self.stages)]
        is_net = kinds == [Linear, Sigmoid, Linear, Sigmoid] and sizes == [2, 3, 3, 2, 2]
        return is_net and isinstance(self.loss, L2Loss)

    @property
    def target_class(self) -> str:
        """The name of the class of the target; "" without names."""
        t = np.ravel(self.t)
        if not self.output_names or t.size not in (1, len(self.output_names)):
            return ""
        k = int(t[0]) if t.size == 1 else int(np.argmax(t))
        return self.output_names[k] if 0 <= k < len(self.output_names) else ""

    @property
    def first_weight(self) -> tuple[str, tuple[int, ...]] | None:
        """The first trained parameter and the indices of its first element with a gradient.

        That is w₁₁ in the notes; for an image with black pixels at the start, a later one.
        """
        for name, gradient in self.gradients.items():
            first = np.argmax(gradient != 0.0)
            return name, tuple(int(i) + 1 for i in np.unravel_index(first, gradient.shape))
        return None

    def largest_difference(self) -> float:
        """Return the largest difference between the explained gradients and those of backward,
        relative to the largest gradient."""
        differences, scale = [0.0], 1e-300
        for stage, delta in zip(self.stages, self.deltas, strict=True):
            for name, explained in linear_gradients(stage, delta):
                computed = self.gradients[name]
                differences.append(float(np.max(np.abs(explained - computed))))
                scale = max(scale, float(np.max(np.abs(computed))))
        return max(differences) / scale

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.model.net!r}, loss={self.loss!r}, "
            f"value={self.loss_value:.6g}, {len(self.gradients)} parameters)"
        )

    def _measured(self, name: str, at: tuple[int, ...]) -> float:
        """Compute the derivative of the loss by central differences."""
        [entry] = [entry for entry in self.model.layout.trainable if entry.name == name]
        index = entry.offset + int(np.ravel_multi_index(at, entry.shape))
        context = self.model.context(training=False, needs_input_gradient=False)

        def loss(value: float) -> float:
            theta = self.model.vector.copy()
            theta[index] = value
            y, _ = self.model.net.forward(self.model.tree(theta), self.x, context)
            ctx_of_loss = replace(context, x=self.x)
            return float(self.loss.forward(y, self.loss_target, ctx_of_loss)[0])

        return float(central_difference(loss, float(self.model.vector[index])))

    def _values(self, stage: Stage, delta: Vector) -> LayerValues:
        paths = list(_paths(stage))
        parameters = {
            name: value
            for name, value in self.model.parameters.items()
            if any(name.startswith(f"{path}.") for path in paths if path)
            or ("" in paths and ("." not in name or len(self.stages) == 1))
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
            inner=tuple(stage.inner),
        )


def _paths(stage: Stage) -> Iterator[str]:
    """Yield the paths of the layers in a stage."""
    if isinstance(stage, ResidualStage):
        for part in stage.body:
            yield from _paths(part)
    else:
        yield stage.path
