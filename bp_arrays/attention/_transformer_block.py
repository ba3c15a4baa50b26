"""`TransformerBlock`: attention and a small network at each position, each on a residual path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bp_arrays.activations import GELU
from bp_arrays.attention._multi_head_attention import MultiHeadAttention, sequence_of
from bp_arrays.attention._positions import sequence_shape
from bp_arrays.checks import check_bool, check_integer, check_kind, check_number
from bp_arrays.initializers import GlorotUniform, Initializer
from bp_arrays.layers import Context, Dropout, Layer, Linear, Specification
from bp_arrays.normalization import LayerNorm
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class FeedForward(Layer):
    """Two fully connected layers on the last axis: y = f(x w_up + b_up) w_down + b_down.

    The hidden layer is `expansion` times as wide as the input, and the output as wide as the input.

    Parameters
    ----------
    expansion : int, default 4
    activation : Layer, default GELU()
        f.
    bias : bool, default True
        Whether b_up and b_down are added.
    weight_init, out_init : Initializer, default GlorotUniform()
        Draw "up.weight", (features, expansion features), and "down.weight", its transpose in shape.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        a single number.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, section 3.3, with ReLU.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.FeedForward(3), input_shape=(5, 2), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items() if "weight" in name}
    {'up.weight': (2, 6), 'down.weight': (6, 2)}
    """

    expansion: int = 4
    activation: Layer = field(default_factory=GELU)
    bias: bool = True
    weight_init: Initializer = field(default_factory=GlorotUniform)
    out_init: Initializer = field(default_factory=GlorotUniform)

    def __post_init__(self) -> None:
        check_integer(self, "expansion", at_least=1)
        check_kind(self, "activation", Layer, "a layer such as GELU()")
        check_bool(self, "bias")
        for name in ("weight_init", "out_init"):
            check_kind(self, name, Initializer, "an initializer such as Normal(0.02)")

    def parts(self) -> dict[str, Layer]:
        return {"activation": self.activation}

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        up, down = self._products(input_shape[-1] if input_shape else 1)
        up_parameters, hidden_shape = up.init(input_shape)
        activation_parameters, activated_shape = self.activation.init(hidden_shape)
        down_parameters, output_shape = down.init(activated_shape)
        specification = {"up": up_parameters, "down": down_parameters}
        if activation_parameters:
            specification["activation"] = activation_parameters
        return specification, output_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        up, down = self._products(x.shape[-1])
        a, up_backward = up.forward(params["up"], x, ctx)
        h, activation_backward = ctx.forward("activation", self.activation, params, a)
        y, down_backward = down.forward(params["down"], h, ctx.with_input_gradient)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            dh, down_gradients = down_backward(delta)
            da, activation_gradients = activation_backward(dh)
            dx, up_gradients = up_backward(da)
            gradients = {"up": up_gradients, "down": down_gradients}
            if activation_gradients:
                gradients["activation"] = activation_gradients
            return dx, gradients

        return y, backward

    def _products(self, features: int) -> tuple[Linear, Linear]:
        up = Linear(self.expansion * features, bias=self.bias, weight_init=self.weight_init)
        return up, Linear(features, bias=self.bias, weight_init=self.out_init)


@dataclass(frozen=True)
class TransformerBlock(Layer):
    """One block of a transformer, normalized first: h = x + attention(norm(x)), y = h + f(norm(h)).

    Both sums pass the error on unchanged, so that blocks can be stacked deep: a `LayerNorm` after
    the last one, before the output layer, completes them. The input is an array (batch, time,
    features) or the dict of a sequence, as for `MultiHeadAttention`; the output has its form.

    Parameters
    ----------
    heads : int
        A divisor of the number of features.
    expansion : int, default 4
        The width of the hidden layer of f, in units of the number of features.
    causal : bool, default False
        Whether a position takes up only itself and those before it.
    activation : Layer, default GELU()
        The activation of f.
    kv_heads : int, optional
        As for `MultiHeadAttention`.
    rotary : bool or RotaryPositions, default False
        As for `MultiHeadAttention`.
    bias : bool, default True
        Whether products and norms have a bias.
    dropout : float, default 0.0
        The rate of `Dropout` on the outputs of attention and of f.
    norm : Layer, default LayerNorm()
        The normalization, applied with its own parameters before attention and before f. Its bias
        is its own: `LayerNorm(bias=False)`.
    weight_init, out_init : Initializer, default GlorotUniform()
        `out_init` draws the weights of the two products whose outputs are added to the sequence,
        `weight_init` those of the other two. GPT-2 has Normal(0.02) for these and, for a number
        of blocks n, Normal(0.02 / √(2n)) for those.

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if samples are
        not sequences, or the heads do not divide the features.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017, with the norms first, as in GPT-2: Xiong et
    al., "On Layer Normalization in the Transformer Architecture", 2020. It is PyTorch's
    TransformerEncoderLayer(norm_first=True).

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.TransformerBlock(2), bp.TransformerBlock(2), bp.LayerNorm())
    >>> bp.Model(net, input_shape=(5, 8), device="cpu").output_shape
    (5, 8)
    """

    heads: int
    expansion: int = 4
    causal: bool = False
    activation: Layer = field(default_factory=GELU)
    kv_heads: int | None = None
    rotary: Any = False
    bias: bool = True
    dropout: float = 0.0
    norm: Layer = field(default_factory=LayerNorm)
    weight_init: Initializer = field(default_factory=GlorotUniform)
    out_init: Initializer = field(default_factory=GlorotUniform)

    def __post_init__(self) -> None:
        check_kind(self, "norm", Layer, "a layer such as LayerNorm()")
        check_number(self, "dropout", at_least=0.0, below=1.0)
        self.parts()  # raises if a field does not suit the part that has it

    def parts(self) -> dict[str, Layer]:
        attention = MultiHeadAttention(
            self.heads,
            kv_heads=self.kv_heads,
            causal=self.causal,
            bias=self.bias,
            rotary=self.rotary,
            weight_init=self.weight_init,
            out_init=self.out_init,
        )
        feed_forward = FeedForward(
            self.expansion, self.activation, self.bias, self.weight_init, self.out_init
        )
        dropout = {"dropout": Dropout(self.dropout)} if self.dropout else {}
        return {
            "norm1": self.norm,
            "attention": attention,
            "norm2": self.norm,
            "feed_forward": feed_forward,
            **dropout,
        }

    def init(self, input_shape: Any) -> tuple[Specification, Any]:
        shape, output_shape = sequence_of(self, input_shape)
        sequence_shape(self, shape)
        specifications = {name: part.init(shape)[0] for name, part in self.parts().items()}
        return {name: part for name, part in specifications.items() if part}, output_shape

    def forward(self, params: ParameterTree, x: Any, ctx: Context) -> tuple[Any, Backward]:
        parts, needs_dx = self.parts(), ctx.needs_input_gradient
        is_dict = isinstance(x, dict)
        sequence = x["x"] if is_dict else x

        def run(name: str, x: Any, needs_dx: bool = True) -> tuple[Any, Backward]:
            return ctx.forward(name, parts[name], params, x, needs_input_gradient=needs_dx)

        n1, norm1_backward = run("norm1", sequence, needs_dx)
        attended, attention_backward = run("attention", {**x, "x": n1} if is_dict else n1)
        f1, drop1_backward = self._dropped(attended["x"] if is_dict else attended, params, ctx)
        h = sequence + f1
        n2, norm2_backward = run("norm2", h)
        f2, feed_forward_backward = run("feed_forward", n2)
        f2, drop2_backward = self._dropped(f2, params, ctx)
        y = h + f2

        def backward(delta: Any) -> tuple[Any, ParameterTree]:
            gradients: ParameterTree = {}
            delta = delta["x"] if is_dict else delta
            dn2, gradients["feed_forward"] = feed_forward_backward(drop2_backward(delta)[0])
            dh, gradients["norm2"] = norm2_backward(dn2)
            dh = delta + dh  # the sum over both paths
            df1, _ = drop1_backward(dh)
            df1 = {**dict.fromkeys(x), "x": df1} if is_dict else df1
            dn1, gradients["attention"] = attention_backward(df1)
            dx, gradients["norm1"] = norm1_backward(dn1["x"] if is_dict else dn1)
            dx = dh + dx if needs_dx else None
            gradients = {name: part for name, part in gradients.items() if part}
            return {**dict.fromkeys(x), "x": dx} if is_dict else dx, gradients

        return {**x, "x": y} if is_dict else y, backward

    def _dropped(self, f: Array, params: ParameterTree, ctx: Context) -> tuple[Array, Backward]:
        if not self.dropout:
            return f, lambda delta: (delta, {})
        return ctx.forward("dropout", Dropout(self.dropout), params, f)
