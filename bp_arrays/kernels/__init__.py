"""Functions that the array API standard lacks, in standard form and in faster native forms."""

from bp_arrays.kernels import (
    _native_convolution as _native_convolution,
    _numpy_convolution as _numpy_convolution,
)
from bp_arrays.kernels._add_rows import add_rows
from bp_arrays.kernels._convolution import convolution, convolution_dw, convolution_dx
from bp_arrays.kernels._erfc import erfc
from bp_arrays.kernels._kernel import Kernel, loop_of, standard_forms
from bp_arrays.kernels._logistic import logistic
from bp_arrays.kernels._pooling import window_maximum, window_maximum_dx, window_sum, window_sum_dx
from bp_arrays.kernels._precision import narrowed, wide_dtype, widened
from bp_arrays.kernels._scan import scan
from bp_arrays.kernels._sum_rows import sum_rows
from bp_arrays.kernels._threefry import random_bits, random_mask, random_mask_part, threefry2x32
from bp_arrays.kernels._windows import Windows, channel_sums, repeated, size_of

__all__ = [
    "Kernel",
    "Windows",
    "add_rows",
    "channel_sums",
    "convolution",
    "convolution_dw",
    "convolution_dx",
    "erfc",
    "logistic",
    "loop_of",
    "narrowed",
    "random_bits",
    "random_mask",
    "random_mask_part",
    "repeated",
    "scan",
    "size_of",
    "standard_forms",
    "sum_rows",
    "threefry2x32",
    "wide_dtype",
    "widened",
    "window_maximum",
    "window_maximum_dx",
    "window_sum",
    "window_sum_dx",
]
