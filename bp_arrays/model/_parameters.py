"""`NamedParameters`: the parameters of a model by name; assignments reach the model."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from bp_arrays.errors import InputError, unknown_name
from bp_arrays.typing import Array

if TYPE_CHECKING:
    from bp_arrays.model._model import Model


class NamedParameters(MutableMapping[str, Array]):
    """The parameters of a model by name, as `Model.parameters` returns them.

    Reading a name gives the array of this moment; assigning to it, also by `-=`, sets it in the
    model, on every device. Names are those of the network: none can be added or deleted.

    An array that was read is a view of the model's memory if its library has arrays that can be
    written to: `model.parameters["0.weight"][0, 0] = 1.0` then changes the model, while JAX raises
    its own error. `dict(model.parameters)` keeps the arrays of this moment, and training never
    changes them.

    Raises
    ------
    InputError, DeviceMismatchError
        At an assignment: for an unknown name, another shape, numbers that are not finite, another
        device, or a scale that is not > 0. The model then keeps its value, unless the library wrote
        to its memory before the assignment, as NumPy does in `-=`.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1), 2, device="cpu", dtype="float64", seed=0)
    >>> model.parameters["weight"] = [[2.0], [3.0]]
    >>> _, gradients = model.gradients([[1.0, 2.0]], [[0.0]], bp.L2Loss())
    >>> model.parameters["weight"] -= 0.1 * gradients["weight"]
    >>> model.parameters["weight"].tolist()
    [[1.2], [1.4]]
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._entries = {entry.name: entry for entry in model.layout.entries}

    def __getitem__(self, name: str) -> Array:
        if name not in self._entries:
            raise UnknownParameterError(str(unknown_name("parameter", name, self._entries)))
        return self._model.parameter(self._entries[name])

    def __setitem__(self, name: str, value: Any) -> None:
        self._model.set_parameters({name: value}, finite=True)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several parameters; none of them if one does not fit."""
        self._model.set_parameters(dict(*args, **kwargs), finite=True)

    def belongs_to(self, model: Model) -> bool:
        """Return True if these are the parameters of this very model."""
        return self._model is model

    def __ior__(self, values: Any) -> NamedParameters:
        self.update(values)
        return self

    def __delitem__(self, name: str) -> NoReturn:
        raise InputError(
            f"del parameters[{name!r}]: expected no deletion, the names are those of the network; "
            "for another network make a new Model"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a pickle or copy holds the arrays, not the model


class UnknownParameterError(InputError, KeyError):
    """An unknown name; a KeyError too, as `in` and `get` of a mapping expect."""

    __str__ = InputError.__str__
