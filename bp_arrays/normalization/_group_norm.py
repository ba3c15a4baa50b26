"""GroupNorm: normalization of groups of channels of one sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_bool, check_integer, check_number, last_axis
from bp_arrays.kernels import sum_rows
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.normalization._affine import affine
from bp_arrays.normalization._half_precision import in_float32
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Group normalization: mean 0 and variance 1 over each group of channels of a sample.

        n = (x − m) / √(v + ε),   y = g n + b

    The channels are the last axis, cut into `groups` groups of neighbors. m and v are the mean and
    the variance of a group over its channels and over all positions of one sample, so the size of
    the batch has no effect, and training and prediction compute the same. One group is layer
    normalization of whole images; as many groups as channels is instance normalization.

    Parameters
    ----------
    groups : int
        The number of groups, a divisor of the number of channels.
    epsilon : float, default 1e-5
        ε > 0, inside the root. PyTorch and ONNX have 1e-5 too, Keras 1e-3.
    scale : bool, default True
        Whether the trainable parameter "scale" exists: g, of shape (channels,), first 1: one per
        channel, as in PyTorch, Keras and ONNX from opset 21 on; in opset 18 it is one per group.
    bias : bool, default True
        Whether the trainable parameter "bias" exists: b, of shape (channels,), first 0.

    Raises
    ------
    InputError
        If a field is out of range; when the model is built, if a sample is a single number or its
        channels cannot be divided into the groups.

    Notes
    -----
    Wu and He, "Group Normalization", 2018. v is the biased variance, the mean of (x − m)². In half
    precision the layer computes in float32.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.GroupNorm(2, epsilon=1e-12), input_shape=(4,), device="cpu")
    >>> model.predict([[1.0, 3.0, 10.0, 50.0]]).round(4).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    computes_in_float32: ClassVar[bool] = True

    groups: int
    epsilon: float = 1e-5
    scale: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        check_integer(self, "groups", at_least=1)
        check_number(self, "epsilon", above=0.0)
        check_bool(self, "scale")
        check_bool(self, "bias")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        channels = last_axis(f"GroupNorm({self.groups})", input_shape, "channels")
        if channels % self.groups:
            raise array_error(
                f"GroupNorm({self.groups})",
                "input",
                f"a number of channels that {self.groups} divides",
                channels,
            )
        return affine(channels, self.scale, self.bias), input_shape

    @in_float32
    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, channels = ctx.xp, x.shape[-1]
        shape, positions = tuple(x.shape), math.prod(x.shape[1:-1])
        grouped = (shape[0], self.groups, channels // self.groups)
        size = positions * (channels // self.groups)

        def total(values: Array) -> Array:  # over the positions: (batch, 1, channels)
            sums = sum_rows(values, device=ctx.device, xp=xp)
            return xp.expand_dims(sums, axis=1)

        def of_groups(sums: Array) -> Array:
            """Return for each channel the mean of its group, from the sums of the channels."""
            mean = xp.sum(xp.reshape(sums, grouped), axis=2, keepdims=True) / size
            return xp.reshape(xp.broadcast_to(mean, grouped), sums.shape)

        # the sums over the positions first, of each channel: they leave small arrays
        x = xp.reshape(x, (shape[0], positions, channels))
        d = x - of_groups(total(x))
        r = 1.0 / xp.sqrt(of_groups(total(d * d)) + self.epsilon)  # (batch, 1, channels)
        n = d * r
        y = n * params["scale"] if self.scale else n
        if self.bias:
            y = y + params["bias"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            delta = xp.reshape(delta, tuple(n.shape))
            db, dg = total(delta), total(delta * n)  # of each sample: (batch, 1, channels)
            gradients = {}
            if self.scale:  # ∂L/∂g_j = Σ δ_j n_j
                gradients["scale"] = xp.sum(dg, axis=(0, 1))
            if self.bias:  # ∂L/∂b_j = Σ δ_j
                gradients["bias"] = xp.sum(db, axis=(0, 1))
            if not ctx.needs_input_gradient:
                return None, gradients
            if self.scale:  # ∂L/∂n = δ g, and the same factor in both sums
                g = params["scale"]
                delta, db, dg = delta * g, db * g, dg * g
            # every x moves m of its group, which is the second term, and v: the third
            dx = r * (delta - of_groups(db) - n * of_groups(dg))
            return xp.reshape(dx, shape), gradients

        return xp.reshape(y, shape), backward
