"""Convolution, pooling and upsampling: layers for images and signals, channels last."""

from bp_arrays.convolution._conv2d import Conv2d

__all__ = ["Conv2d"]
