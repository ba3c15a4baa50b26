"""Where each parameter lies in the model's vectors.

All trainable parameters of a model are one contiguous vector θ, all others a second one; each
layer's weight and bias are views of them. So an optimizer update is a handful of operations over
one array whatever the number of layers, and so are saving, moving and clipping by the norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from bp_arrays.errors import InputError
from bp_arrays.layers import Parameter, Specification
from bp_arrays.typing import Array, Namespace, ParameterTree, Shape, StateUpdates


@dataclass(frozen=True)
class Entry:
    """One parameter: its path in the tree of layers and its place in its vector."""

    path: tuple[str, ...]
    parameter: Parameter
    offset: int

    @cached_property
    def name(self) -> str:
        return ".".join(self.path)

    @cached_property
    def shape(self) -> Shape:
        return self.parameter.shape

    @cached_property
    def size(self) -> int:
        return math.prod(self.parameter.shape)


class Layout:
    """The places of all parameters of a net, in the order of its layers."""

    def __init__(self, specification: Specification) -> None:
        trainable: list[Entry] = []
        fixed: list[Entry] = []
        for path, parameter in _walk(specification, ()):
            entries = trainable if parameter.trainable else fixed
            offset = entries[-1].offset + entries[-1].size if entries else 0
            entries.append(Entry(path, parameter, offset))
        self.trainable = tuple(trainable)
        self.fixed = tuple(fixed)
        self.trainable_size = sum(entry.size for entry in trainable)
        self.fixed_size = sum(entry.size for entry in fixed)
        order = {path: k for k, (path, _) in enumerate(_walk(specification, ()))}
        self.entries = tuple(sorted(trainable + fixed, key=lambda e: order[e.path]))

    def tree(self, theta: Array, fixed: Array, xp: Namespace) -> ParameterTree:
        """The vectors cut into the nested dictionaries that layers take: views, no copies."""
        tree: ParameterTree = {}
        for vector, entries in ((theta, self.trainable), (fixed, self.fixed)):
            for entry in entries:
                branch = tree
                for part in entry.path[:-1]:
                    branch = branch.setdefault(part, {})
                branch[entry.path[-1]] = _cut(vector, entry, xp)
        return tree

    def named(self, theta: Array, fixed: Array, xp: Namespace) -> dict[str, Array]:
        """The same views under their public names, "0.weight"."""
        return {
            entry.name: _cut(theta if entry.parameter.trainable else fixed, entry, xp)
            for entry in self.entries
        }

    def with_updates(self, state: Array, updates: StateUpdates | None, xp: Namespace) -> Array:
        """Return the vector of parameters that are not trained, with new values for some.

        Parameters
        ----------
        state : array (others,)
        updates : dict of path to array, or None
            As `Context.update_state` collects them; without any, `state` itself is returned.

        Raises
        ------
        InputError
            For a name that is no such parameter, or another shape than the parameter's.
        """
        if not updates:
            return state
        entries = {entry.path: entry for entry in self.fixed}
        for path, value in updates.items():
            name = ".".join(path)
            if path not in entries:
                known = ", ".join(entry.name for entry in self.fixed) or "none"
                raise InputError(
                    f"update_state: {name!r} is no parameter of this net with trainable=False; "
                    f"these are: {known}"
                )
            if tuple(value.shape) != entries[path].shape:
                raise InputError(
                    f"update_state({name}): expected shape {entries[path].shape}, "
                    f"got {tuple(value.shape)}"
                )
        parts = [
            xp.reshape(xp.astype(updates[entry.path], state.dtype), (entry.size,))
            if entry.path in updates
            else state[entry.offset : entry.offset + entry.size]
            for entry in self.fixed
        ]
        return parts[0] if len(parts) == 1 else xp.concat(parts)

    def flat(self, gradients: ParameterTree, xp: Namespace) -> Iterator[Array]:
        """Yield the gradient of each trainable parameter as a vector, in the order of θ.

        Raises
        ------
        InputError
            If a layer's backward left out a gradient, or gave it another shape than its
            parameter's.
        """
        for entry in self.trainable:
            gradient = _find(gradients, entry)
            if tuple(gradient.shape) != entry.shape:
                raise InputError(
                    f"the backward of {entry.name!r} returned a gradient of shape "
                    f"{tuple(gradient.shape)} for a parameter of shape {entry.shape}"
                )
            yield xp.reshape(gradient, (entry.size,))

    def names(self, gradients: ParameterTree) -> dict[str, Array]:
        """Return nested gradients under their public names."""
        return {entry.name: _find(gradients, entry) for entry in self.trainable}

    def named_gradients(self, g: Array, xp: Namespace) -> dict[str, Array]:
        """Return the parts of a gradient by θ under their public names: views."""
        return {entry.name: _cut(g, entry, xp) for entry in self.trainable}

    def flatten(self, gradients: Mapping[str, Array], xp: Namespace) -> Array:
        """Return gradients by their public names as one vector with the layout of θ.

        Raises
        ------
        InputError
            For a parameter without a gradient, or a gradient of another shape.
        """
        parts = []
        for entry in self.trainable:
            if entry.name not in gradients:
                raise InputError(
                    f"flatten(gradients): expected one for each trainable parameter, "
                    f"{entry.name!r} is missing"
                )
            gradient = gradients[entry.name]
            if tuple(gradient.shape) != entry.shape:
                raise InputError(
                    f"flatten(gradients): {entry.name!r} expected shape {entry.shape}, "
                    f"got {tuple(gradient.shape)}"
                )
            parts.append(xp.reshape(gradient, (entry.size,)))
        return parts[0] if len(parts) == 1 else xp.concat(parts)


def _walk(
    specification: Mapping[str, object], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Parameter]]:
    for name, part in specification.items():
        if isinstance(part, Parameter):
            yield (*path, name), part
        elif isinstance(part, Mapping):
            yield from _walk(part, (*path, name))
        else:
            raise InputError(
                f"init() of a layer must give Parameters by name, but "
                f"{'.'.join((*path, name))!r} is {part!r}"
            )


def _cut(vector: Array, entry: Entry, xp: Namespace) -> Array:
    return xp.reshape(vector[entry.offset : entry.offset + entry.size], entry.shape)


def _find(gradients: ParameterTree, entry: Entry) -> Array:
    branch = gradients
    try:
        for part in entry.path:
            branch = branch[part]
    except (KeyError, TypeError, IndexError):
        raise InputError(
            f"the backward of the layer of {entry.name!r} returned no gradient for it; "
            "every trainable parameter needs one, under the parameter's own name"
        ) from None
    return branch
