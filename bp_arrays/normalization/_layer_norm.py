"""Normalization of each position by itself: LayerNorm and RMSNorm, on the last axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from bp_arrays.checks import check_bool, check_number, last_axis
from bp_arrays.kernels import sum_rows
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.normalization._affine import affine
from bp_arrays.normalization._half_precision import in_float32
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Layer normalization: mean 0 and variance 1 over the features of each position.

        n = (x − m) / √(v + ε),   y = g n + b

    m and v are the mean and the variance of x over the last axis, for each position of each sample
    by itself, in training and in prediction alike. v is the mean of (x − m)², divided by the number
    of features (the biased variance), never E[x²] − E[x]², which loses all digits where the mean is
    large. In half precision the layer computes in float32.

    Parameters
    ----------
    epsilon : float, default 1e-5
        ε > 0, inside the root. PyTorch and ONNX have 1e-5 too, Keras 1e-3.
    scale : bool, default True
        Whether the trainable parameter "scale" exists: g, of shape (features,), initialized to 1.
    bias : bool, default True
        Whether the trainable parameter "bias" exists: b, of shape (features,), first 0.

    Raises
    ------
    InputError
        If a field is out of range; when the model is built, if a sample is a single number.

    Notes
    -----
    Ba, Kiros and Hinton, "Layer Normalization", 2016. PyTorch's `LayerNorm` may normalize several
    axes at once, this layer only the last.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.LayerNorm(epsilon=1e-12), input_shape=(4,), device="cpu")
    >>> model.predict([[1.0, 1.0, 3.0, 3.0]]).round(4).tolist()
    [[-1.0, -1.0, 1.0, 1.0]]
    """

    computes_in_float32: ClassVar[bool] = True

    epsilon: float = 1e-5
    scale: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        check_number(self, "epsilon", above=0.0)
        check_bool(self, "scale")
        check_bool(self, "bias")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return affine(last_axis("LayerNorm", input_shape), self.scale, self.bias), input_shape

    @in_float32
    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, size = ctx.xp, x.shape[-1]

        def mean(values: Array) -> Array:
            return xp.sum(values, axis=-1, keepdims=True) / size

        d = x - mean(x)
        r = 1.0 / xp.sqrt(mean(d * d) + self.epsilon)  # 1/√(v + ε), (..., 1)
        n = d * r
        y = n * params["scale"] if self.scale else n
        if self.bias:
            y = y + params["bias"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            delta, z = as_rows(delta, xp), as_rows(n, xp)
            delta_z = delta * z
            gradients = affine_gradients(self, delta, delta_z, ctx)
            if not ctx.needs_input_gradient:
                return None, gradients
            dn = delta * params["scale"] if self.scale else delta  # ∂L/∂n = δ g
            mean_dn, mean_dn_n = (mean_with_gain(self, params, v, xp) for v in (delta, delta_z))
            # every x moves m, which is the second term, and v, which is the third
            dx = as_rows(r, xp) * (dn - mean_dn - z * mean_dn_n)
            return xp.reshape(dx, tuple(n.shape)), gradients

        return y, backward


@dataclass(frozen=True)
class RMSNorm(Layer):
    """Root mean square normalization: mean square 1 over the features of each position.

        n = x / √(mean(x²) + ε),   y = g n

    The mean square is that of the last axis, for each position of each sample by itself. Nothing is
    subtracted and nothing is added: a LayerNorm without its mean and its bias. In half precision
    the layer computes in float32.

    Parameters
    ----------
    epsilon : float, default 1e-5
        ε > 0, inside the root. ONNX has 1e-5 too; PyTorch's default is the eps of the dtype, and
        models such as LLaMA have 1e-5 or 1e-6.
    scale : bool, default True
        Whether the trainable parameter "scale" exists: g, of shape (features,), initialized to 1.

    Raises
    ------
    InputError
        If a field is out of range; when the model is built, if a sample is a single number.

    Notes
    -----
    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.RMSNorm(epsilon=1e-12), (2,), device="cpu", dtype="float64")
    >>> model.predict([[1.0, 7.0]]).round(4).tolist()
    [[0.2, 1.4]]
    """

    computes_in_float32: ClassVar[bool] = True

    epsilon: float = 1e-5
    scale: bool = True

    def __post_init__(self) -> None:
        check_number(self, "epsilon", above=0.0)
        check_bool(self, "scale")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return affine(last_axis("RMSNorm", input_shape), self.scale, bias=False), input_shape

    @in_float32
    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, size = ctx.xp, x.shape[-1]

        def mean(values: Array) -> Array:
            return xp.sum(values, axis=-1, keepdims=True) / size

        r = 1.0 / xp.sqrt(mean(x * x) + self.epsilon)  # (..., 1)
        n = x * r
        y = n * params["scale"] if self.scale else n

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            delta, z = as_rows(delta, xp), as_rows(n, xp)
            delta_z = delta * z
            gradients = affine_gradients(self, delta, delta_z, ctx)
            if not ctx.needs_input_gradient:
                return None, gradients
            dn = delta * params["scale"] if self.scale else delta  # ∂L/∂n = δ g
            # every x moves the mean square, which is the second term
            dx = as_rows(r, xp) * (dn - z * mean_with_gain(self, params, delta_z, xp))
            return xp.reshape(dx, tuple(n.shape)), gradients

        return y, backward


def as_rows(values: Array, xp: Namespace) -> Array:
    """Return (positions, features): every position of every sample is a row."""
    return xp.reshape(values, (math.prod(values.shape[:-1]), values.shape[-1]))


def mean_with_gain(layer: Any, params: ParameterTree, rows: Array, xp: Namespace) -> Array:
    """Return 1/N Σ_j g_j of rows (positions, features), or without g: (positions, 1).

    With g it is a product of a matrix and a vector, faster than the product of numbers and its sum.
    """
    size = rows.shape[-1]
    if layer.scale:
        return rows @ xp.reshape(params["scale"], (size, 1)) / size
    return xp.sum(rows, axis=-1, keepdims=True) / size


def affine_gradients(layer: Any, delta: Array, delta_n: Array, ctx: Context) -> ParameterTree:
    """Return the gradients of y = g n + b from δ and δ n, (positions, features) both."""
    gradients = {}
    if layer.scale:  # ∂L/∂g_j = Σ δ_j n_j
        gradients["scale"] = sum_rows(delta_n, device=ctx.device, xp=ctx.xp)
    if getattr(layer, "bias", False):  # ∂L/∂b_j = Σ δ_j
        gradients["bias"] = sum_rows(delta, device=ctx.device, xp=ctx.xp)
    return gradients
