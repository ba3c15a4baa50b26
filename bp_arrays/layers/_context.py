"""`Context`: the settings of a forward pass, and the call by which a container runs its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from bp_arrays.checks import array_error
from bp_arrays.devices import device_of_or_none
from bp_arrays.kernels import narrowed, wide_dtype
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array, Backward, ParameterTree

if TYPE_CHECKING:
    from bp_arrays.random import Stream
    from bp_arrays.typing import Namespace, StateUpdates


class AnyLayer(Protocol):
    """The part of `Layer` that a context uses; `_layer.py` imports this file, not it that one."""

    @property
    def computes_in_float32(self) -> bool: ...

    @property
    def passes_input_on(self) -> bool: ...

    def parts(self) -> Mapping[str, Any]: ...

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]: ...


@dataclass(frozen=True)
class Context:
    """The settings of one forward pass, shared by every layer in it.

    Parameters
    ----------
    xp : namespace
        The array functions, looked up once per pass.
    device : object, default None
        The device object of the namespace, for creation functions (`device=ctx.device`).
    training : bool, default False
        Whether layers such as Dropout act as in training.
    needs_input_gradient : bool, default True
        False if the derivative by this layer's input is not used: a layer with parameters may
        then return None for it, which saves the first layer of a network one matrix product in
        three.
    needs_parameter_gradients : bool, default True
        False if only the derivative by the input is used, as in `Model.jacobian`: a layer may then
        return {} for the gradients of its parameters, which saves every second matrix product.
    random : Stream or None, default None
        Source of random numbers; None in a pass without any, such as prediction.
    state_updates : dict or None, default None
        Collects the values of `update_state`; None in a pass that changes no state.
    constants : dict or None, default None
        Cache for the arrays of `constant`, reused from step to step; None for no cache.
    visit : function (layer, params, x, ctx) -> (y, backward), optional
        Called for each layer in place of `layer.forward`, which it may call: reports and exports
        observe the forward pass and, by wrapping `backward`, the backward pass of every layer.
        None in training and prediction.
    sum_dtype : dtype or None, default None
        The dtype of sums over many numbers, such as those of metrics: float64 where the device has
        it. By default float32 for half precision, else that of the numbers.
    x : array, or tuple or dict of arrays, default None
        The samples of the batch, as they entered the net, for losses and metrics; None in layers.
    compute_dtype : dtype or None, default None
        In mixed precision, the dtype to which `forward` rounds what layers receive in float32.
    loss_scale : 0-d array or None, default None
        In mixed precision with float16, the factor of the error δ in the net; by default one that
        suits the δ of the pass.
    trail : list of (str, Layer)
        The layers running at this moment with their names, innermost last; set by `forward`.
    """

    xp: Namespace
    device: Any = None
    training: bool = False
    needs_input_gradient: bool = True
    needs_parameter_gradients: bool = True
    random: Stream | None = None
    state_updates: StateUpdates | None = None
    constants: dict[Any, Array] | None = None
    visit: Visit | None = None
    sum_dtype: Any = None
    x: Any = field(default=None, compare=False, repr=False)
    compute_dtype: Any = None
    loss_scale: Any = None
    trail: list[tuple[str, AnyLayer]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, x: Tree) -> Context:
        """Return the context of a pass by hand: the functions and the device of these arrays.

        Parameters
        ----------
        x : array, or tuple or dict of arrays

        Raises
        ------
        InputError
            If it holds no array.

        Examples
        --------
        >>> import numpy as np
        >>> from bp_arrays import Context, Tanh
        >>> a = np.zeros((1, 2))
        >>> h, backward = Tanh().forward({}, a, Context.of(a))
        """
        array: Any = next(leaves(x), None)
        device = device_of_or_none(array)
        if device is not None:
            return cls(device.xp, device.native)
        if hasattr(array, "__array_namespace__"):  # of a library that is not registered, or traced
            return cls(array.__array_namespace__())
        raise array_error("Context.of", "x", "an array", type(array).__name__)

    def forward(
        self,
        name: str,
        layer: AnyLayer,
        params: ParameterTree,
        x: Array,
        *,
        needs_input_gradient: bool = True,
    ) -> tuple[Array, Backward]:
        """Run a part of a container; return its output and its backward function.

        Parameters
        ----------
        name : str
            The part's name in the container's `parts()`; "" if its parameters are the
            container's own.
        layer : Layer
        params : nested dict of arrays
            The container's parameters; the part receives those under its name.
        x : array
        needs_input_gradient : bool, default True
            Whether the container uses the derivative by x. If x is the container's own input,
            pass `ctx.needs_input_gradient`: it may save a matrix product, and `backward` may then
            return None for the derivative by x.

        Returns
        -------
        y : array
        backward : function
            Takes δ = ∂L/∂y, returns ∂L/∂x and the gradients of the part's parameters.

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
        if self.compute_dtype is None or not self._has_float32(x):
            return self._forward(name, layer, params, x, needs_input_gradient)
        rounded = self.rounded_for(layer, x)
        y, backward = self._forward(name, layer, params, rounded, needs_input_gradient)
        return y, in_dtypes_of(x, backward, self.xp)

    def _forward(
        self,
        name: str,
        layer: AnyLayer,
        params: ParameterTree,
        x: Array,
        needs_input_gradient: bool,
    ) -> tuple[Array, Backward]:
        """Run a part of a container on x as it is."""
        part_params = params.get(name, {}) if name else params
        ctx = self
        if needs_input_gradient is not self.needs_input_gradient:
            ctx = self.with_input_gradient if needs_input_gradient else self._without_input_gradient
        run = layer.forward
        if self.visit is not None:
            if self.trail and name not in self.trail[-1][1].parts():
                return run(part_params, x, ctx)  # parts() of the container does not name it
            run = partial(self.visit, layer)
        elif not part_params or self.state_updates is None:
            return run(part_params, x, ctx)  # only `visit` and `update_state` need the path
        self.trail.append((name, layer))
        try:
            return run(part_params, x, ctx)
        finally:
            self.trail.pop()

    def rounded_for(self, layer: AnyLayer, x: Tree) -> Tree:
        """Return x in the dtype in which a layer receives it, in mixed precision."""
        if self.compute_dtype is None or layer.computes_in_float32 or layer.passes_input_on:
            return x
        xp, dtype = self.xp, self.compute_dtype
        return map_tree(lambda a: xp.astype(a, dtype) if a.dtype == xp.float32 else a, x)

    def _has_float32(self, x: Tree) -> bool:
        if isinstance(x, (dict, tuple)):
            return any(map(self._has_float32, leaves(x)))
        is_float32: bool = x.dtype == self.xp.float32
        return is_float32

    @property
    def path(self) -> tuple[str, ...]:
        """The names from the net to the running layer, as in the names of its parameters.

        Maintained for every layer if there is a `visit`, and for layers with parameters if the
        pass changes state.
        """
        return tuple(name for name, _ in self.trail if name)

    def update_state(self, **values: Array) -> None:
        """Set new values of non-trainable parameters of this layer, in effect after this step.

        Called in `forward`; a call in `backward` is refused. Does nothing in a pass that changes
        no state, such as prediction.

        Parameters
        ----------
        **values : arrays
            By the names of the parameters in `init`, in their shapes.
        """
        if self.state_updates is not None:
            self.state_updates.update({(*self.path, name): v for name, v in values.items()})

    def constant(self, values: tuple[float, ...], dtype: Any) -> Array:
        """Return numbers of the configuration as an array (values,) on the device.

        They are copied to the device once per training run, not once per step.
        """
        key = values, dtype
        if self.constants is not None and key in self.constants:
            return self.constants[key]
        array = self.xp.asarray(values, dtype=dtype, device=self.device)
        if self.constants is not None:
            self.constants[key] = array
        return array

    def sum_dtype_of(self, x: Array) -> Any:
        """Return `sum_dtype`; if it is None, float32 for x in half precision, else x's dtype."""
        return wide_dtype(x, self.xp) if self.sum_dtype is None else self.sum_dtype

    @cached_property
    def with_input_gradient(self) -> Context:
        """This context with `needs_input_gradient=True`."""
        return self if self.needs_input_gradient else replace(self, needs_input_gradient=True)

    @cached_property
    def _without_input_gradient(self) -> Context:
        return replace(self, needs_input_gradient=False)


def in_dtypes_of(x: Tree, backward: Backward, xp: Namespace) -> Backward:
    """Return a backward whose ∂L/∂x has the dtypes of x, for a layer that received x rounded."""

    def converted(x: Tree, dx: Tree) -> Tree:
        if dx is None:
            return None
        if isinstance(x, dict):
            return {name: converted(part, dx[name]) for name, part in x.items()}
        if isinstance(x, tuple):
            return tuple(converted(*pair) for pair in zip(x, dx, strict=True))
        return narrowed(dx, x.dtype, xp)

    def converted_backward(delta: Tree) -> tuple[Tree, ParameterTree]:
        dx, gradients = backward(delta)
        return converted(x, dx), gradients

    return converted_backward


Visit = Callable[[Any, ParameterTree, Array, Context], tuple[Array, Backward]]
"""(layer, its parameters, x, its context) -> (y, backward), as `layer.forward` returns them."""
