"""`InPrecision`: a net that computes in half precision with parameters in float32."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any, ClassVar

from bp_arrays.kernels import narrowed
from bp_arrays.layers._context import Context
from bp_arrays.layers._ensemble import layers_by_path
from bp_arrays.layers._layer import Layer, Specification
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape

RANGE = (2.0**-100, 2.0**100)
"""No scale is chosen if the largest error is outside this range."""


@dataclass(frozen=True)
class InPrecision(Layer):
    """Mixed precision: float32 outside of a net, half precision inside.

    Forward, the parameters and the samples are rounded to the compute dtype, and the outputs
    widened to float32. Backward, the error is rounded, and the gradients and ∂L/∂x are widened. So
    a model with float32 parameters, its loss and its optimizer run the net as any other layer.

    In float16 the error is multiplied by a scale before it is rounded, and gradients and ∂L/∂x are
    divided by it: by the scale of the context, or in a pass without one by that power of two that
    brings the largest error to between 1 and 2.

    Layers that compute in float32 by themselves, such as the norms and `Standardize`, receive
    their parameters unrounded: running means updated in half precision would not move, as a
    change of less than 1/256 of a value is lost in bfloat16. Indices stay integers.

    Parameters
    ----------
    net : Layer
    compute_dtype : dtype
        That of float16 or bfloat16 on the device of the arrays.
    scales_errors : bool, default False
        True for float16.

    Notes
    -----
    Micikevicius et al., "Mixed Precision Training", ICLR 2018.
    """

    passes_input_on: ClassVar[bool] = True

    net: Layer
    compute_dtype: Any
    scales_errors: bool = False

    def parts(self) -> dict[str, Layer]:
        return {"": self.net}

    @property
    def index_size(self) -> int | None:
        return self.net.index_size

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return self.net.init(input_shape)

    def forward(self, params: ParameterTree, x: Tree, ctx: Context) -> tuple[Tree, Backward]:
        xp, dtype = ctx.xp, self.compute_dtype
        inside = replace(ctx, compute_dtype=dtype)
        y, net_backward = inside.forward(
            "",
            self.net,
            self._rounded(params, "", xp),
            x,
            needs_input_gradient=ctx.needs_input_gradient,
        )

        def backward(delta: Tree) -> tuple[Tree, ParameterTree]:
            scale = ctx.loss_scale
            if scale is None and self.scales_errors:
                scale = _suitable_scale(delta, xp)
            if scale is None:
                dx, gradients = net_backward(_rounded_error(y, delta, dtype, xp))
                return _widened(dx, dtype, xp), _widened(gradients, dtype, xp)
            delta = map_tree(lambda each: each * scale, delta)
            dx, gradients = net_backward(_rounded_error(y, delta, dtype, xp))
            return _unscaled(dx, scale, xp), _unscaled(gradients, scale, xp)

        return _widened(y, dtype, xp), backward

    def _rounded(self, params: ParameterTree, path: str, xp: Namespace) -> ParameterTree:
        """Return the parameters in the dtypes in which the layers receive them."""
        rounded = {}
        for name, value in params.items():
            if isinstance(value, dict):
                rounded[name] = self._rounded(value, f"{path}.{name}" if path else name, xp)
            else:
                dtype = value.dtype if path in self._in_float32 else self.compute_dtype
                rounded[name] = narrowed(value, dtype, xp)
        return rounded

    @cached_property
    def _in_float32(self) -> frozenset[str]:
        """The paths of the layers that compute in float32 by themselves."""
        layers = layers_by_path(self.net)
        return frozenset(path for path, layer in layers if layer.computes_in_float32)


def _rounded_error(y: Tree, delta: Tree, dtype: Any, xp: Namespace) -> Tree:
    """Return the errors of outputs in the compute dtype in that dtype; None stays None."""
    if delta is None:
        return None
    if isinstance(y, dict):
        return {name: _rounded_error(part, delta[name], dtype, xp) for name, part in y.items()}
    if isinstance(y, tuple):
        pairs = zip(y, delta, strict=True)
        return tuple(_rounded_error(part, error, dtype, xp) for part, error in pairs)
    return narrowed(delta, dtype, xp) if y.dtype == dtype else delta


def _widened(tree: Tree, dtype: Any, xp: Namespace) -> Tree:
    """Return arrays of the compute dtype in float32, others unchanged."""

    def widened(array: Array) -> Array:
        return xp.astype(array, xp.float32) if array.dtype == dtype else array

    return map_tree(widened, tree)


def _unscaled(tree: Tree, scale: Array, xp: Namespace) -> Tree:
    """Return arrays in float32, divided by the scale."""
    return map_tree(lambda array: narrowed(array, xp.float32, xp) / scale, tree)


def _suitable_scale(delta: Tree, xp: Namespace) -> Array | None:
    """Return the power of two that brings the largest error to between 1 and 2; None for none."""
    errors = [error for error in leaves(delta) if 0 not in error.shape]
    if not errors:
        return None
    largest = reduce(lambda a, b: xp.where(a < b, b, a), [xp.max(xp.abs(e)) for e in errors])
    is_usual = xp.logical_and(largest > RANGE[0], largest < RANGE[1])  # neither 0, NaN nor infinite
    exponent = xp.floor(xp.log(xp.where(is_usual, largest, 1.0)) / math.log(2.0))
    return 2.0**-exponent
