"""BatchNorm: normalization of each channel over a batch, with running values for prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import array_error, check_bool, check_number, last_axis
from bp_arrays.initializers import Ones, Zeros
from bp_arrays.kernels import sum_rows
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.normalization._affine import affine
from bp_arrays.normalization._half_precision import in_float32
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization: mean 0 and variance 1 over a batch, for each channel.

        n = (x − m) / √(v + ε),   y = g n + b

    The channels are the last axis: (batch, features), (batch, time, channels) or (batch, height,
    width, channels). In training, m and v are the mean and the variance of a channel over all other
    axes, and the running values follow them:

        mean     ← (1 − μ) mean + μ m
        variance ← (1 − μ) variance + μ v N / (N − 1)

    with N the number of values of a channel in the batch. In prediction, `evaluate` and
    `Model.gradients`, m and v are the running values, and do not change.

    Parameters
    ----------
    momentum : float, default 0.1
        μ, 0 ≤ μ ≤ 1: the weight of the newest batch, as in PyTorch. Keras and ONNX have 1 − μ under
        this name, by default 0.99 and 0.9.
    epsilon : float, default 1e-5
        ε > 0, inside the root. PyTorch and ONNX have 1e-5 too, Keras 1e-3.
    scale : bool, default True
        Whether the trainable parameter "scale" exists: g, of shape (channels,), initialized to 1.
    bias : bool, default True
        Whether the trainable parameter "bias" exists: b, of shape (channels,), first 0.

    Raises
    ------
    InputError
        If a field is out of range; when the model is built, if a sample is a single number; in
        training, if a batch has one value per channel, which would be normalized to 0.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", 2015.

    - v divides by N (biased) where it normalizes and by N − 1 (unbiased) in the running variance,
      as in PyTorch. In Keras and ONNX the running variance is biased, too. v is the mean of
      (x − m)², never E[x²] − E[x]².
    - The parameters "mean" and "variance" are state (`trainable=False`), first 0 and 1: optimizers
      leave them alone, files keep them.
    - Every row counts the same in m and v: sample weights act on the loss only, and neither rows of
      weight 0 nor the padding of sequences are left out.
    - A last batch of few rows moves the running values as much as any other. A last batch of one
      row raises the error above: choose another batch size.
    - A bias just before it has no effect, because m contains it: write `Linear(n, bias=False)`. Its
      true gradient is 0; what rounding leaves of it has another sign on each device, and Adam,
      which divides by the size, makes full steps of it: such a bias drifts apart between devices,
      without an effect on the outputs in training.
    - In half precision the layer computes in float32; the running values are stored in the dtype
      of the model, where a variance above 65504 is infinite in float16.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.BatchNorm(), (1,), device="cpu", dtype="float64")
    >>> trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(0.1))
    >>> _ = trainer.step(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1)))
    >>> {name: model.parameters[name].round(3).tolist() for name in ("mean", "variance")}
    {'mean': [0.2], 'variance': [1.0]}
    """

    computes_in_float32: ClassVar[bool] = True

    momentum: float = 0.1
    epsilon: float = 1e-5
    scale: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        check_number(self, "momentum", at_least=0.0, at_most=1.0)
        check_number(self, "epsilon", above=0.0)
        check_bool(self, "scale")
        check_bool(self, "bias")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        channels = last_axis("BatchNorm", input_shape, "channels")
        return {
            **affine(channels, self.scale, self.bias),
            "mean": Parameter((channels,), Zeros(), trainable=False),
            "variance": Parameter((channels,), Ones(), trainable=False, non_negative=True),
        }, input_shape

    @in_float32
    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, channels = ctx.xp, x.shape[-1]

        def mean(values: Array) -> Array:  # over the batch and all positions: (channels,)
            rows = xp.reshape(values, (math.prod(values.shape[:-1]), channels))
            return sum_rows(rows, device=ctx.device, xp=xp) / rows.shape[0]

        if ctx.training:
            check_values(x.shape)
            m = mean(x)
            d = x - m
            v = mean(d * d)
            self._follow(params, m, v, math.prod(x.shape[:-1]), ctx)
        else:
            d, v = x - params["mean"], params["variance"]
        r = 1.0 / xp.sqrt(v + self.epsilon)  # n = d r, but n by itself is never needed
        k = r * params["scale"] if self.scale else r
        y = d * k  # g n
        if self.bias:
            y = y + params["bias"]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            size = math.prod(delta.shape[:-1])
            mean_delta, mean_delta_n = mean(delta), mean(delta * d) * r
            gradients = {}
            if self.scale:
                gradients["scale"] = size * mean_delta_n  # ∂L/∂g_j = Σ δ_j n_j
            if self.bias:
                gradients["bias"] = size * mean_delta  # ∂L/∂b_j = Σ δ_j
            if not ctx.needs_input_gradient:
                return None, gradients
            if ctx.training:  # every x moves m, which is the second term, and v: the third
                delta = delta - mean_delta - d * (r * mean_delta_n)
            return delta * k, gradients

        return y, backward

    def _follow(self, params: ParameterTree, m: Array, v: Array, size: int, ctx: Context) -> None:
        """Move the running values by a part μ of the way to those of the batch."""
        old, new = 1.0 - self.momentum, self.momentum
        unbiased = v * (size / (size - 1))
        ctx.update_state(
            mean=old * params["mean"] + new * m, variance=old * params["variance"] + new * unbiased
        )


def check_values(shape: Shape) -> None:
    """Raise InputError if a batch has one value per channel: its variance says nothing."""
    if math.prod(shape[:-1]) == 1:
        raise array_error(
            "BatchNorm",
            "x",
            "more than one value per channel in training",
            tuple(shape),
            "choose a batch size that leaves no single row over",
        )
