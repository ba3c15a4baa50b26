"""`MultiHeadAttention`: each position of a sequence attends to the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bp_arrays.attention._positions import RotaryPositions, sequence_shape
from bp_arrays.checks import argument_error, check_bool, check_integer, check_kind
from bp_arrays.errors import InputError
from bp_arrays.initializers import GlorotUniform, Initializer
from bp_arrays.kernels import narrowed, widened
from bp_arrays.layers import Context, IndexShape, Layer, Linear, Specification
from bp_arrays.typing import Array, Backward, Namespace, ParameterTree, Shape


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """Self-attention: y = concat_heads(softmax(q kᵀ / √e) v) w_out + b_out.

    For each position x_t of a sequence and each head, one product gives a query q, a key k and a
    value v, vectors of e = features / heads numbers. The softmax of the products of a query with
    all keys says how much of each value is summed. The derivatives, for p = softmax(s):

        ∂L/∂v = pᵀ δ,   ∂L/∂p = δ vᵀ,   ∂L/∂s = p (∂L/∂p − Σ_keys p ∂L/∂p),
        ∂L/∂q = ∂L/∂s k / √e,   ∂L/∂k = (∂L/∂s)ᵀ q / √e

    The input is an array (batch, time, features), or a dict of it as "x" with "lengths" (batch,)
    or "mask" (batch, time), 1 or True at real positions: the keys of all others have no weight. A
    position for which no key is left gets zeros in place of the sum. For a dict input, the output
    is the same dict with "x" replaced.

    Parameters
    ----------
    heads : int
        A divisor of the number of features.
    kv_heads : int, optional
        The number of heads of keys and values, a divisor of `heads`: each serves
        heads / kv_heads heads of queries, consecutive ones. By default there are as many.
    causal : bool, default False
        Whether a position takes up only itself and those before it.
    bias : bool, default True
        Whether both products have a bias.
    rotary : bool or RotaryPositions, default False
        Whether queries and keys are turned by their positions.
    weight_init : Initializer, default GlorotUniform()
        Draws "qkv.weight", (features, (heads + 2 kv_heads) e). The biases start at 0.
    out_init : Initializer, default GlorotUniform()
        Draws "out.weight", (features, features).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if samples are
        not sequences, or the heads do not divide the features.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.2; grouped queries: Ainslie et
    al., "GQA", 2023. The columns of "qkv.weight" are queries, keys, values, each head by head, as
    in PyTorch, whose weights are transposed and whose mask is True where a key is ignored.
    For a position without keys PyTorch's MultiheadAttention gives NaN, its
    scaled_dot_product_attention and ONNX's Attention zeros, as here.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.MultiHeadAttention(2), input_shape=(5, 6), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items() if "weight" in name}
    {'qkv.weight': (6, 18), 'out.weight': (6, 6)}
    """

    heads: int
    kv_heads: int | None = None
    causal: bool = False
    bias: bool = True
    rotary: Any = False
    weight_init: Initializer = field(default_factory=GlorotUniform)
    out_init: Initializer = field(default_factory=GlorotUniform)

    def __post_init__(self) -> None:
        check_integer(self, "heads", at_least=1)
        if self.kv_heads is not None:
            check_integer(self, "kv_heads", at_least=1)
            if self.heads % self.kv_heads:
                divisor = f"a divisor of heads, {self.heads}"
                raise argument_error("MultiHeadAttention", "kv_heads", self.kv_heads, divisor)
        check_bool(self, "causal")
        check_bool(self, "bias")
        if not isinstance(self.rotary, RotaryPositions):
            check_bool(self, "rotary")
        for name in ("weight_init", "out_init"):
            check_kind(self, name, Initializer, "an initializer such as Normal(0.02)")

    def init(self, input_shape: Any) -> tuple[Specification, Any]:
        shape, output_shape = sequence_of(self, input_shape)
        _, features = sequence_shape(self, shape)
        if features % self.heads:
            raise InputError(
                f"MultiHeadAttention({self.heads}): expected features that {self.heads} heads "
                f"divide, got {features}"
            )
        if self._rotary is not None and features // self.heads % 2:
            raise InputError(
                f"MultiHeadAttention(rotary=): expected an even number of features per head, got "
                f"{features} for {self.heads} heads"
            )
        qkv, out = self._products(features)
        return {"qkv": qkv.init((features,))[0], "out": out.init((features,))[0]}, output_shape

    def forward(self, params: ParameterTree, x: Any, ctx: Context) -> tuple[Any, Backward]:
        if isinstance(x, dict):
            return on_sequence(self.forward_masked, params, x, ctx)
        return self.forward_masked(params, x, None, ctx)

    def forward_masked(
        self, params: ParameterTree, x: Array, mask: Array | None, ctx: Context
    ) -> tuple[Array, Backward]:
        """Return the output and its backward, for an array and a boolean mask of its keys."""
        qkv_product, out_product = self._products(x.shape[-1])
        a, qkv_backward = qkv_product.forward(params["qkv"], x, ctx)  # one product for q, k and v
        o, attend_backward = self.attend(a, mask, ctx)
        y, out_backward = out_product.forward(params["out"], o, ctx.with_input_gradient)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            do, out_gradients = out_backward(delta)
            dx, qkv_gradients = qkv_backward(attend_backward(do))
            return dx, {"qkv": qkv_gradients, "out": out_gradients}

        return y, backward

    def attend(
        self, a: Array, mask: Array | None, ctx: Context
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the sums of values of all heads, and the function from their error to that of a.

        Parameters
        ----------
        a : array (batch, time, (heads + 2 kv_heads) e)
            The queries, keys and values of all heads, side by side.
        mask : boolean array (batch, time), or None
            Whether a position is a key.
        ctx : Context
        """
        xp = ctx.xp
        heads, kv = self.heads, self._kv_heads
        batch, time, columns = a.shape
        size = columns // (heads + 2 * kv)
        group = (batch, kv, heads // kv * time)  # queries that share a key are rows of one matrix
        scale = 1.0 / math.sqrt(size)

        a = xp.permute_dims(xp.reshape(a, (batch, time, heads + 2 * kv, size)), (0, 2, 1, 3))
        qk, v = a[:, : heads + kv, ...], a[:, heads + kv :, ...]
        if mask is not None:  # a weight of 0 times NaN would be NaN
            v = xp.where(mask[:, None, :, None], v, 0.0)
        if self._rotary is not None:
            qk, turn_back = self._rotary.forward({}, qk, ctx)
        q, k = xp.reshape(qk[:, :heads, ...] * scale, (*group, size)), qk[:, heads:, ...]
        s = xp.reshape(q @ xp.matrix_transpose(k), (batch, heads, time, time))
        p = xp.reshape(self._softmax(s, mask, ctx), (*group, time))
        o = xp.reshape(p @ v, (batch, heads, time, size))
        o = xp.reshape(xp.permute_dims(o, (0, 2, 1, 3)), (batch, time, heads * size))

        def backward(do: Array) -> Array:
            do = xp.permute_dims(xp.reshape(do, (batch, time, heads, size)), (0, 2, 1, 3))
            do = xp.reshape(do, (*group, size))
            dv = xp.matrix_transpose(p) @ do  # summed over the queries that share v
            dp = do @ xp.matrix_transpose(v)
            ds = p * (dp - xp.sum(dp * p, axis=-1, keepdims=True))  # as in Softmax
            dq = xp.reshape((ds @ k) * scale, (batch, heads, time, size))
            dk = xp.matrix_transpose(ds) @ q  # q has the factor 1/√e
            if self._rotary is None:
                da = xp.concat([dq, dk, dv], axis=1)
            else:
                dqk, _ = turn_back(xp.concat([dq, dk], axis=1))
                da = xp.concat([dqk, dv], axis=1)
            return xp.reshape(xp.permute_dims(da, (0, 2, 1, 3)), (batch, time, columns))

        return o, backward

    @property
    def _kv_heads(self) -> int:
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def _rotary(self) -> RotaryPositions | None:
        if isinstance(self.rotary, RotaryPositions):
            return self.rotary
        return RotaryPositions() if self.rotary else None

    def _products(self, features: int) -> tuple[Linear, Linear]:
        """Return the products before and after attention."""
        columns = (self.heads + 2 * self._kv_heads) * (features // self.heads)
        qkv = Linear(columns, bias=self.bias, weight_init=self.weight_init)
        return qkv, Linear(features, bias=self.bias, weight_init=self.out_init)

    def _softmax(self, s: Array, mask: Array | None, ctx: Context) -> Array:
        """Return p of the scores (batch, heads, time, time), over the keys that may be seen."""
        xp, time, dtype = ctx.xp, s.shape[-1], s.dtype
        s = widened(s, xp)
        keep = None
        if self.causal:
            t = xp.arange(time, dtype=xp.int32, device=ctx.device)
            keep = t[:, None] >= t[None, :]  # the query's position, the key's
        if mask is not None:
            keys = mask[:, None, None, :]
            keep = keys if keep is None else xp.logical_and(keys, keep)
        if keep is not None:
            s = xp.where(keep, s, -math.inf)
        highest = xp.max(s, axis=-1, keepdims=True)
        if mask is not None:  # of a row without keys: −inf − (−inf) and 0 / 0 would be NaN
            highest = xp.where(highest == -math.inf, 0.0, highest)
        e = xp.exp(s - highest)
        total = xp.sum(e, axis=-1, keepdims=True)
        if mask is not None:
            total = xp.where(total == 0.0, 1.0, total)
        return narrowed(e / total, dtype, xp)


def sequence_of(layer: Layer, shape: Any) -> tuple[Shape, Any]:
    """Return the shape of the sequence in an input shape, and the output shape, both alike.

    Raises
    ------
    InputError
        Naming the layer, for a dict without "x", or with entries that the layer does not use.
    """
    if not isinstance(shape, dict):
        return shape, shape
    name = type(layer).__name__
    if "x" not in shape or not set(shape) <= {"x", "lengths", "mask"}:
        raise InputError(
            f'{name}: expected a dict of "x" and "lengths" or "mask", got one of '
            f"{', '.join(map(repr, shape))}"
        )
    sequence = shape["x"]
    for entry, expected in {"lengths": (), "mask": tuple(sequence[:1])}.items():
        if entry in shape and tuple(shape[entry]) != expected:
            raise InputError(
                f'{name}: expected {entry!r} of shape {expected} for "x" of shape {sequence}, '
                f"got {tuple(shape[entry])}"
            )
    lengths, time = shape.get("lengths"), sequence[0]
    if lengths is not None:
        size = lengths.size if isinstance(lengths, IndexShape) else None
        if size is None or size > time + 1:
            raise InputError(
                f"{name}: expected 'lengths' to be whole numbers up to {time}, "
                f'InputSpec((), "index", size={time + 1}), got '
                f"{'numbers' if not isinstance(lengths, IndexShape) else f'size={size}'}"
            )
    return sequence, shape


def on_sequence(
    forward: Any, params: ParameterTree, x: dict[str, Array], ctx: Context
) -> tuple[dict[str, Array], Backward]:
    """Run forward(params, array, mask, ctx) on the dict of a sequence; return a dict like it."""
    sequence = x["x"]
    y, array_backward = forward(params, sequence, key_mask(x, ctx.xp, ctx.device), ctx)

    def backward(delta: dict[str, Array]) -> tuple[dict[str, Array], ParameterTree]:
        dx, gradients = array_backward(delta["x"])
        return {**dict.fromkeys(x), "x": dx}, gradients

    return {**x, "x": y}, backward


def key_mask(x: dict[str, Array], xp: Namespace, device: Any) -> Array | None:
    """Return the mask (batch, time) of the real positions of a sequence; None if all are."""
    mask = None
    if "mask" in x:
        mask = xp.astype(x["mask"], xp.bool)
    if "lengths" in x:
        lengths = x["lengths"]
        t = xp.arange(x["x"].shape[1], dtype=lengths.dtype, device=device)
        is_real = t[None, :] < lengths[:, None]
        mask = is_real if mask is None else xp.logical_and(mask, is_real)
    return mask
