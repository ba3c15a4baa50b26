"""Pairs of normalization layers and their PyTorch modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect_channels, expect_size
from bp_arrays.layers import Layer
from bp_arrays.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from bp_arrays.typing import Shape


def _affine_of(layer: Any, arrays: Arrays) -> Arrays:
    """Return gain and bias under PyTorch's names; one of them alone is completed."""
    named = {"weight": arrays.get("scale"), "bias": arrays.get("bias")}
    if named["weight"] is None and named["bias"] is not None:
        named["weight"] = np.ones_like(named["bias"])
    return {name: array for name, array in named.items() if array is not None}


def _affine_to_layer(layer: Any, arrays: Arrays) -> Arrays:
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


STATE = {"running_mean": "mean", "running_var": "variance"}


def _state_to_torch(layer: BatchNorm, arrays: Arrays) -> Arrays:
    """Return gain, bias and running values under PyTorch's names, and its count of batches."""
    state = {theirs: arrays[ours] for theirs, ours in STATE.items()}
    return _both_of(layer, arrays) | state | {"num_batches_tracked": np.asarray(0)}


def _state_to_layer(layer: BatchNorm, arrays: Arrays) -> Arrays:
    return _affine_to_layer(layer, arrays) | {
        ours: arrays[theirs] for theirs, ours in STATE.items()
    }


def _batch_norm(module: Any, shape: Shape, layout: Layout) -> Layer:
    if not module.track_running_stats:
        raise InputError(
            f"{type(module).__name__}(track_running_stats=False): expected running values, with "
            "which the layer predicts"
        )
    if module.momentum is None:
        raise InputError(
            f"{type(module).__name__}(momentum=None): expected a number; a mean over all batches "
            "is not supported"
        )
    expect_channels(module, module.num_features, shape)
    affine = bool(module.affine)
    return BatchNorm(module.momentum, module.eps, scale=affine, bias=affine)


def _batch_norm_of(axes: tuple[int, ...], name: str) -> Pair:
    """Return the pair for samples with so many axes."""
    return Pair(
        BatchNorm,
        name,
        lambda layer, shape, layout: {
            "num_features": shape[-1],
            "eps": layer.epsilon,
            "momentum": layer.momentum,
            "affine": layer.scale or layer.bias,
        },
        _batch_norm,
        _state_to_torch,
        _state_to_layer,
        layout="first",
        fits=lambda layer, shape: len(shape) in axes,
    )


def _group_norm(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect_channels(module, module.num_channels, shape)
    affine = bool(module.affine)
    return GroupNorm(module.num_groups, module.eps, scale=affine, bias=affine)


def _both_of(layer: Any, arrays: Arrays) -> Arrays:
    """Return gain and bias under PyTorch's names, both or neither."""
    affine = _affine_of(layer, arrays)
    if affine and "bias" not in affine:
        affine["bias"] = np.zeros_like(affine["weight"])
    return affine


NORMALIZATION = (
    _batch_norm_of((1, 2), "BatchNorm1d"),
    _batch_norm_of((3,), "BatchNorm2d"),
    _batch_norm_of((4,), "BatchNorm3d"),
    Pair(
        GroupNorm,
        "GroupNorm",
        lambda layer, shape, layout: {
            "num_groups": layer.groups,
            "num_channels": shape[-1],
            "eps": layer.epsilon,
            "affine": layer.scale or layer.bias,
        },
        _group_norm,
        _both_of,
        _affine_to_layer,
        layout="first",
    ),
    Pair(
        LayerNorm,
        "LayerNorm",
        _layer_norm_settings,
        _layer_norm,
        _affine_of,
        _affine_to_layer,
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
        _affine_to_layer,
        layout="last",
    ),
)
