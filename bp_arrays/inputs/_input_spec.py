"""`InputSpec`: the shape of one sample of an input, and its kind, numbers or indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.layers import IndexShape
from bp_arrays.trees import Tree, described_tree, is_shape, map_tree
from bp_arrays.typing import Shape

Kind = Literal["number", "index"]
KINDS = ("number", "index")

Inputs = Any
"""The inputs of a net: an InputSpec, or a tuple or dict of them."""


@dataclass(frozen=True)
class InputSpec:
    """The specification of one input of a net.

    Numbers are cast to the model's dtype. Indices (row numbers of a table, tokens of a text) stay
    integers all the way to the layer: int64, or int32 on a device without int64. Whole numbers
    passed as floats, such as 3.0 from a data frame, are converted; 3.5 and negative ones are
    refused, and the message names the row.

    Parameters
    ----------
    shape : tuple of int or int
        The shape of one sample, without the batch; () for one number or index per sample.
    kind : "number" or "index", default "number"
    size : int, optional
        For indices: the number of rows of the table, so that they must be below it. By default a
        model takes it from the `Embedding` to which they are passed.

    Raises
    ------
    InputError
        For a shape that is not made of positive integers, an unknown kind, or a size for numbers.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> bp.InputSpec((28, 28))
    InputSpec(shape=(28, 28), kind='number', size=None)
    >>> bp.InputSpec((), "index", size=1000)
    InputSpec(shape=(), kind='index', size=1000)
    """

    shape: Shape
    kind: Kind = "number"
    size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", as_shape(self.shape, "InputSpec(shape)"))
        if self.kind not in KINDS:
            raise InputError(f"InputSpec(kind): expected 'number' or 'index', got {self.kind!r}")
        if self.size is None:
            return
        if self.kind == "number":
            raise InputError(f"InputSpec(size={self.size!r}): expected kind='index' with a size")
        if not _is_integer(self.size) or self.size < 1:
            raise InputError(f"InputSpec(size): expected a positive integer, got {self.size!r}")
        object.__setattr__(self, "size", int(self.size))

    @property
    def is_index(self) -> bool:
        """True if this input holds indices."""
        return self.kind == "index"


def as_shape(shape: Any, argument: str) -> Shape:
    """Return the shape of one sample as a tuple of positive Python integers.

    Raises
    ------
    InputError
        If it is not made of positive integers.
    """
    sizes = (shape,) if _is_integer(shape) else shape
    if not isinstance(sizes, (tuple, list)) or not all(_is_integer(n) and n > 0 for n in sizes):
        raise InputError(f"{argument}: expected positive integers, got {shape!r}")
    return tuple(int(n) for n in sizes)


def as_inputs(inputs: Any, argument: str = "input_shape") -> Inputs:
    """Return the inputs of a net as an InputSpec, or a tuple or dict of them.

    A tuple of integers is one shape; any other tuple is a tuple of inputs.

    Raises
    ------
    InputError
        If it is not a shape, an InputSpec, or a tuple or dict of them.

    Examples
    --------
    >>> as_inputs((28, 28)) == InputSpec((28, 28))
    True
    >>> as_inputs({"age": 1, "image": (28, 28)})["age"]
    InputSpec(shape=(1,), kind='number', size=None)
    """
    if isinstance(inputs, InputSpec):
        return inputs
    if isinstance(inputs, Mapping):
        _check_names(inputs, argument)
        return {name: _as_spec(part, f"{argument}[{name!r}]") for name, part in inputs.items()}
    if isinstance(inputs, tuple) and not all(map(_is_integer, inputs)):
        if len(inputs) and all(isinstance(part, (tuple, list, InputSpec, int)) for part in inputs):
            return tuple(_as_spec(part, f"{argument}[{k}]") for k, part in enumerate(inputs))
        raise InputError(f"{argument}: expected positive integers, got {inputs!r}")
    return InputSpec(as_shape(inputs, argument))


def shapes_of(inputs: Inputs) -> Any:
    """Return the shape of one sample of each input, as `Layer.init` expects it.

    That of an input of indices is an `IndexShape`.

    Examples
    --------
    >>> shapes_of({"age": InputSpec(1), "image": InputSpec((28, 28))})
    {'age': (1,), 'image': (28, 28)}
    """
    return map_tree(
        lambda spec: IndexShape(spec.shape, spec.size) if spec.is_index else spec.shape, inputs
    )


def only_shape(inputs: Inputs, function: str, *, indices: bool = False) -> Shape:
    """Return the shape of the only input, for functions that take one input.

    Parameters
    ----------
    inputs : InputSpec, or a tuple or dict of them
    function : str
        Its name in the message.
    indices : bool, default False
        Whether an input of indices will do; its shape is an `IndexShape`.

    Raises
    ------
    InputError
        Naming the function, if there are several inputs or indices.
    """
    if isinstance(inputs, InputSpec) and (indices or not inputs.is_index):
        shape: Shape = shapes_of(inputs)
        return shape
    kind, others = ("one input", "") if indices else ("one input of numbers", " and indices")
    raise InputError(
        f"{function}: expected a model with {kind}, got one that takes {described(inputs)}; "
        f"several inputs{others} are not supported"
    )


def only_output(output_shape: Tree, function: str) -> Shape:
    """Return the shape of the only output, for functions that support no more.

    Raises
    ------
    InputError
        Naming the function, if there are several outputs.
    """
    if is_shape(output_shape):
        shape: Shape = output_shape
        return shape
    raise InputError(
        f"{function}: expected a model with one output, got one whose output is "
        f"{described_tree(output_shape)}; end the net with Select(...) to choose one of them"
    )


def described(inputs: Inputs) -> str:
    """Describe the inputs of a net in words: "a dict of ids, image"."""
    if isinstance(inputs, dict):
        return f"a dict of {', '.join(map(str, inputs))}"
    if isinstance(inputs, tuple):
        return f"a tuple of {len(inputs)}"
    return "an array of indices" if inputs.is_index else "an array of numbers"


def _as_spec(part: Any, argument: str) -> InputSpec:
    return part if isinstance(part, InputSpec) else InputSpec(as_shape(part, argument))


def _check_names(inputs: Mapping[Any, Any], argument: str) -> None:
    if not inputs or not all(isinstance(name, str) for name in inputs):
        raise InputError(f"{argument}: expected names for the inputs, got {list(inputs)!r:.80}")


def _is_integer(n: Any) -> bool:
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool)
