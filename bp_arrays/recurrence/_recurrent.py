"""`Recurrent`: the loop over time, in layers and directions, that RNN, LSTM and GRU share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bp_arrays.checks import array_error, check_bool, check_integer, check_kind
from bp_arrays.errors import InputError
from bp_arrays.initializers import GlorotUniform, Initializer, Orthogonal, Zeros
from bp_arrays.kernels import scan, sum_rows
from bp_arrays.layers import Context, IndexShape, Layer, Parameter, Specification
from bp_arrays.trees import Tree, map_tree
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape

State = tuple[Array, ...]
"""The state between two steps: (h,) or (h, c), each (batch, features)."""

DirectionBackward = Callable[[Array | None, State, bool], tuple[Array | None, State, ParameterTree]]
"""(error of h at every time or None, error of the final state, whether dx is needed) -> (dx, error
of the initial state, gradients)."""


@dataclass(frozen=True)
class Recurrent(Layer):
    """Base class of the recurrent layers: one step, forward and backward, is left to each."""

    features: int
    layers: int = 1
    bidirectional: bool = False
    last: bool = False
    input_init: Initializer = field(default_factory=GlorotUniform)
    recurrent_init: Initializer = field(default_factory=Orthogonal)

    states: ClassVar[tuple[str, ...]] = ("h",)
    """The names of the parts of the state; the first is the output."""
    gates: ClassVar[int] = 1
    """Sums that each unit computes; the weights have as many columns per unit."""

    def __post_init__(self) -> None:
        check_integer(self, "features", at_least=1)
        check_integer(self, "layers", at_least=1)
        check_bool(self, "bidirectional")
        check_bool(self, "last")
        for name in ("input_init", "recurrent_init"):
            check_kind(self, name, Initializer, "an initializer such as HeNormal()")

    @abstractmethod
    def step(self, w: ParameterTree, state: State, a: Array, xp: Namespace) -> tuple[State, Tree]:
        """Compute one step: the new state, and what its backward needs.

        Parameters
        ----------
        w : dict of arrays
            The parameters of this layer and direction, without suffixes.
        state : tuple of arrays (batch, features)
        a : array (batch, gates * features)
            x wx + b at this time.
        xp : namespace
        """

    @abstractmethod
    def step_backward(
        self, w: ParameterTree, delta: State, kept: Tree, xp: Namespace
    ) -> tuple[State, tuple[Array, ...]]:
        """Propagate the error through one step.

        Returns
        -------
        tuple of arrays (batch, features)
            The error of the state before the step.
        tuple of arrays (batch, gates * features)
            ∂L/∂(x wx + b); then ∂L/∂(h wh) if it is not the same.
        """

    def bias_init(self) -> Initializer:
        """Return what draws the bias."""
        return Zeros()

    # -- shapes --------------------------------------------------------------------------------

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _state_shape(self) -> Shape:
        count = self.layers * self._directions
        return (self.features,) if count == 1 else (count, self.features)

    def _suffix(self, layer: int, direction: int) -> str:
        number = f"_{layer}" if self.layers > 1 else ""
        return number + ("_reverse" if direction else "")

    def _specification(self, in_features: int) -> Specification:
        """Return the parameters of one layer in one direction."""
        n, columns = self.features, self.gates * self.features
        return {
            "input_weight": Parameter((in_features, columns), self.input_init),
            "recurrent_weight": Parameter((n, columns), self.recurrent_init),
            "bias": Parameter((columns,), self.bias_init()),
        }

    def init(self, input_shape: Any) -> tuple[Specification, Any]:
        where = f"{type(self).__name__}({self.features})"
        shapes = input_shape if isinstance(input_shape, dict) else {"x": input_shape}
        time, size = self._check_shapes(where, shapes)
        specification: Specification = {}
        for layer in range(self.layers):
            for direction in range(self._directions):
                suffix = self._suffix(layer, direction)
                for name, parameter in self._specification(size).items():
                    specification[name + suffix] = parameter
            size = self._directions * self.features
        output_shape = (size,) if self.last else (time, size)
        if isinstance(input_shape, dict):
            return specification, {**input_shape, "x": output_shape}
        return specification, output_shape

    def _check_shapes(self, where: str, shapes: dict[str, Any]) -> Shape:
        x = shapes.get("x")
        if not isinstance(x, tuple) or len(x) != 2 or not all(isinstance(n, int) for n in x):
            advice = "" if "x" in shapes else 'name the input "x"'
            got = x if "x" in shapes else f"a dict of {', '.join(shapes)}"
            raise array_error(where, "input", "shape (time, features)", got, advice)
        expected = {"lengths": (), "mask": x[:1]} | dict.fromkeys(self.states, self._state_shape)
        for name, shape in expected.items():
            if name in shapes and shapes[name] != shape:
                raise array_error(where, name, f"shape {shape} for each sample", shapes[name])
        lengths = shapes.get("lengths")
        if lengths is not None and not (
            isinstance(lengths, IndexShape) and (lengths.size or math.inf) <= x[0] + 1
        ):
            spec = f'InputSpec((), "index", size={x[0] + 1})'
            raise array_error(where, "lengths", spec, _described(lengths))
        missing = [name for name in self.states if name not in shapes]
        if missing and len(missing) < len(self.states):
            raise InputError(
                f"{where}: expected all of the initial state, {' and '.join(self.states)}, or "
                f"nothing of it; {missing[0]} is missing"
            )
        return x

    # -- the pass over all layers and directions -----------------------------------------------

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Tree, Backward]:
        xp = ctx.xp
        inputs = x if isinstance(x, dict) else {"x": x}
        h = inputs["x"]
        mask = self._mask(inputs, ctx)
        initial = self._initial_states(inputs, ctx)
        finals: list[State] = []
        layers: list[list[DirectionBackward]] = []
        for layer in range(self.layers):
            outputs, backwards = [], []
            for direction in range(self._directions):
                w = self._weights(params, layer, direction)
                state = initial[len(finals)]
                each, final, back = self._direction(w, h, state, mask, direction == 1, ctx)
                outputs.append(each)
                backwards.append(back)
                finals.append(final)
            h = outputs[0] if len(outputs) == 1 else xp.concat(outputs, axis=2)
            layers.append(backwards)
        if self.last:
            y = xp.concat([final[0] for final in finals[-self._directions :]], axis=1)
        else:
            y = h if mask is None else xp.where(mask, h, 0.0)

        def backward(delta: Tree) -> tuple[Tree, ParameterTree]:
            deltas = delta if isinstance(delta, dict) else {"x": delta}
            dh, dfinals = self._output_errors(deltas, finals, mask, xp)
            gradients: ParameterTree = {}
            dinitial: list[State] = []
            for layer in reversed(range(self.layers)):
                needs_dx = layer > 0 or ctx.needs_input_gradient
                dx = None
                for direction in reversed(range(self._directions)):
                    part = dh
                    if dh is not None and self.bidirectional:
                        start = direction * self.features
                        part = dh[:, :, start : start + self.features]
                    back = layers[layer][direction]
                    dpart, dstate, dw = back(part, dfinals.pop(), needs_dx)
                    dx = dpart if dx is None else dx + dpart  # x is read in both directions
                    dinitial.insert(0, dstate)
                    suffix = self._suffix(layer, direction)
                    gradients |= {name + suffix: gradient for name, gradient in dw.items()}
                dh = dx
            if not ctx.needs_input_gradient:
                return None, gradients
            if not isinstance(x, dict):
                return dh, gradients
            dx_tree = {**deltas, "x": dh} | {k: None for k in ("lengths", "mask") if k in x}
            return dx_tree | self._states_by_name(dinitial, inputs, xp), gradients

        if not isinstance(x, dict):
            return y, backward
        return {**x, "x": y} | self._states_by_name(finals, inputs, xp), backward

    def _weights(self, params: ParameterTree, layer: int, direction: int) -> ParameterTree:
        suffix = self._suffix(layer, direction)
        return {name: params[name + suffix] for name in self._specification(1)}

    def _direction(
        self,
        w: ParameterTree,
        x: Array,
        state: State,
        mask: Array | None,
        reverse: bool,
        ctx: Context,
    ) -> tuple[Array, State, DirectionBackward]:
        """Run one layer in one direction: h at every time, the final state, and the backward.

        In reverse, the loop meets the padding first and passes it without a change of the state:
        each sequence is read from its own last position.
        """
        xp = ctx.xp
        (batch, time, size), n = x.shape, self.features
        wx = w["input_weight"]
        rows = xp.reshape(x, (batch * time, size))
        a = xp.reshape(rows @ wx + w["bias"], (batch, time, wx.shape[1]))  # for all times at once

        def step(state: State, each: tuple[Array, Array], _: Any) -> tuple[State, Array, Tree]:
            a, m = each
            new, kept = self.step(w, state, a, xp)
            if m is not None:  # beyond the length the state is carried on
                new = map_tree(lambda new, old: xp.where(m, new, old), new, state)
            return new, new[0], kept

        final, h, kept = scan(step, state, (a, mask), reverse=reverse, xp=xp)

        def backward(
            dh: Array | None, dfinal: State, needs_dx: bool
        ) -> tuple[Array | None, State, ParameterTree]:
            def step(
                delta: State, each: tuple[Array | None, Array | None], kept: Tree
            ) -> tuple[State, tuple[Array, ...], None]:
                dh, m = each
                if dh is not None:  # h goes to the output and to the next step
                    delta = (delta[0] + dh, *delta[1:])
                before, errors = self.step_backward(w, delta, kept, xp)
                if m is not None:  # the error passes by, too
                    before = map_tree(lambda new, old: xp.where(m, new, old), before, delta)
                    errors = map_tree(lambda error: xp.where(m, error, 0.0), errors)
                return before, errors, None

            dinitial, errors, _ = scan(
                step, dfinal, (dh, mask), kept=kept, reverse=not reverse, xp=xp
            )
            da, dq = (xp.reshape(d, (batch * time, wx.shape[1])) for d in (errors[0], errors[-1]))
            dx = xp.reshape(da @ wx.T, x.shape) if needs_dx else None
            if not ctx.needs_parameter_gradients:
                return dx, dinitial, {}
            first = xp.expand_dims(state[0], axis=1)
            before = [h[:, 1:, :], first] if reverse else [first, h[:, : time - 1, :]]
            h_before = xp.reshape(xp.concat(before, axis=1), (batch * time, n))
            gradients = {
                "input_weight": rows.T @ da,  # ∂L/∂wx = Σ_t x_tᵀ δ_t
                "recurrent_weight": h_before.T @ dq,  # ∂L/∂wh = Σ_t h_{t-1}ᵀ δ_t
                "bias": sum_rows(da, device=ctx.device, xp=xp),  # ∂L/∂b = Σ_t δ_t
            } | self.further_gradients(dq, ctx)
            return dx, dinitial, gradients

        return h, final, backward

    def further_gradients(self, dq: Array, ctx: Context) -> ParameterTree:
        """Return the gradients of other parameters than the two weights and the bias.

        dq = ∂L/∂(h wh) has a row for each position, (batch · time, gates * features).
        """
        return {}

    # -- masks and states ----------------------------------------------------------------------

    def _mask(self, inputs: dict[str, Array], ctx: Context) -> Array | None:
        """Return where the real positions are, (batch, time, 1), or None if all are real."""
        xp, masks = ctx.xp, []
        lengths, mask = inputs.get("lengths"), inputs.get("mask")
        if lengths is not None:
            time = xp.arange(inputs["x"].shape[1], dtype=lengths.dtype, device=ctx.device)
            masks.append(xp.expand_dims(time, axis=0) < xp.expand_dims(lengths, axis=1))
        if mask is not None:
            masks.append(mask if xp.isdtype(mask.dtype, "bool") else mask != 0)
        if not masks:
            return None
        real = masks[0] if len(masks) == 1 else xp.logical_and(*masks)
        return xp.expand_dims(real, axis=2)

    def _initial_states(self, inputs: dict[str, Array], ctx: Context) -> list[State]:
        """Return the initial state of each layer and direction; zeros without one."""
        x, count = inputs["x"], self.layers * self._directions
        if self.states[0] not in inputs:
            shape = (x.shape[0], self.features)
            zeros = ctx.xp.zeros(shape, dtype=x.dtype, device=ctx.device)
            return [(zeros,) * len(self.states)] * count
        parts = [inputs[name] for name in self.states]
        if count == 1:
            return [tuple(parts)]
        return [tuple(part[:, k, :] for part in parts) for k in range(count)]

    def _states_by_name(
        self, states: list[State], inputs: dict[str, Array], xp: Namespace
    ) -> dict[str, Array]:
        """Return the states of all layers as they come in a dict; nothing if none came in."""
        if self.states[0] not in inputs:
            return {}
        parts = zip(*states, strict=True)  # by name, not by layer
        joined = [part[0] if len(part) == 1 else xp.stack(part, axis=1) for part in parts]
        return dict(zip(self.states, joined, strict=True))

    def _output_errors(
        self, deltas: dict[str, Array], finals: list[State], mask: Array | None, xp: Namespace
    ) -> tuple[Array | None, list[State]]:
        """Return the error of h at every time, if any, and that of each final state."""
        dy = deltas["x"]
        dfinals = [list(map_tree(xp.zeros_like, final)) for final in finals]
        for part, name in enumerate(self.states):
            given = deltas.get(name)
            for k, dfinal in enumerate(dfinals):
                if given is not None:
                    dfinal[part] = given if len(finals) == 1 else given[:, k, :]
        if self.last and dy is not None:
            n = self.features
            for direction, dfinal in enumerate(dfinals[-self._directions :]):
                part = dy[:, direction * n : (direction + 1) * n]
                dfinal[0] = dfinal[0] + part
            dy = None
        if dy is not None and mask is not None:
            dy = xp.where(mask, dy, 0.0)
        return dy, [tuple(dfinal) for dfinal in dfinals]


def gate(a: Array, xp: Namespace) -> Array:
    """σ(a) = ½ tanh(½ a) + ½: in half the time of `Sigmoid`, which keeps the digits near 0, too.

    A gate multiplies, so an error of half an eps near 0 is one of half an eps in the state.
    """
    return 0.5 * xp.tanh(0.5 * a) + 0.5


def _described(lengths: Shape) -> str:
    if not isinstance(lengths, IndexShape):
        return "numbers"
    return "indices without a size" if lengths.size is None else f"size={lengths.size}"
