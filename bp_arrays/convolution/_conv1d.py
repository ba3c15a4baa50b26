"""The convolution of signals: one short kernel of weights at every time."""

from __future__ import annotations

from dataclasses import dataclass, field

from bp_arrays.checks import check_bool, check_integer, check_kind
from bp_arrays.convolution._convolved import check_groups, convolved, on_lines
from bp_arrays.convolution._geometry import (
    Pair,
    check_fits,
    check_line_padding,
    check_signal,
    line_windows_on,
)
from bp_arrays.initializers import GlorotUniform, Initializer, Zeros
from bp_arrays.kernels import Windows
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Conv1d(Layer):
    """Convolution of signals: the same short kernel w is applied at every time.

    a_nuo = Σ_ic x_n,su+di,c w_ico + b_o for the stride s and the dilation d. The kernel is not
    turned. Signals are (batch, time, channels).

    Parameters
    ----------
    out_channels : int
        Number of channels of the output; those of the input are inferred.
    kernel_size : int
        Length of the kernel.
    stride : int, default 1
        Distance between neighboring positions of the kernel.
    padding : "valid", "same", int or (int, int), default "valid"
        Zeros around the signal: none; as many as ⌈time / stride⌉ outputs need, the odd one at the
        end; or numbers for both ends, or (before, after). (d (kernel_size − 1), 0) makes the
        convolution causal.
    dilation : int, default 1
        Distance between neighboring points of the kernel.
    groups : int, default 1
        As for `Conv2d`.
    bias : bool, default True
        Whether b is added.
    weight_init : Initializer, default GlorotUniform()
        Draws w, of shape (kernel_size, in / groups, out).
    bias_init : Initializer, default Zeros()
        Draws b, of shape (out,).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (time, channels), the kernel does not fit on the padded signal, or `groups` does not
        divide the channels.

    Notes
    -----
    PyTorch has signals (batch, channels, time) and weights (out, in / groups, time).

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Conv1d(8, 5, padding="same"), input_shape=(100, 2), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items()}, model.output_shape
    ({'weight': (5, 2, 8), 'bias': (8,)}, (100, 8))
    """

    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int | Pair | str = "valid"
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    weight_init: Initializer = field(default_factory=GlorotUniform)
    bias_init: Initializer = field(default_factory=Zeros)

    def __post_init__(self) -> None:
        for name in ("out_channels", "kernel_size", "stride", "dilation", "groups"):
            check_integer(self, name, at_least=1)
        check_line_padding(self)
        check_bool(self, "bias")
        for name in ("weight_init", "bias_init"):
            check_kind(self, name, Initializer, "an initializer such as HeNormal()")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        where = f"Conv1d({self.out_channels})"
        check_signal(where, input_shape)
        time, channels = input_shape
        check_groups(where, self.groups, channels, self.out_channels)
        windows = self._windows(time)
        check_fits(where, (1, time), windows, input_shape)
        shape = (self.kernel_size, channels // self.groups, self.out_channels)
        parameters = {"weight": Parameter(shape, self.weight_init)}
        if self.bias:
            parameters["bias"] = Parameter((self.out_channels,), self.bias_init)
        return parameters, (windows.positions((1, time))[1], self.out_channels)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, windows = ctx.xp, self._windows(x.shape[1])
        of_images = params | {"weight": xp.expand_dims(params["weight"], axis=0)}
        a, lines_backward = on_lines(
            lambda image: convolved(image, of_images, windows, self.groups, ctx), x, ctx
        )

        def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
            dx, gradients = lines_backward(delta)
            if not ctx.needs_parameter_gradients:
                return dx, {}
            return dx, gradients | {"weight": xp.squeeze(gradients["weight"], axis=0)}

        return a, backward

    def _windows(self, time: int) -> Windows:
        return line_windows_on(time, self.kernel_size, self.stride, self.dilation, self.padding)
