"""The transposed convolution of images: the backward of a convolution as a forward."""

from __future__ import annotations

from dataclasses import dataclass, field

from bp_arrays.checks import array_error, check_bool, check_integer, check_kind
from bp_arrays.convolution._convolved import check_groups
from bp_arrays.convolution._geometry import (
    Padding,
    Pair,
    check_image,
    check_padding,
    check_pair,
    windows_on,
)
from bp_arrays.initializers import GlorotUniform, Initializer, Zeros
from bp_arrays.kernels import (
    Windows,
    channel_sums,
    convolution,
    convolution_dw,
    convolution_dx,
    size_of,
)
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class ConvTranspose2d(Layer):
    """Transposed convolution of images: every pixel adds a multiple of the kernel to the output.

    a_n,su+di,sv+dj,o += x_nuvc w_ijco, plus b_o: the propagation of the error through a `Conv2d`
    with these settings, used as a forward pass. With a stride the image grows by about that
    factor. Images are (batch, height, width, channels).

    Parameters
    ----------
    out_channels : int
        Number of channels of the output; those of the input are inferred.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int or (int, int), default 1
        Distance in the output between neighboring pixels of the input.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default "valid"
        Lines cut off the output, in the forms of `Conv2d`: the output has
        (height − 1) stride + dilation (kernel − 1) + 1 lines less these; with "same" it has
        height · stride.
    output_padding : int or (int, int), default 0
        Lines added below and to the right, fewer than the stride: the size of a convolution with a
        stride is rounded, this tells which size it came from. Not with "same".
    dilation : int or (int, int), default 1
        Distance between neighboring points of the kernel.
    groups : int, default 1
        As for `Conv2d`.
    bias : bool, default True
        Whether b is added.
    weight_init : Initializer, default GlorotUniform()
        Draws w, of shape (kernel height, kernel width, in, out / groups).
    bias_init : Initializer, default Zeros()
        Draws b, of shape (out,).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (height, width, channels), nothing is left of the output, or `groups` does not divide
        the channels.

    Notes
    -----
    The sizes are those of PyTorch's ConvTranspose2d, whose weights are (in, out / groups, height,
    width); "same" is that of Keras, whose weights are (height, width, out, in).

    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 2016.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.ConvTranspose2d(8, 4, stride=2, padding=1)
    >>> bp.Model(net, input_shape=(7, 7, 16), device="cpu").output_shape
    (14, 14, 8)
    """

    out_channels: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: int | Pair | Padding = "valid"
    output_padding: int | Pair = 0
    dilation: int | Pair = 1
    groups: int = 1
    bias: bool = True
    weight_init: Initializer = field(default_factory=GlorotUniform)
    bias_init: Initializer = field(default_factory=Zeros)

    def __post_init__(self) -> None:
        check_integer(self, "out_channels", at_least=1)
        for name in ("kernel_size", "stride", "dilation"):
            check_pair(self, name)
        check_padding(self)
        check_pair(self, "output_padding", at_least=0)
        check_integer(self, "groups", at_least=1)
        check_bool(self, "bias")
        for name in ("weight_init", "bias_init"):
            check_kind(self, name, Initializer, "an initializer such as HeNormal()")
        self._check_output_padding()

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        where = f"ConvTranspose2d({self.out_channels})"
        check_image(where, input_shape)
        height, width, channels = input_shape
        check_groups(where, self.groups, channels, self.out_channels)
        size, windows = self._output((height, width))
        if min(size) < 1:
            raise array_error(
                where, "input", "an output of at least 1 x 1",
                f"{size[0]} x {size[1]} from shape {input_shape}", "use less padding",
            )  # fmt: skip
        shape = (*windows.kernel, channels, self.out_channels // self.groups)
        parameters = {"weight": Parameter(shape, self.weight_init)}
        if self.bias:
            parameters["bias"] = Parameter((self.out_channels,), self.bias_init)
        return parameters, (*size, self.out_channels)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, groups, on_device = ctx.xp, self.groups, {"device": ctx.device, "xp": ctx.xp}
        size, windows = self._output(size_of(x))
        w = xp.permute_dims(params["weight"], (0, 1, 3, 2))  # of the convolution from a to x
        a = convolution_dx(x, w, size, windows, groups, **on_device)
        if self.bias:
            a = a + params["bias"]

        def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
            # a is linear in x and w, as the derivative of that convolution is in δ and w: the roles
            # of the image and of the error are exchanged
            dx = None
            if ctx.needs_input_gradient:
                dx = convolution(delta, w, windows, groups, **on_device)
            if not ctx.needs_parameter_gradients:
                return dx, {}
            dw = convolution_dw(delta, x, windows, groups, **on_device)
            gradients = {"weight": xp.permute_dims(dw, (0, 1, 3, 2))}
            if self.bias:
                gradients["bias"] = channel_sums(delta, **on_device)  # ∂L/∂b_o = Σ_nuv δ_nuvo
            return dx, gradients

        return a, backward

    def _output(self, size: Pair) -> tuple[Pair, Windows]:
        """Return the size of the output, and the windows on it at which the input's pixels are."""
        kernel, stride, dilation, added = (
            self.kernel_size, self.stride, self.dilation, self.output_padding
        )  # fmt: skip
        if self.padding == "same":
            larger: Pair = (size[0] * stride[0], size[1] * stride[1])  # type: ignore[index]
        else:
            one = windows_on((1, 1), kernel, stride, dilation, self.padding)  # type: ignore[arg-type]
            lengths = [
                (size[k] - 1) * one.stride[k] + one.reach[k] - sum(one.padding[k]) + added[k]  # type: ignore[index]
                for k in (0, 1)
            ]
            larger = (lengths[0], lengths[1])
        return larger, windows_on(larger, kernel, stride, dilation, self.padding)  # type: ignore[arg-type]

    def _check_output_padding(self) -> None:
        added, stride = self.output_padding, self.stride
        too_much = added[0] >= stride[0] or added[1] >= stride[1]  # type: ignore[index]
        if too_much or (self.padding == "same" and added != (0, 0)):
            raise array_error(
                "ConvTranspose2d", "output_padding", 'less than the stride, and 0 with "same"',
                f"{added} with stride {stride} and padding {self.padding!r}",
            )  # fmt: skip
