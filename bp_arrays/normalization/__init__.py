"""Normalization layers: zero mean and unit variance over a batch, a sample or a group."""

from bp_arrays.normalization._batch_norm import BatchNorm
from bp_arrays.normalization._group_norm import GroupNorm
from bp_arrays.normalization._layer_norm import LayerNorm, RMSNorm

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm"]
