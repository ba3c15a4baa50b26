"""Positions in a sequence: learned, sinusoidal, and rotary.

Attention is a sum over all positions, whose order it does not see. These layers tell it: the first
two add a vector for each position to the vectors of the sequence, the third one turns queries and
keys by an angle that grows with the position, so that their product depends on the distance.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

from bp_arrays.checks import check_bool, check_integer, check_kind, check_number
from bp_arrays.errors import InputError
from bp_arrays.initializers import Initializer, Normal
from bp_arrays.kernels import narrowed, sum_rows, wide_dtype, widened
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape


@dataclass(frozen=True)
class LearnedPositions(Layer):
    """A learned vector for each position, added to the sequence: y_t = x_t + w_t.

    ∂L/∂w_t = Σ_batch δ_t; of positions beyond the sequence it is 0.

    Parameters
    ----------
    length : int
        The number of positions: sequences (batch, time, features) may be this long.
    weight_init : Initializer, default Normal(0.02)
        Draws w, of shape (length, features).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if its
        sequences are longer than `length`.

    Notes
    -----
    Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2), with its
    standard deviation.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.LearnedPositions(8), input_shape=(6, 4), device="cpu")
    >>> model.parameters["weight"].shape, model.output_shape
    ((8, 4), (6, 4))
    """

    length: int
    weight_init: Initializer = field(default_factory=lambda: Normal(0.02))

    def __post_init__(self) -> None:
        check_integer(self, "length", at_least=1)
        check_kind(self, "weight_init", Initializer, "an initializer such as Normal(0.02)")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        time, features = sequence_shape(self, input_shape)
        if time > self.length:
            raise InputError(
                f"LearnedPositions({self.length}): expected sequences of at most {self.length} "
                f"positions, got {time}"
            )
        return {"weight": Parameter((self.length, features), self.weight_init)}, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, w = ctx.xp, params["weight"]
        time = x.shape[1]

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            rows = xp.reshape(widened(delta, xp), (delta.shape[0], time * x.shape[2]))
            dw = sum_rows(rows, device=ctx.device, xp=xp)  # ∂L/∂w_t = Σ_batch δ_t
            dw = narrowed(xp.reshape(dw, (time, x.shape[2])), delta.dtype, xp)
            if time < self.length:
                unused = (self.length - time, x.shape[2])
                dw = xp.concat([dw, xp.zeros(unused, dtype=dw.dtype, device=ctx.device)], axis=0)
            return delta, {"weight": dw}

        return x + w[:time, :], backward


@dataclass(frozen=True)
class SinusoidalPositions(Layer):
    """Sines and cosines of the position, added to the sequence: y = x + p, without parameters.

    Feature 2i is p_t,2i = sin θ and feature 2i + 1 is p_t,2i+1 = cos θ with the angle
    θ = t base^(−2i / features), t = 0, 1, ...: wavelengths from 2π to 2π base.

    Parameters
    ----------
    base : float, default 10000.0
        Greater than 1.

    Raises
    ------
    InputError
        If `base` is out of range; when the model is built, if samples are not sequences
        (time, features).

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.5. Some libraries put all sines
    before all cosines.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.SinusoidalPositions(), input_shape=(2, 4), device="cpu")
    >>> model.predict([[[0.0] * 4] * 2])[0].round(3).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8410000205039978, 0.5400000214576721, 0.009999999776482582, 1.0]]
    """

    base: float = 10000.0

    def __post_init__(self) -> None:
        check_number(self, "base", above=1.0)

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        sequence_shape(self, input_shape)
        return {}, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        time, features = x.shape[1:]
        pairs = _sines_and_cosines(x, (features + 1) // 2, features, self.base, ctx)
        p = ctx.xp.reshape(ctx.xp.stack(pairs, axis=-1), (time, features + features % 2))
        return x + p[:, :features], lambda delta: (delta, {})


@dataclass(frozen=True)
class RotaryPositions(Layer):
    """Pairs of features turned by an angle that grows with the position.

    A pair (u, v) at position t becomes (u cos θ − v sin θ, u sin θ + v cos θ), the i-th pair with
    θ = t base^(−2i / features). The derivative is a turn back, by −θ. The product of two turned
    vectors depends on the distance of their positions alone.

    In `MultiHeadAttention(rotary=True)` it turns the queries and keys of each head. As a layer
    it turns sequences (batch, ..., time, features).

    Parameters
    ----------
    base : float, default 10000.0
        Greater than 1.
    interleaved : bool, default False
        Which features are a pair: i and i + features/2 by default, 2i and 2i + 1 if True.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if the number
        of features is odd.

    Notes
    -----
    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, whose pairs
    are interleaved; the other order is that of GPT-NeoX, Llama and of ONNX's RotaryEmbedding with
    interleaved=0.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.RotaryPositions(), input_shape=(2, 2), device="cpu")
    >>> model.predict([[[1.0, 0.0], [1.0, 0.0]]])[0].round(2).tolist()  # by 0 and by 1 radian
    [[1.0, 0.0], [0.5400000214576721, 0.8399999737739563]]
    """

    base: float = 10000.0
    interleaved: bool = False

    def __post_init__(self) -> None:
        check_number(self, "base", above=1.0)
        check_bool(self, "interleaved")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        if len(input_shape) < 2 or input_shape[-1] % 2:
            raise InputError(
                "RotaryPositions: expected sequences with an even number of features, got samples "
                f"of shape {input_shape}"
            )
        return {}, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp = ctx.xp
        features = x.shape[-1]
        sin, cos = _sines_and_cosines(x, features // 2, features, self.base, ctx)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            return self._turned(delta, cos, -sin, xp), {}  # by −θ

        return self._turned(x, cos, sin, xp), backward

    def _turned(self, x: Array, cos: Array, sin: Array, xp: Namespace) -> Array:
        """Return (u cos θ − v sin θ, u sin θ + v cos θ) for each pair."""
        if self.interleaved:
            u, v = x[..., 0::2], x[..., 1::2]
            pairs = xp.stack([u * cos - v * sin, u * sin + v * cos], axis=-1)
            return xp.reshape(pairs, tuple(x.shape))
        half = x.shape[-1] // 2
        u, v = x[..., :half], x[..., half:]
        return xp.concat([u * cos - v * sin, u * sin + v * cos], axis=-1)


def _sines_and_cosines(
    x: Array, pairs: int, features: int, base: float, ctx: Context
) -> tuple[Array, Array]:
    """Return sin θ and cos θ of each position and pair, (time, pairs), in the dtype of x.

    On the device, in float32, the angle of position 1000 would be off by 1e-5 or more. Here about
    2 √time positions are computed in float64 on the host: with t = m a + b, of the angles α = θ of
    m a and β = θ of b, sin θ = sin α cos β + cos α sin β and cos θ = cos α cos β − sin α sin β.
    """
    xp, time = ctx.xp, x.shape[-2]
    m = math.isqrt(time - 1) + 1
    dtype, steps = wide_dtype(x, xp), (time - 1) // m + 1

    def table(count: int, step: int, shape: Shape) -> list[Array]:
        values = _of_positions(count, step, pairs, features, base)
        return [xp.reshape(ctx.constant(each, dtype), shape) for each in values]

    sin_a, cos_a = table(steps, m, (steps, 1, pairs))
    sin_b, cos_b = table(m, 1, (1, m, pairs))
    sin, cos = sin_a * cos_b + cos_a * sin_b, cos_a * cos_b - sin_a * sin_b
    sin, cos = (xp.reshape(each, (steps * m, pairs))[:time, :] for each in (sin, cos))
    return narrowed(sin, x.dtype, xp), narrowed(cos, x.dtype, xp)


@functools.lru_cache(maxsize=64)
def _of_positions(
    count: int, step: int, pairs: int, features: int, base: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return sin θ and cos θ of each pair at the positions 0, step, 2 step, ..."""
    positions = range(0, count * step, step)
    angles = [t * base ** (-2.0 * i / features) for t in positions for i in range(pairs)]
    return tuple(map(math.sin, angles)), tuple(map(math.cos, angles))


def sequence_shape(layer: Layer, shape: Shape) -> tuple[int, int]:
    """Return (time, features) of one sample, the shape that a layer of this room requires.

    Raises
    ------
    InputError
        Naming the layer, for any other shape.
    """
    if len(shape) != 2 or not all(isinstance(n, int) for n in shape):
        raise InputError(
            f"{type(layer).__name__}: expected samples of shape (time, features), got {shape}"
        )
    return shape
