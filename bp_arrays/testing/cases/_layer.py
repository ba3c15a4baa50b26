"""Cases of a layer or a loss: forward, backward, and the function for the oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from bp_arrays.devices import name_of_dtype
from bp_arrays.errors import InputError
from bp_arrays.layers import IndexShape, Layer, Parameter, Specification
from bp_arrays.losses import Loss
from bp_arrays.random import host_generator
from bp_arrays.testing._case import DEFAULT_LIMIT, DTYPES, GRADIENT, PARAMETER, Case, Derivatives
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.witnesses import Witness
from bp_arrays.trees import Tree, leaves, map_shapes, map_tree
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree, Shape


def layer_case(
    layer: Layer,
    x: Callable[[], Tree],
    variant: str,
    *,
    component: str | None = None,
    kind: str = "layer",
    limit: float = DEFAULT_LIMIT,
    analytic: bool = False,
    exact: frozenset[str] = frozenset(),
    oracle: bool = True,
    delta: Callable[[Tree], Tree] = lambda drawn: drawn,
    witnesses: tuple[Witness, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case of forward and backward of a layer in training, for an input and an error δ.

    `x` returns an array, or a tuple or dict of arrays, of which integers are indices. `delta`
    changes the δ that is drawn, for outputs of several arrays a tuple or dict of them; it may put
    None, an error of zeros, in their place, as it is for outputs that are indices.
    The results are "y", "dx" and "d name" for every trainable parameter; of several arrays "y.a"
    and "dx.a", or "y.0" and "dx.0" in a tuple.
    """
    component = component or type(layer).__name__

    def inputs() -> HostArrays:
        values = x()
        specification, output_shape = layer.init(_sample_shapes(values))
        arrays = flat_tree("x", values)
        for path, parameter in _flat(specification):
            generator = host_generator(2026, "case", component, variant, path)
            drawn = np.asarray(parameter.initializer.draw(parameter.shape, generator))
            # Zeros and ones would hide a factor: every parameter gets distinct values.
            arrays[PARAMETER + path] = drawn + 0.1 * generator.uniform(1, 2, parameter.shape)
        rows = next(leaves(values)).shape[0]

        numbers = count()

        def draw(shape: Shape) -> HostArray:
            which = f"delta {k}" if (k := next(numbers)) else "delta"
            return normal(component, variant, which, shape=(rows, *shape))

        return arrays | flat_tree("delta", delta(map_shapes(draw, output_shape)))

    def run(placement: Placement, arrays: dict[str, Array]) -> tuple[Tree, Backward, Tree]:
        """Return y, its backward, and δ."""
        nested = nested_like(x(), "x", arrays)
        returned = layer.forward(parameter_tree(arrays), nested, placement.context())
        y, backward = _two(returned, "forward must return (output, backward)")
        _, output_shape = layer.init(_sample_shapes(x()))
        rows = next(leaves(nested)).shape[0]
        expected = map_shapes(lambda shape: (rows, *shape), output_shape)
        shapes = map_tree(lambda a: tuple(a.shape), y)
        if shapes != expected:
            raise InputError(f"y: expected shape {expected}, as returned by init, got {shapes}")
        return y, backward, _errors(y, "delta", arrays)

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        xp = placement.xp
        y, backward, errors = run(placement, arrays)
        dx, gradients = _two(backward(errors), "backward must return (dx, gradients by name)")
        results = flat_tree("y", y)
        for name, array in flat_tree("x", nested_like(x(), "x", arrays)).items():
            if xp.isdtype(array.dtype, "real floating"):
                error = _at(dx, name.split(".")[1:])
                is_zero = error is None and name != "x"  # of one of several inputs
                results[f"d{name}"] = xp.zeros_like(array) if is_zero else error
        if gradients is None:
            gradients = dict.fromkeys(path.partition(".")[0] for path in trainable)
        for path, gradient in _flat_arrays(gradients):
            if gradient is not None:
                results[GRADIENT + path] = gradient
                continue
            for name in trainable:  # the gradients of a part that are zeros
                if f"{name}.".startswith(f"{path}."):
                    results[GRADIENT + name] = xp.zeros_like(arrays[PARAMETER + name])
        return results

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        y, _, errors = run(placement, arrays)
        pairs = zip(_every_leaf(y), _every_leaf(errors), strict=True)
        return sum(placement.xp.sum(a * error) for a, error in pairs if error is not None)

    names = [name for name, a in flat_tree("x", x()).items() if a.dtype.kind == "f"]
    trainable = [path for path, p in _flat(layer.init(_sample_shapes(x()))[0]) if p.trainable]
    input_of = {f"d{name}": name for name in names}
    input_of |= {GRADIENT + path: PARAMETER + path for path in trainable}
    derivatives = Derivatives(objective, input_of, analytic) if oracle and input_of else None
    return Case(
        component,
        variant,
        kind,
        inputs,
        compute,
        limit,
        exact=exact,
        derivatives=derivatives,
        witnesses=witnesses,
        dtypes=dtypes,
    )


def loss_case(
    loss: Loss,
    inputs: Callable[[], HostArrays],
    variant: str,
    *,
    component: str | None = None,
    samples: Tree = None,
    limit: float = DEFAULT_LIMIT,
    analytic: bool = False,
    oracle: bool = True,
    witnesses: tuple[Witness, ...] = (),
    dtypes: tuple[str, ...] = DTYPES,
) -> Case:
    """Build a case of value and gradient of a loss for outputs "y", targets "t", any "weight".

    `samples` is a tree like the samples of a loss that reads `ctx.x`, among the inputs as "x".
    """

    def run(placement: Placement, arrays: dict[str, Array]) -> tuple[Array, Callable[[], Array]]:
        ctx = replace(placement.context(), x=nested_like(samples, "x", arrays))
        return loss.forward(arrays["y"], arrays["t"], ctx, arrays.get("weight"))

    def compute(placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
        value, backward = run(placement, arrays)
        return {"value": value, "dy": backward()}

    def objective(placement: Placement, arrays: dict[str, Array]) -> Array:
        return run(placement, arrays)[0]

    derivatives = Derivatives(objective, {"dy": "y"}, analytic) if oracle else None
    return Case(
        component or type(loss).__name__,
        variant,
        "loss",
        inputs,
        compute,
        limit,
        wide=frozenset({"value"}),
        derivatives=derivatives,
        witnesses=witnesses,
        dtypes=dtypes,
    )


def flat_tree(name: str, tree: Tree) -> dict[str, Any]:
    """Return the arrays of a tree by name: {"x": ...}, or {"x.left": ..., "x.right": ...}.

    >>> flat_tree("x", {"ids": 1, "pair": (2, None)})
    {'x.ids': 1, 'x.pair.0': 2}
    """
    if isinstance(tree, (dict, tuple)):
        parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, part in parts for k, v in flat_tree(f"{name}.{key}", part).items()}
    return {} if tree is None else {name: tree}


def nested_like(tree: Tree, name: str, arrays: dict[str, Array]) -> Tree:
    """Return arrays by name, as of `flat_tree`, nested like a tree; None for those missing."""
    if isinstance(tree, dict):
        return {k: nested_like(part, f"{name}.{k}", arrays) for k, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(nested_like(part, f"{name}.{k}", arrays) for k, part in enumerate(tree))
    return arrays.get(name)


def _errors(y: Tree, name: str, arrays: dict[str, Array]) -> Tree:
    """Return the errors of outputs, nested like them; None for indices."""
    errors = nested_like(y, name, arrays)

    def of_numbers(tree: Tree, error: Tree) -> Tree:
        if isinstance(tree, dict):
            return {k: of_numbers(part, error[k]) for k, part in tree.items()}
        if isinstance(tree, tuple):
            return tuple(of_numbers(*pair) for pair in zip(tree, error, strict=True))
        # by its name: a layer at fault may return an array of another library
        return None if name_of_dtype(tree.dtype).startswith(("int", "uint", "bool")) else error

    return of_numbers(y, errors)


def _sample_shapes(x: Tree) -> Tree:
    """Return the shapes of one sample, as `Layer.init` expects them."""

    def of_sample(a: HostArray) -> Shape:
        if a.dtype.kind == "i":
            return IndexShape(a.shape[1:], int(a.max()) + 1)
        return tuple(a.shape[1:])

    return map_tree(of_sample, x)


def _every_leaf(tree: Tree) -> Iterator[Any]:
    """Yield the arrays of a tree, and None where one is missing."""
    if isinstance(tree, (dict, tuple)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _every_leaf(part)
    else:
        yield tree


def _at(tree: Tree, keys: list[str]) -> Any:
    """Return the part of a tree under these keys; None below None."""
    for key in keys:
        if tree is None:
            return None
        tree = tree[key] if isinstance(tree, dict) else tree[int(key)]
    return tree


def _two(returned: Any, expected: str) -> Any:
    if isinstance(returned, tuple) and len(returned) == 2:
        return returned
    raise InputError(f"{expected}, got {type(returned).__name__}")


def _flat(specification: Specification, path: str = "") -> list[tuple[str, Parameter]]:
    parameters = []
    for name, part in specification.items():
        if isinstance(part, Parameter):
            parameters.append((path + name, part))
        else:
            parameters += _flat(part, f"{path}{name}.")
    return parameters


def _flat_arrays(tree: ParameterTree, path: str = "") -> list[tuple[str, Array]]:
    arrays = []
    for name, part in sorted(tree.items()):
        if isinstance(part, Mapping):
            arrays += _flat_arrays(dict(part), f"{path}{name}.")
        else:
            arrays.append((path + name, part))
    return arrays


def parameter_tree(arrays: dict[str, Array]) -> ParameterTree:
    """Collect the parameters among the inputs of a case into a layer's tree."""
    tree: ParameterTree = {}
    for name, array in arrays.items():
        if name.startswith(PARAMETER):
            *branches, leaf = name.removeprefix(PARAMETER).split(".")
            branch = tree
            for part in branches:
                branch = branch.setdefault(part, {})
            branch[leaf] = array
    return tree
