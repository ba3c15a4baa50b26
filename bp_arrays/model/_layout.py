"""`Layout`: the offset of each parameter in the model's vectors.

All trainable parameters of a model are one contiguous vector θ, all others a second one; each
layer's weight and bias are views of them. So an optimizer update is a few operations on one array
whatever the number of layers, and so are saving, moving and clipping by the norm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.layers import Parameter, Specification
from bp_arrays.typing import Array, Namespace, ParameterTree, Shape, StateUpdates


@dataclass(frozen=True)
class Entry:
    """One parameter: its path in the tree of layers and its offset in its vector."""

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
    """The entries of all parameters of a net, in the order of its layers."""

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
        """Return views of the vectors as the nested dictionaries that layers expect."""
        tree: ParameterTree = {}
        for vector, entries in ((theta, self.trainable), (fixed, self.fixed)):
            for entry in entries:
                branch = tree
                for part in entry.path[:-1]:
                    branch = branch.setdefault(part, {})
                branch[entry.path[-1]] = _cut(vector, entry, xp)
        return tree

    def named(self, theta: Array, fixed: Array, xp: Namespace) -> dict[str, Array]:
        """Return views of the vectors by their public names, "0.weight"."""
        return {
            entry.name: _cut(theta if entry.parameter.trainable else fixed, entry, xp)
            for entry in self.entries
        }

    def part(self, vector: Array, entry: Entry, xp: Namespace) -> Array:
        """Return one parameter as a view of its vector."""
        return _cut(vector, entry, xp)

    def with_values(
        self, vector: Array, entries: tuple[Entry, ...], values: Mapping[str, Array], xp: Namespace
    ) -> Array:
        """Return a new vector of these entries, with new values for those named in `values`."""
        if not any(entry.name in values for entry in entries):
            return vector
        parts = [
            xp.reshape(values[entry.name], (entry.size,))
            if entry.name in values
            else vector[entry.offset : entry.offset + entry.size]
            for entry in entries
        ]
        return xp.concat(parts)  # of a single part it is a copy, as concat always makes one

    def with_updates(self, state: Array, updates: StateUpdates | None, xp: Namespace) -> Array:
        """Return the vector of non-trainable parameters with new values for some of them.

        Parameters
        ----------
        state : array (others,)
        updates : dict of path to array, or None
            As collected by `Context.update_state`; if empty, `state` itself is returned.

        Raises
        ------
        InputError
            If a name is not a non-trainable parameter, or a value has the wrong shape.
        """
        if not updates:
            return state
        entries = {entry.path: entry for entry in self.fixed}
        for path, value in updates.items():
            name = ".".join(path)
            if path not in entries:
                known = ", ".join(entry.name for entry in self.fixed) or "none"
                raise InputError(
                    f"update_state({name}=): expected a parameter with trainable=False, one of "
                    f"{known}"
                )
            if not hasattr(value, "shape"):
                raise InputError(
                    f"update_state({name}=): expected an array of shape {entries[path].shape}, "
                    f"got {value!r:.80}"
                )
            if tuple(value.shape) != entries[path].shape:
                raise InputError(
                    f"update_state({name}=): expected shape {entries[path].shape}, "
                    f"got {tuple(value.shape)}"
                )
        parts = [
            xp.reshape(xp.astype(updates[entry.path], state.dtype), (entry.size,))
            if entry.path in updates
            else state[entry.offset : entry.offset + entry.size]
            for entry in self.fixed
        ]
        return parts[0] if len(parts) == 1 else xp.concat(parts)

    def flat(self, gradients: ParameterTree, theta: Array, xp: Namespace) -> Iterator[Array]:
        """Yield the gradient of each trainable parameter as a vector, in the order of θ.

        None in place of the gradients of a layer stands for zeros: its output does not reach the
        loss.

        Raises
        ------
        InputError
            If a layer's backward returned no gradient for a parameter, or one of another shape.
        """
        for entry in self.trainable:
            gradient = _find(gradients, entry)
            if gradient is None:
                gradient = xp.zeros_like(_cut(theta, entry, xp))
            if tuple(gradient.shape) != entry.shape:
                raise InputError(
                    f"backward of {entry.name!r}: expected a gradient of shape {entry.shape}, "
                    f"got {tuple(gradient.shape)}"
                )
            yield xp.reshape(gradient, (entry.size,))

    def names(self, gradients: ParameterTree, theta: Array, xp: Namespace) -> dict[str, Array]:
        """Return nested gradients by their public names, None as in `flat` as zeros."""
        named = {entry.name: _find(gradients, entry) for entry in self.trainable}
        return {
            entry.name: xp.zeros_like(_cut(theta, entry, xp))
            if named[entry.name] is None
            else named[entry.name]
            for entry in self.trainable
        }

    def named_gradients(self, g: Array, xp: Namespace) -> dict[str, Array]:
        """Return the parts of a gradient by θ, as views by their public names."""
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
                    f"flatten(gradients=): expected a gradient for each trainable parameter, "
                    f"{entry.name!r} is missing"
                )
            gradient = gradients[entry.name]
            if tuple(gradient.shape) != entry.shape:
                raise InputError(
                    f"flatten(gradients=): expected shape {entry.shape} for {entry.name!r}, "
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
                f"init() of a layer: expected Parameters by name, got {part!r} for "
                f"{'.'.join((*path, name))!r}"
            )


def _cut(vector: Array, entry: Entry, xp: Namespace) -> Array:
    return xp.reshape(vector[entry.offset : entry.offset + entry.size], entry.shape)


def _find(gradients: ParameterTree, entry: Entry) -> Array | None:
    """Return the gradient of a parameter; None for zeros."""
    branch: Any = gradients
    try:
        for part in entry.path:
            branch = branch[part]
            if branch is None:
                return None
    except (KeyError, TypeError, IndexError):
        raise InputError(
            f"backward of {entry.name!r}: expected a gradient for each trainable parameter, under "
            "its name, got none"
        ) from None
    return branch
