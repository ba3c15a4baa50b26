"""Convolution by the operators of PyTorch and JAX.

The arrays stay as they are: PyTorch is given views with the axes in its order, which it calls
channels-last memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bp_arrays.kernels._convolution import convolution, convolution_dw, convolution_dx
from bp_arrays.kernels._windows import Pair, Windows
from bp_arrays.typing import Array, Namespace

# -- PyTorch: images (batch, channels, height, width), kernels (out, in / groups, kh, kw) ----------


@convolution.native("torch")
def _(
    x: Array, w: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    import torch

    x, padding = _torch_padded(x.permute(0, 3, 1, 2), windows)
    with _exact():
        y = torch.nn.functional.conv2d(
            x, w.permute(3, 2, 0, 1), None, windows.stride, padding, windows.dilation, groups
        )
    return y.permute(0, 2, 3, 1)


@convolution_dx.native("torch")
def _(
    delta: Array,
    w: Array,
    size: Pair,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
) -> Array:
    batch, channels = delta.shape[0], w.shape[2] * groups
    # only its shape is read
    x = w.new_zeros(1).expand(batch, *size, channels).permute(0, 3, 1, 2)
    x, padding = _torch_padded(x, windows)
    w = w.permute(3, 2, 0, 1)
    dx = _torch_gradients(delta, x, w, windows, padding, groups, of_x=True)
    if padding == (0, 0):
        (above, _), (left, _) = windows.padding
        dx = dx[:, :, above : above + size[0], left : left + size[1]]
    return dx.permute(0, 2, 3, 1)


@convolution_dw.native("torch")
def _(
    x: Array, delta: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    shape = (delta.shape[3], x.shape[3] // groups, *windows.kernel)
    w = delta.new_zeros(1).expand(shape)  # only its shape is read
    x, padding = _torch_padded(x.permute(0, 3, 1, 2), windows)
    dw = _torch_gradients(delta, x, w, windows, padding, groups, of_x=False)
    return dw.permute(2, 3, 1, 0)


def _torch_gradients(
    delta: Array, x: Array, w: Array, windows: Windows, padding: Pair, groups: int, *, of_x: bool
) -> Array:
    import torch

    with _exact():
        dx, dw, _ = torch.ops.aten.convolution_backward(
            delta.permute(0, 3, 1, 2),
            x,
            w,
            None,
            windows.stride,
            padding,
            windows.dilation,
            False,
            (0, 0),
            groups,
            (of_x, not of_x, False),
        )
    return dx if of_x else dw


def _torch_padded(x: Array, windows: Windows) -> tuple[Array, Pair]:
    """Return the image and the padding left for the operator, which pads both sides alike."""
    import torch

    (above, below), (left, right) = windows.padding
    if above == below and left == right:
        return x, (above, left)
    return torch.nn.functional.pad(x, (left, right, above, below)), (0, 0)


def _exact() -> Any:
    """Compute in the arrays' dtype: by default cuDNN rounds float32 to 10 bits (TF32)."""
    import torch

    cudnn = torch.backends.cudnn
    return cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False)


# -- JAX ---------------------------------------------------------------------------------------


@convolution.native("jax")
def _(
    x: Array, w: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    return _jax_convolution(windows, groups)(x, w)


@convolution_dx.native("jax")
def _(
    delta: Array,
    w: Array,
    size: Pair,
    windows: Windows,
    groups: int = 1,
    *,
    device: Any,
    xp: Namespace,
) -> Array:
    import jax

    # linear in x: its transpose needs no x
    x = jax.ShapeDtypeStruct((delta.shape[0], *size, w.shape[2] * groups), delta.dtype)
    convolve = _jax_convolution(windows, groups)
    (dx,) = jax.linear_transpose(lambda x: convolve(x, w), x)(delta)
    return dx


@convolution_dw.native("jax")
def _(
    x: Array, delta: Array, windows: Windows, groups: int = 1, *, device: Any, xp: Namespace
) -> Array:
    import jax

    shape = (*windows.kernel, x.shape[3] // groups, delta.shape[3])
    w = jax.ShapeDtypeStruct(shape, delta.dtype)
    convolve = _jax_convolution(windows, groups)
    (dw,) = jax.linear_transpose(lambda w: convolve(x, w), w)(delta)
    return dw


def _jax_convolution(windows: Windows, groups: int) -> Callable[[Array, Array], Array]:
    import jax

    def convolve(x: Array, w: Array) -> Array:
        return jax.lax.conv_general_dilated(
            x,
            w,
            windows.stride,
            windows.padding,
            rhs_dilation=windows.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            precision=jax.lax.Precision.HIGHEST,
        )

    return convolve
