"""Functions that the array API standard lacks: a standard form, and native forms where one pays."""

from bp_arrays.kernels._erfc import erfc

__all__ = [
    "erfc",
]
