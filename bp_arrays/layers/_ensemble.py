"""`Ensemble`: several nets of one kind, with weights of their own, computed together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bp_arrays.checks import array_error, check_integer, check_kind
from bp_arrays.initializers import Stacked
from bp_arrays.layers._context import Context, in_dtypes_of
from bp_arrays.layers._dropout import Dropout
from bp_arrays.layers._layer import Layer, Parameter, Specification
from bp_arrays.layers._linear import Linear
from bp_arrays.layers._sequential import Sequential
from bp_arrays.layers._tree import walk
from bp_arrays.layers._zero_error import total_error
from bp_arrays.trees import Tree, described_tree, is_shape, map_tree
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape, StateUpdates


@dataclass(frozen=True)
class Ensemble(Layer):
    """Members of one architecture on the same input, trained as one net: y[:, m] = f_m(x).

    Each parameter of `net` has a first axis for the members, whose first values are drawn one after
    the other, each with the fans of a net by itself. `Linear` is one batched product for all
    members, and layers without parameters run once on the rows of all; any other layer, and Dropout
    in training, runs member by member. The output is (batch, members, *output of net), so that
    every member has an error of its own: train it with `EnsembleLoss`, which gives each the
    gradients of a net by itself.

    Parameters
    ----------
    net : Layer
        One member, with one output.
    members : int
        Their number.

    Raises
    ------
    InputError
        If a field has the wrong type, or there is no member; when the model is built, if the net
        has several outputs.

    Notes
    -----
    `Dropout` draws a mask for each member. Reports such as `model.summary()` see one layer.
    Lakshminarayanan, Pritzel, Blundell, "Simple and Scalable Predictive Uncertainty Estimation
    using Deep Ensembles", 2017.

    Examples
    --------
    The mean and the spread of five members; the parameters of one of them:

    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> net = bp.Ensemble(bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Linear(1)), 5)
    >>> model = bp.Model(net, input_shape=2, device="cpu", seed=0)
    >>> loss = bp.EnsembleLoss(bp.MeanSquaredError())
    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> history = bp.fit(model, x, x[:, :1], loss=loss, optimizer=bp.Adam(0.01))
    >>> members = model.predict(x)
    >>> mean, spread = model.predict(x, spread=True)
    >>> members.shape, mean.shape, spread.shape
    ((100, 5, 1), (100, 1), (100, 1))
    >>> second = bp.Model(net.net, input_shape=2, device="cpu")
    >>> second.set_parameters({name: w[1] for name, w in model.parameters.items()})
    >>> bool(np.allclose(second.predict(x), members[:, 1], atol=1e-6))
    True
    """

    passes_input_on: ClassVar[bool] = True

    net: Layer
    members: int

    def __post_init__(self) -> None:
        check_kind(self, "net", Layer, "a layer such as Sequential(...)")
        check_integer(self, "members", at_least=1)

    @property
    def index_size(self) -> int | None:
        first = self.net
        while isinstance(first, Sequential) and first.layers:
            first = first.layers[0]
        return first.index_size

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        specification, output_shape = self.net.init(input_shape)
        if not is_shape(output_shape):
            raise array_error(
                "Ensemble",
                "net",
                "one output",
                described_tree(output_shape),
                "end with Select(...)",
            )

        def stacked(parameter: Parameter) -> Parameter:
            shape = (self.members, *parameter.shape)
            return replace(parameter, shape=shape, initializer=Stacked(parameter.initializer))

        return map_tree(stacked, specification), (self.members, *output_shape)

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        run = _Run(self.members, ctx)
        y, shared, net_backward = run.layer(self.net, (), params, x, True, ctx)
        if shared:  # a net without layers
            y = run.for_each(y)

        def backward(delta: Array) -> tuple[Tree, ParameterTree]:
            delta = _swapped(delta, xp)
            dx, gradients = net_backward(xp.sum(delta, axis=0) if shared else delta)
            return dx if ctx.needs_input_gradient else None, gradients

        return _swapped(y, xp), backward


Stage = tuple[Any, bool, Callable[[Array], tuple[Any, ParameterTree]]]
"""The output, whether all members share it, and the backward: from an error for each member to the
sum of the errors by a shared input, or to that of each."""


@dataclass(frozen=True)
class _Run:
    """One pass of all members: shared arrays are (batch, ...), others (members, batch, ...)."""

    members: int
    ctx: Context

    def layer(
        self,
        layer: Layer,
        path: tuple[str, ...],
        params: ParameterTree,
        x: Any,
        shared: bool,
        ctx: Context,
    ) -> Stage:
        rounded = ctx.rounded_for(layer, x)
        if ctx.compute_dtype is None or isinstance(layer, Sequential):
            return self._layer(layer, path, params, x, shared, ctx)
        y, shared, backward = self._layer(layer, path, params, rounded, shared, ctx)
        return y, shared, in_dtypes_of(x, backward, ctx.xp)

    def _layer(
        self,
        layer: Layer,
        path: tuple[str, ...],
        params: ParameterTree,
        x: Any,
        shared: bool,
        ctx: Context,
    ) -> Stage:
        if type(layer) is Sequential:
            return self.sequential(layer, path, params, x, shared, ctx)
        if type(layer) is Linear:
            return self.linear(layer, params, x, shared, ctx)
        # the mask of a part of a batch belongs to its rows, which those of all members are not
        is_random = ctx.random is not None and isinstance(layer, Dropout)
        if not params and not is_random and not isinstance(x, (dict, tuple)):
            return self.without_parameters(layer, x, shared, ctx)
        return self.one_by_one(layer, path, params, x, shared, ctx)

    def sequential(
        self,
        net: Sequential,
        path: tuple[str, ...],
        params: ParameterTree,
        x: Any,
        shared: bool,
        ctx: Context,
    ) -> Stage:
        steps = []
        for name, layer in net.parts().items():
            own = params.get(name, {})
            x, shared, back = self.layer(layer, (*path, name), own, x, shared, ctx)
            steps.append((name, back))
            if own:
                ctx = ctx.with_input_gradient  # later layers propagate to these parameters

        def backward(delta: Any) -> tuple[Any, ParameterTree]:
            gradients: ParameterTree = {}
            for name, back in reversed(steps):
                if delta is None:
                    break  # no layer before has parameters
                delta, of_layer = back(delta)
                if of_layer:
                    gradients[name] = of_layer
            return delta, gradients

        return x, shared, backward

    def linear(
        self, layer: Linear, params: ParameterTree, x: Array, shared: bool, ctx: Context
    ) -> Stage:
        xp, w = ctx.xp, params["weight"]  # (members, in, out)
        first = 0 if shared else 1  # the axis of the batch
        leading, n = tuple(x.shape[first:-1]), math.prod(x.shape[first:-1])
        rows = xp.reshape(x, (*x.shape[:first], n, x.shape[-1]))
        a = rows @ w  # (n, in) or (members, n, in), by (members, in, out)
        if layer.bias:
            a = a + params["bias"][:, None, :]

        def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
            delta = xp.reshape(delta, (self.members, n, w.shape[-1]))
            dx = None
            if ctx.needs_input_gradient:
                dx = delta @ xp.matrix_transpose(w)
                dx = xp.reshape(xp.sum(dx, axis=0) if shared else dx, tuple(x.shape))
            if not ctx.needs_parameter_gradients:
                return dx, {}
            gradients = {"weight": xp.matrix_transpose(rows) @ delta}  # of each member
            if layer.bias:
                gradients["bias"] = xp.sum(delta, axis=1)
            return dx, gradients

        return xp.reshape(a, (self.members, *leading, w.shape[-1])), False, backward

    def without_parameters(self, layer: Layer, x: Array, shared: bool, ctx: Context) -> Stage:
        """Run a layer once, on the rows of all members."""
        xp = ctx.xp
        each = self.for_each(x) if shared else x
        batch = each.shape[1]
        rows = xp.reshape(each, (self.members * batch, *each.shape[2:]))
        y, rows_backward = layer.forward({}, rows, ctx)

        def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
            dx, _ = rows_backward(xp.reshape(delta, tuple(y.shape)))
            if dx is None:
                return None, {}
            dx = xp.reshape(dx, tuple(each.shape))
            return xp.sum(dx, axis=0) if shared else dx, {}

        return xp.reshape(y, (self.members, batch, *y.shape[1:])), False, backward

    def one_by_one(
        self,
        layer: Layer,
        path: tuple[str, ...],
        params: ParameterTree,
        x: Any,
        shared: bool,
        ctx: Context,
    ) -> Stage:
        xp = ctx.xp
        outputs, backwards, updates = [], [], []
        for m in range(self.members):
            state: StateUpdates | None = None if ctx.state_updates is None else {}
            own = replace(ctx, visit=None, state_updates=state, trail=[])
            part = x if shared else _of_member(x, m)
            y, back = own.forward(
                "",
                layer,
                _of_member(params, m),
                part,
                needs_input_gradient=ctx.needs_input_gradient,
            )
            outputs.append(y)
            backwards.append(back)
            updates.append(state)
        for key in updates[0] or {}:
            assert ctx.state_updates is not None
            values = xp.stack([state[key] for state in updates if state is not None])
            ctx.state_updates[(*self.ctx.path, *path, *key)] = values

        def stacked(*trees: Tree) -> Tree:
            return map_tree(lambda *parts: xp.stack(parts), *trees)

        def backward(delta: Tree) -> tuple[Any, ParameterTree]:
            results = [back(_of_member(delta, m)) for m, back in enumerate(backwards)]
            gradients = stacked(*(of_member for _, of_member in results))
            errors = [dx for dx, _ in results]
            if shared:
                return total_error(errors), gradients
            return stacked(*errors), gradients

        return stacked(*outputs), False, backward

    def for_each(self, x: Array) -> Array:
        """Return a shared array once for each member: (members, batch, ...)."""
        xp = self.ctx.xp
        return xp.broadcast_to(xp.expand_dims(x, axis=0), (self.members, *x.shape))


def _swapped(y: Array, xp: Namespace) -> Array:
    """Exchange the axes of members and batch."""
    return xp.permute_dims(y, (1, 0, *range(2, y.ndim)))


def _of_member(tree: Tree, m: int) -> Tree:
    """Return the arrays of one member of a tree of arrays (members, ...)."""
    return map_tree(lambda array: array[m, ...], tree)


def layers_of(net: Layer) -> Iterator[Layer]:
    """Yield every layer of a tree as `walk` does, and those of one member of each ensemble.

    >>> from bp_arrays import Tanh
    >>> [type(layer).__name__ for layer in layers_of(Sequential(Ensemble(Tanh(), 2)))]
    ['Sequential', 'Ensemble', 'Tanh']
    """
    for _, layer in layers_by_path(net):
        yield layer


def layers_by_path(net: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield the layers of `layers_of`, each with the path of its parameters.

    >>> from bp_arrays import Tanh
    >>> [path for path, _ in layers_by_path(Sequential(Ensemble(Sequential(Tanh()), 2)))]
    ['', '0', '0', '0.0']
    """
    for node in walk(net):
        yield node.path, node.layer
        if isinstance(node.layer, Ensemble):
            for path, layer in layers_by_path(node.layer.net):
                yield ".".join(filter(None, (node.path, path))), layer
