"""The maths of a convolution with its bias, for images; signals are images with one line."""

from __future__ import annotations

from collections.abc import Callable

from bp_arrays.checks import array_error
from bp_arrays.kernels import (
    Windows,
    channel_sums,
    convolution,
    convolution_dw,
    convolution_dx,
    size_of,
)
from bp_arrays.layers import Context
from bp_arrays.typing import Array, Backward, ParameterTree


def convolved(
    x: Array, params: ParameterTree, windows: Windows, groups: int, ctx: Context
) -> tuple[Array, Backward]:
    """Return a = x ∗ w + b for images, and its backward; b only if it is among the parameters."""
    w, size, on_device = params["weight"], size_of(x), {"device": ctx.device, "xp": ctx.xp}
    a = convolution(x, w, windows, groups, **on_device)  # Σ_ijc x_n,su+di,sv+dj,c w_ijco
    if "bias" in params:
        a = a + params["bias"]

    def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
        dx = None
        if ctx.needs_input_gradient:  # δ convolved with the turned kernel
            dx = convolution_dx(delta, w, size, windows, groups, **on_device)
        if not ctx.needs_parameter_gradients:
            return dx, {}
        # ∂L/∂w_ijco = Σ_nuv x_n,su+di,sv+dj,c δ_nuvo, from the windows made again
        gradients = {"weight": convolution_dw(x, delta, windows, groups, **on_device)}
        if "bias" in params:
            gradients["bias"] = channel_sums(delta, **on_device)  # ∂L/∂b_o = Σ_nuv δ_nuvo
        return dx, gradients

    return a, backward


def on_lines(
    function: Callable[[Array], tuple[Array, Backward]], x: Array, ctx: Context
) -> tuple[Array, Backward]:
    """Run a function of images, and its backward, on signals: images with one line of pixels."""
    xp = ctx.xp
    y, image_backward = function(xp.expand_dims(x, axis=1))

    def backward(delta: Array) -> tuple[Array | None, ParameterTree]:
        dx, gradients = image_backward(xp.expand_dims(delta, axis=1))
        return None if dx is None else xp.squeeze(dx, axis=1), gradients

    return xp.squeeze(y, axis=1), backward


def check_groups(where: str, groups: int, channels: int, out_channels: int) -> None:
    """Check that the groups divide the channels of the input and of the output.

    Raises
    ------
    InputError
        Naming the layer, the groups and the channels.
    """
    if channels % groups or out_channels % groups:
        raise array_error(
            where,
            "input",
            f"channels in and out that {groups} groups divide",
            f"{channels} in and {out_channels} out",
            "change groups or out_channels",
        )
