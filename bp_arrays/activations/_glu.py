"""Gated linear units: one half of the features opens or closes the other."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import array_error
from bp_arrays.kernels import logistic
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class GLU(Layer):
    """Gated linear unit: h = u σ(v), where [u, v] are the halves of the last axis.

    (..., 2n) becomes (..., n). The second half is the gate:

        ∂L/∂u = δ σ(v),   ∂L/∂v = δ u σ(v) (1 − σ(v))

    Raises
    ------
    InputError
        When the model is built, if the last axis is missing or odd.

    Notes
    -----
    Dauphin, Fan, Auli and Grangier, "Language Modeling with Gated Convolutional Networks", 2017.
    PyTorch's `GLU(dim=-1)` is the same.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Linear(2 * 8), bp.GLU())
    >>> bp.Model(net, input_shape=(3,), device="cpu").output_shape
    (8,)
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {}, _halved("GLU", input_shape)

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, n = ctx.xp, a.shape[-1] // 2
        u, v = a[..., :n], a[..., n:]
        gate = logistic(v, xp=xp)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            du = delta * gate
            return xp.concat([du, du * (u * (1.0 - gate))], axis=-1), {}

        return u * gate, backward


@dataclass(frozen=True)
class SwiGLU(Layer):
    """Gated linear unit with SiLU: h = v σ(v) u, where [v, u] are the halves of the last axis.

    (..., 2n) becomes (..., n). The *first* half is the gate, unlike in `GLU`:

        ∂L/∂v = δ u (σ(v) + v σ(v) (1 − σ(v))),   ∂L/∂u = δ v σ(v)

    The feed-forward part of LLaMA, down(silu(gate(x)) · up(x)) with three matrices, is

        Sequential(Linear(2 * hidden, bias=False), SwiGLU(), Linear(features, bias=False))

    where the first matrix holds those of the gate, w[:, :hidden], and of `up`, w[:, hidden:].

    Raises
    ------
    InputError
        When the model is built, if the last axis is missing or odd.

    Notes
    -----
    Shazeer, "GLU Variants Improve Transformer", 2020, where SwiGLU(x) = Swish(x W) ⊗ x V: the
    halves are in the order W, V.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.SwiGLU(), input_shape=(4,), device="cpu")
    >>> model.predict([[0.0, 100.0, 7.0, 0.5]]).tolist()
    [[0.0, 50.0]]
    """

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {}, _halved("SwiGLU", input_shape)

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, n = ctx.xp, a.shape[-1] // 2
        v, u = a[..., :n], a[..., n:]
        s = logistic(v, xp=xp)
        gate = v * s

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            dv = delta * u * (s + gate * (1.0 - s))
            return xp.concat([dv, delta * gate], axis=-1), {}

        return gate * u, backward


def _halved(where: str, input_shape: Shape) -> Shape:
    """Return the shape with half of the last axis."""
    if not input_shape or input_shape[-1] % 2 or input_shape[-1] < 2:
        advice = "put a Linear of twice the features before it"
        expected = "shape (..., features), an even number of features"
        raise array_error(where, "input", expected, tuple(input_shape), advice)
    return (*input_shape[:-1], input_shape[-1] // 2)
