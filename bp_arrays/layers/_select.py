"""`Select`: one of several arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import argument_error, array_error
from bp_arrays.layers._context import Context
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Backward, ParameterTree


@dataclass(frozen=True)
class Select(Layer):
    """One entry of a dict or tuple: y = x_k. The errors of the others are zero: None.

    Parameters
    ----------
    key : str or int
        The name of the entry of a dict, or the position in a tuple, counted from 0; negative
        positions count from the end.

    Raises
    ------
    InputError
        If the key is neither text nor a whole number; when the model is built, if there is no
        such entry.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Parallel(x=bp.Linear(2), y=bp.Linear(3)), bp.Select("y"))
    >>> bp.Model(net, input_shape=4, device="cpu").output_shape
    (3,)
    """

    passes_input_on: ClassVar[bool] = True

    key: str | int

    def __post_init__(self) -> None:
        if not isinstance(self.key, (str, int)) or isinstance(self.key, bool):
            raise argument_error("Select", "key", self.key, "a name, or a position such as 0")

    def init(self, input_shape: Tree) -> tuple[Specification, Tree]:
        where, is_name = f"Select({self.key!r})", isinstance(self.key, str)
        if is_shape(input_shape) or isinstance(input_shape, Mapping) is not is_name:
            expected = f"a dict with {self.key!r}" if is_name else "a tuple of arrays"
            raise array_error(where, "input", expected, described_tree(input_shape))
        try:
            return {}, input_shape[self.key]
        except (KeyError, IndexError):
            expected = f"an entry {self.key!r}"
            got = described_tree(input_shape)
            raise array_error(where, "input", expected, got) from None

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Tree, Backward]:
        def backward(delta: Tree) -> tuple[Tree, ParameterTree]:
            if isinstance(x, dict):
                return dict.fromkeys(x) | {self.key: delta}, {}
            k = int(self.key) % len(x)
            return (None,) * k + (delta,) + (None,) * (len(x) - k - 1), {}

        return x[self.key], backward
