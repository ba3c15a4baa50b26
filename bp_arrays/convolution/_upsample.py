"""Larger images: repeated pixels, or values between them."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.checks import check_choice
from bp_arrays.convolution._geometry import Pair, check_image, check_pair
from bp_arrays.kernels import Windows, repeated, window_sum
from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape


@dataclass(frozen=True)
class Upsample(Layer):
    """A larger image: every pixel repeated (nearest), or values between the pixels (bilinear).

    (batch, height, width, channels) becomes (batch, height · factor, width · factor, channels).
    The error of a pixel is the sum of the errors of its copies, or of the weights with which it is
    part of the values around it.

    Parameters
    ----------
    factor : int or (int, int), default 2
        How many times as many pixels down and across.
    mode : "nearest" or "bilinear", default "nearest"
        Between pixel centers, "bilinear" is linear in each direction; beyond the outermost centers
        it is constant.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (height, width, channels).

    Notes
    -----
    As PyTorch's Upsample with align_corners=False, Keras' UpSampling2D and ONNX's Resize with
    half_pixel.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Upsample((1, 2), "bilinear"), input_shape=(1, 2, 1), device="cpu")
    >>> model.predict(np.asarray([[[[0.0], [4.0]]]])).ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """

    factor: int | Pair = 2
    mode: str = "nearest"

    def __post_init__(self) -> None:
        check_pair(self, "factor")
        check_choice(self, "mode", ("nearest", "bilinear"))

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        check_image("Upsample", input_shape)
        (height, width, channels), (down, across) = input_shape, self._factors
        return {}, (height * down, width * across, channels)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, factors = ctx.xp, self._factors
        if self.mode == "bilinear":
            for axis, factor in zip((1, 2), factors, strict=True):
                x = _between(x, factor, axis, xp)
            return x, lambda delta: (self._bilinear_dx(delta, xp), {})

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            copies = Windows(factors, factors)  # all copies of a pixel are a window
            return window_sum(delta, copies, device=ctx.device, xp=xp), {}

        return repeated(x, factors, xp=xp), backward

    def _bilinear_dx(self, delta: Array, xp: Namespace) -> Array:
        for axis, factor in zip((2, 1), reversed(self._factors), strict=True):
            delta = _between_dx(delta, factor, axis, xp)
        return delta

    @property
    def _factors(self) -> Pair:
        return self.factor  # type: ignore[return-value]  # a pair since __post_init__


def _offsets(factor: int) -> list[float]:
    """Return where the new centers are, from the center of the pixel they lie in, in pixels."""
    return [(k + 0.5) / factor - 0.5 for k in range(factor)]


def _between(x: Array, factor: int, axis: int, xp: Namespace) -> Array:
    """Return y at the offsets e: (1 − |e|) x_i + |e| x_i±1; beyond the edge, the pixel itself."""
    last = x.shape[axis]
    first, final = _cut(x, axis, 0, 1), _cut(x, axis, last - 1, last)
    before = xp.concat([first, _cut(x, axis, 0, last - 1)], axis=axis)
    after = xp.concat([_cut(x, axis, 1, last), final], axis=axis)
    parts = [(1.0 - abs(e)) * x + abs(e) * (before if e < 0.0 else after) for e in _offsets(factor)]
    y = xp.stack(parts, axis=axis + 1)
    return xp.reshape(y, (*x.shape[:axis], last * factor, *x.shape[axis + 1 :]))


def _between_dx(delta: Array, factor: int, axis: int, xp: Namespace) -> Array:
    """Return ∂L/∂x_i: each δ goes to its pixel times 1 − |e|, to the neighbor times |e|."""
    last = delta.shape[axis] // factor
    whole = (slice(None),) * (axis + 1)
    delta = xp.reshape(delta, (*delta.shape[:axis], last, factor, *delta.shape[axis + 1 :]))
    own, before, after = 0.0, 0.0, 0.0
    for k, e in enumerate(_offsets(factor)):
        error = delta[(*whole, k, ...)]
        own = own + (1.0 - abs(e)) * error
        before, after = (
            (before + abs(e) * error, after) if e < 0.0 else (before, after + abs(e) * error)
        )
    if factor == 1:  # e = 0: the pixels themselves
        return own
    first, final = _cut(before, axis, 0, 1), _cut(after, axis, last - 1, last)
    before = xp.concat([_cut(before, axis, 1, last), final], axis=axis)
    after = xp.concat([first, _cut(after, axis, 0, last - 1)], axis=axis)
    return own + before + after


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    return x[(*(slice(None),) * axis, slice(start, stop), ...)]
