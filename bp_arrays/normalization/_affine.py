"""The gain and the bias behind a normalization: y = g n + b."""

from __future__ import annotations

from bp_arrays.initializers import Ones, Zeros
from bp_arrays.layers import Parameter, Specification


def affine(channels: int, scale: bool, bias: bool) -> Specification:
    """Return the specifications of "scale" and "bias", those of them that a layer has."""
    parameters: Specification = {}
    if scale:
        parameters["scale"] = Parameter((channels,), Ones())
    if bias:
        parameters["bias"] = Parameter((channels,), Zeros())
    return parameters
