"""The surroundings of a forward pass, and the one call by which a layer runs another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from bp_arrays.typing import Array, Backward, ParameterTree

if TYPE_CHECKING:
    from bp_arrays.layers._layer import Layer
    from bp_arrays.random import Stream
    from bp_arrays.typing import Namespace, StateUpdates


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
    state_updates : dict or None, default None
        Where `update_state` puts its values; None where the pass changes no state.
    constants : dict or None, default None
        Where `constant` keeps its arrays from step to step; None where nothing may be kept.
    visit : function (layer, params, x, ctx) -> (y, backward), optional
        Runs each layer in place of `layer.forward`, which it may call: reports and exports see
        every layer on its way forward and, by wrapping `backward`, on its way back. None in
        training and prediction.
    trail : list of (str, Layer)
        The layers that run at this moment, the innermost last, by their names; kept by `forward`.
    """

    xp: Namespace
    device: Any = None
    training: bool = False
    needs_input_gradient: bool = True
    random: Stream | None = None
    state_updates: StateUpdates | None = None
    constants: dict[Any, Array] | None = None
    visit: Visit | None = None
    trail: list[tuple[str, Layer]] = field(default_factory=list, compare=False, repr=False)

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
        run = layer.forward
        if self.visit is not None:
            if self.trail and name not in self.trail[-1][1].parts():
                return run(own, x, ctx)  # in a container that keeps its parts to itself
            run = partial(self.visit, layer)
        elif not own or self.state_updates is None:
            return run(own, x, ctx)  # nobody asks for its path
        self.trail.append((name, layer))
        try:
            return run(own, x, ctx)
        finally:
            self.trail.pop()

    @property
    def path(self) -> tuple[str, ...]:
        """The names that lead from the net to the layer that runs, as its parameters bear them.

        Kept where somebody asks: for every layer where there is a `visit`, for layers with
        parameters where the pass changes state.
        """
        return tuple(name for name, _ in self.trail if name)

    def update_state(self, **values: Array) -> None:
        """Give parameters of this layer that are not trained new values, for after this step.

        Where the pass changes no state, as in prediction, nothing happens.

        Parameters
        ----------
        **values : arrays
            By the names that `init` gave them, of their shapes.
        """
        if self.state_updates is not None:
            self.state_updates.update({(*self.path, name): v for name, v in values.items()})

    def constant(self, values: tuple[float, ...], dtype: Any) -> Array:
        """Return numbers of the configuration as an array (values,) on the device.

        They are copied there once per training run, not once per step.
        """
        key = values, dtype
        if self.constants is not None and key in self.constants:
            return self.constants[key]
        array = self.xp.asarray(values, dtype=dtype, device=self.device)
        if self.constants is not None:
            self.constants[key] = array
        return array

    @cached_property
    def with_input_gradient(self) -> Context:
        """The same surroundings for a layer whose input gradient somebody needs."""
        return self if self.needs_input_gradient else replace(self, needs_input_gradient=True)

    @cached_property
    def _without(self) -> Context:
        return replace(self, needs_input_gradient=False)


Visit = Callable[["Layer", ParameterTree, Array, Context], tuple[Array, Backward]]
"""(layer, its parameters, x, its context) -> (y, backward), as `layer.forward` returns them."""
