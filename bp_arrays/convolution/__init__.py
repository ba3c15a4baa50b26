"""Convolution, pooling and upsampling: layers for images and signals, channels last."""

from bp_arrays.convolution._conv1d import Conv1d
from bp_arrays.convolution._conv2d import Conv2d
from bp_arrays.convolution._conv_transpose2d import ConvTranspose2d
from bp_arrays.convolution._geometry import same_sides
from bp_arrays.convolution._global_pooling import GlobalAveragePool, GlobalMaxPool
from bp_arrays.convolution._pooling import AveragePool1d, AveragePool2d, MaxPool1d, MaxPool2d
from bp_arrays.convolution._upsample import Upsample

__all__ = [
    "AveragePool1d",
    "AveragePool2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MaxPool1d",
    "MaxPool2d",
    "Upsample",
    "same_sides",
]
