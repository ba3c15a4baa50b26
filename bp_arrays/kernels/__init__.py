"""Functions that the array API standard lacks, in standard form and in faster native forms."""

from bp_arrays.kernels._erfc import erfc
from bp_arrays.kernels._kernel import Kernel, standard_forms
from bp_arrays.kernels._logistic import logistic
from bp_arrays.kernels._precision import narrowed, wide_dtype, widened
from bp_arrays.kernels._sum_rows import sum_rows
from bp_arrays.kernels._threefry import random_bits, random_mask, threefry2x32

__all__ = [
    "Kernel",
    "erfc",
    "logistic",
    "narrowed",
    "random_bits",
    "random_mask",
    "standard_forms",
    "sum_rows",
    "threefry2x32",
    "wide_dtype",
    "widened",
]
