"""Pairs of normalization layers and their PyTorch modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect_size
from bp_arrays.layers import Layer
from bp_arrays.normalization import LayerNorm, RMSNorm
from bp_arrays.typing import Shape


def _affine_of(layer: Any, arrays: Arrays) -> Arrays:
    """Return gain and bias under PyTorch's names; one of them alone is completed."""
    named = {"weight": arrays.get("scale"), "bias": arrays.get("bias")}
    if named["weight"] is None and named["bias"] is not None:
        named["weight"] = np.ones_like(named["bias"])
    return {name: array for name, array in named.items() if array is not None}


def _affine_here(layer: Any, arrays: Arrays) -> Arrays:
    """Return gain and bias under our names."""
    names = {"weight": "scale", "bias": "bias"}
    return {names[name]: array for name, array in arrays.items() if name in names}


def _eps(module: Any) -> float:
    if module.eps is None:
        raise InputError(
            f"{type(module).__name__}(eps=None): expected a number, such as "
            "torch.finfo(torch.float32).eps"
        )
    return float(module.eps)


def _layer_norm_settings(layer: LayerNorm, shape: Shape, layout: Layout) -> dict[str, Any]:
    return {
        "normalized_shape": shape[-1],
        "eps": layer.epsilon,
        "elementwise_affine": layer.scale or layer.bias,
        "bias": layer.bias,
    }


def _layer_norm(module: Any, shape: Shape, layout: Layout) -> Layer:
    if len(module.normalized_shape) != 1:
        raise InputError(
            f"LayerNorm(normalized_shape={tuple(module.normalized_shape)}): expected the last "
            "axis alone, as in the layer"
        )
    expect_size(module, module.normalized_shape[0], shape)
    has_scale, has_bias = module.weight is not None, module.bias is not None
    return LayerNorm(_eps(module), scale=has_scale, bias=has_bias)


def _rms_norm(module: Any, shape: Shape, layout: Layout) -> Layer:
    if len(module.normalized_shape) != 1:
        raise InputError(
            f"RMSNorm(normalized_shape={tuple(module.normalized_shape)}): expected the last axis "
            "alone, as in the layer"
        )
    expect_size(module, module.normalized_shape[0], shape)
    return RMSNorm(_eps(module), scale=module.weight is not None)


NORMALIZATION = (
    Pair(
        LayerNorm,
        "LayerNorm",
        _layer_norm_settings,
        _layer_norm,
        _affine_of,
        _affine_here,
        layout="last",
    ),
    Pair(
        RMSNorm,
        "RMSNorm",
        lambda layer, shape, layout: {
            "normalized_shape": shape[-1],
            "eps": layer.epsilon,
            "elementwise_affine": layer.scale,
        },
        _rms_norm,
        _affine_of,
        _affine_here,
        layout="last",
    ),
)
