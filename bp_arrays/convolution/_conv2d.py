"""The convolution of images: one small kernel of weights at every position."""

from __future__ import annotations

from dataclasses import dataclass, field

from bp_arrays.checks import check_bool, check_integer, check_kind
from bp_arrays.convolution._convolved import check_groups, convolved
from bp_arrays.convolution._geometry import (
    Padding,
    Pair,
    check_fits,
    check_image,
    check_padding,
    check_pair,
    windows_on,
)
from bp_arrays.initializers import GlorotUniform, Initializer, Zeros
from bp_arrays.kernels import Windows, size_of
from bp_arrays.layers import Context, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Conv2d(Layer):
    """Convolution of images: the same small kernel w is applied at every position.

    a_nuvo = Σ_ijc x_n,su+di,sv+dj,c w_ijco + b_o for the stride s and the dilation d. The kernel is
    not turned, as in every library for neural networks. Images are (batch, height, width,
    channels).

    Parameters
    ----------
    out_channels : int
        Number of channels of the output; those of the input are inferred.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int or (int, int), default 1
        Distance between neighboring positions of the kernel.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default "valid"
        Zeros around the image: none; as many as ⌈size / stride⌉ outputs need, the odd line below
        and to the right; or numbers for all sides, for (height, width), or for
        ((above, below), (left, right)).
    dilation : int or (int, int), default 1
        Distance between neighboring points of the kernel.
    groups : int, default 1
        The channels are divided into that many parts, and each part of the output is computed from
        one part of the input. As many groups as input channels make a depthwise convolution.
    bias : bool, default True
        Whether b is added.
    weight_init : Initializer, default GlorotUniform()
        Draws w, of shape (kernel height, kernel width, in / groups, out).
    bias_init : Initializer, default Zeros()
        Draws b, of shape (out,).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if a sample is
        not (height, width, channels), the kernel does not fit on the padded image, or `groups` does
        not divide the channels.

    Notes
    -----
    PyTorch has images (batch, channels, height, width) and weights (out, in / groups, height,
    width); its padding="same" exists for stride 1 only and is the same there. Keras and ONNX
    (SAME_UPPER) pad as this layer does.

    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, 2016.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Conv2d(8, 3), input_shape=(28, 28, 1), device="cpu")
    >>> {name: w.shape for name, w in model.parameters.items()}, model.output_shape
    ({'weight': (3, 3, 1, 8), 'bias': (8,)}, (26, 26, 8))
    """

    out_channels: int
    kernel_size: int | Pair
    stride: int | Pair = 1
    padding: int | Pair | Padding = "valid"
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
        check_integer(self, "groups", at_least=1)
        check_bool(self, "bias")
        for name in ("weight_init", "bias_init"):
            check_kind(self, name, Initializer, "an initializer such as HeNormal()")

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        where = f"Conv2d({self.out_channels})"
        check_image(where, input_shape)
        height, width, channels = input_shape
        check_groups(where, self.groups, channels, self.out_channels)
        windows = self._windows((height, width))
        check_fits(where, (height, width), windows, input_shape)
        shape = (*windows.kernel, channels // self.groups, self.out_channels)
        parameters = {"weight": Parameter(shape, self.weight_init)}
        if self.bias:
            parameters["bias"] = Parameter((self.out_channels,), self.bias_init)
        return parameters, (*windows.positions((height, width)), self.out_channels)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        return convolved(x, params, self._windows(size_of(x)), self.groups, ctx)

    def _windows(self, size: Pair) -> Windows:
        """Return the positions of the kernel on images (height, width)."""
        fields = (self.kernel_size, self.stride, self.dilation, self.padding)
        return windows_on(size, *fields)  # type: ignore[arg-type]  # pairs since __post_init__
