"""The surroundings of a forward pass, and the one call by which a layer runs another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bp_arrays.typing import Array, Backward, ParameterTree

if TYPE_CHECKING:
    from bp_arrays.layers._layer import Layer
    from bp_arrays.random import Stream
    from bp_arrays.typing import Namespace


@dataclass(frozen=True)
class Context:
    """The surroundings of one forward pass, the same for every layer in it.

    Parameters
    ----------
    xp : namespace
        The array functions, looked up once a pass and handed down.
    device : object, default None
        The namespace's own device object, for creation functions (`device=ctx.device`).
    training : bool, default False
        Whether layers such as Dropout act as in training.
    needs_input_gradient : bool, default True
        False where nobody will use the derivative by this layer's input: a layer with
        parameters may then return None for it, which saves the first layer of a network
        one matrix product in three.
    random : Stream or None, default None
        Where a layer draws its random numbers; None where the pass has none to give.
    visit : function (layer, params, x, ctx) -> (y, backward), optional
        Runs each layer in place of `layer.forward`, which it may call: reports and exports see
        every layer on its way forward and, by wrapping `backward`, on its way back. `ctx.path` is
        the layer's path. None in training and prediction.
    path : str, default ""
        The path of the layer that runs, "2.left.0"; known only where there is a `visit`.
    container : Layer, optional
        The layer that runs; known only where there is a `visit`.
    """

    xp: Namespace
    device: Any = None
    training: bool = False
    needs_input_gradient: bool = True
    random: Stream | None = None
    visit: Visit | None = None
    path: str = ""
    container: Layer | None = None

    def forward(
        self,
        name: str,
        layer: Layer,
        params: ParameterTree,
        x: Array,
        *,
        needs_input_gradient: bool = True,
    ) -> tuple[Array, Backward]:
        """Run a part of a container: its output, and the function that propagates the error back.

        Parameters
        ----------
        name : str
            The part's name in the container's `parts()`; "" if its parameters are the
            container's own.
        layer : Layer
        params : nested dict of arrays
            The container's parameters; the part gets those under its name.
        x : array
        needs_input_gradient : bool, default True
            Whether the container uses the derivative by x. Where x is the container's own input,
            `ctx.needs_input_gradient` may save a matrix product; `backward` then may return None
            for it.

        Examples
        --------
        Two layers, one after the other, and the chain rule through both:

        >>> import numpy as np
        >>> from bp_arrays import Context, Linear, Tanh
        >>> ctx, params = Context(np), {"dense": {"weight": np.ones((2, 1)), "bias": np.zeros(1)}}
        >>> h, dense_backward = ctx.forward("dense", Linear(1), params, np.ones((1, 2)))
        >>> y, tanh_backward = ctx.forward("tanh", Tanh(), params, h)
        >>> dx, gradients = dense_backward(tanh_backward(np.ones((1, 1)))[0])
        >>> dx.shape, sorted(gradients)
        ((1, 2), ['bias', 'weight'])
        """
        own = params.get(name, {}) if name else params
        ctx = self
        if needs_input_gradient is not self.needs_input_gradient:
            ctx = self.with_input_gradient if needs_input_gradient else self._without
        if self.visit is None:
            return layer.forward(own, x, ctx)
        if self.container is not None and name not in self.container.parts():
            return layer.forward(own, x, ctx)  # in a container that keeps its parts to itself
        inner = replace(ctx, path=join(self.path, name), container=layer)
        return self.visit(layer, own, x, inner)

    @cached_property
    def with_input_gradient(self) -> Context:
        """The same surroundings for a layer whose input gradient somebody needs."""
        return self if self.needs_input_gradient else replace(self, needs_input_gradient=True)

    @cached_property
    def _without(self) -> Context:
        return replace(self, needs_input_gradient=False)


Visit = Callable[["Layer", ParameterTree, Array, Context], tuple[Array, Backward]]
"""(layer, its parameters, x, its context) -> (y, backward), as `layer.forward` returns them."""


def join(path: str, name: str) -> str:
    """Return the path of a part: "2" and "weight" are "2.weight"; an empty name adds nothing."""
    return f"{path}.{name}" if path and name else path or name
