"""`Layer`: the contract of a layer. A new layer is one small class that fulfills it.

A layer is a description: a frozen dataclass whose fields are its whole configuration. Its arrays
live in the model and are passed to it. Its forward pass returns its output *and the function that
propagates the error back through it*:

    y, backward = layer.forward(params, x, ctx)
    dx, dparams = backward(delta)

where, for a loss L, delta = ∂L/∂y has the shape of y, dx = ∂L/∂x the shape of x, and dparams
holds ∂L/∂p for every trainable parameter p under p's own name. A backward assumes nothing about
its neighbors: neither which loss follows nor which layer precedes it.

A complete layer, one gain for each feature, h = g x:

    @dataclass(frozen=True)
    class Gain(Layer):
        def init(self, input_shape):
            return {"gain": Parameter(input_shape, Ones())}, input_shape

        def forward(self, params, x, ctx):
            xp, g = ctx.xp, params["gain"]

            def backward(delta):
                return delta * g, {"gain": xp.sum(delta * x, axis=0)}

            return x * g, backward

x and y are arrays, or tuples or dicts of arrays: `init` then receives and returns shapes nested in
the same way, and delta and dx are nested like y and x. None in place of an error stands for zeros:
of indices, which have no derivative, and of an output that does not reach the loss. A container
does not pass None to a part's backward; it returns None for the part's dx and gradients.

A container is a layer of layers. `parts()` names the layers in it, `init` nests their parameters
under these names, and `forward` runs each with `ctx.forward(name, layer, params, x)`:

    @dataclass(frozen=True)
    class Sum(Layer):
        left: Layer
        right: Layer

        def parts(self):
            return {"left": self.left, "right": self.right}

        def init(self, input_shape):
            left, output_shape = self.left.init(input_shape)
            right, _ = self.right.init(input_shape)
            return {"left": left, "right": right}, output_shape

        def forward(self, params, x, ctx):
            left, left_backward = ctx.forward("left", self.left, params, x)
            right, right_backward = ctx.forward("right", self.right, params, x)

            def backward(delta):
                dx_left, dleft = left_backward(delta)
                dx_right, dright = right_backward(delta)
                return dx_left + dx_right, {"left": dleft, "right": dright}

            return left + right, backward
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bp_arrays.checks import array_error
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Array, Backward, ParameterTree, Shape

if TYPE_CHECKING:
    from bp_arrays.initializers import Initializer
    from bp_arrays.layers._context import Context


@dataclass(frozen=True)
class Parameter:
    """The specification of one parameter array, which the model stores for a layer.

    Parameters
    ----------
    shape : tuple of int
        The shape of the array.
    initializer : Initializer
        Draws the first values, on the host, the same for every device. Those whose spread depends
        on the connections take a weight (in, out), and every axis before the last two for the
        receptive field of a convolution. For weights (members, in, out) of several units side by
        side write `Stacked(GlorotUniform())`.
    trainable : bool, default True
        False for values that optimizers do not change, such as the means of `Standardize`;
        backward returns no gradient for them.
    positive : bool, default False
        Whether `Model.set_parameters` and files refuse values that are not finite and > 0.
    non_negative : bool, default False
        The same for values that are not >= 0, such as variances, which may be infinite.
    """

    shape: Shape
    initializer: Initializer
    trainable: bool = True
    positive: bool = False
    non_negative: bool = False


Specification = dict[str, Any]
"""Parameters by name; a container nests the specifications of its parts."""


@dataclass(frozen=True)
class Layer:
    """Base class of layers: a function of arrays with parameters, and its derivative."""

    computes_in_float32: ClassVar[bool] = False
    """Whether the layer computes in float32 in a model with a `compute_dtype`, as BatchNorm does.
    It then receives its parameters in float32, x in either dtype, and returns dx in the dtype of x
    and the gradients in that of the parameters. By default all are in the compute dtype."""

    passes_input_on: ClassVar[bool] = False
    """Whether the layer does not compute with x, but passes it on, as a container does to its
    parts. In a model with a `compute_dtype`, samples are rounded by the first layers for which
    this is False, so that one that computes in float32 receives them as they are."""

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        """Return the parameters for inputs of this shape, and the output shape.

        Shapes exclude the batch axis. By default the input is one array, there are no parameters
        and the shape is unchanged.
        """
        check_one_array(self, input_shape)
        return {}, input_shape

    def parts(self) -> Mapping[str, Layer]:
        """Return the layers in this one, by the names in `init`; none by default.

        A part named "" has the parameters of this layer itself: they are not nested under a name.
        """
        return {}

    @property
    def index_size(self) -> int | None:
        """The number of rows of the table that indices as input of this layer select, or None.

        A model refuses indices that are not below it, if they are passed to this layer directly.
        """
        return None

    def __call__(self, x: Tree, params: Any = None) -> tuple[Tree, Backward]:
        """Return the output for a batch x and the backward function, for a pass by hand.

        It is `forward` with the context of x, as in prediction. A model does the same with the
        parameters it holds: `model.forward(x)`.

        Parameters
        ----------
        x : array (batch, ...), or tuple or dict of arrays
            Of any device; lists become NumPy.
        params : nested dict of arrays, optional
            The parameters, if the layer has any, under the names of `init`.

        Raises
        ------
        InputError, DeviceMismatchError
            If the layer does not accept x, parameters are missing or have another shape, or they
            are on another device than x.

        Examples
        --------
        >>> import bp_arrays as bp
        >>> h, backward = bp.Sigmoid()([[0.0, 0.0]])
        >>> da, _ = backward(h)
        >>> h.tolist(), da.tolist()
        ([[0.5, 0.5]], [[0.125, 0.125]])
        >>> bp.Linear(1)([[2.0, 3.0]], {"weight": [[1.0], [2.0]], "bias": [0.5]})[0].tolist()
        [[8.5]]
        """
        from bp_arrays.layers._direct_call import called

        return called(self, x, params)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        """Return the output for a batch x, and the function that propagates the error back.

        `layer(x, params)` is the same without a context.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")


def check_one_array(layer: Layer, input_shape: Tree) -> None:
    """Raise InputError if the input of a layer is a tuple or dict of arrays."""
    if not is_shape(input_shape):
        raise array_error(
            type(layer).__name__,
            "input",
            "one array",
            described_tree(input_shape),
            "put Concatenate(), Add() or Select(...) before it, or it in Parallel(...)",
        )
