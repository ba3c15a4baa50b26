"""Covers: sums over many rows, in both forms, against exact sums."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bp_arrays.kernels import standard_forms, sum_rows

SHAPES = [(1, 3), (64, 2), (65, 3), (100, 1), (1023, 2), (2, 67, 3), (2, 3, 81, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_forms_are_the_sum(shape, device, dtype):
    x = np.random.default_rng(0).normal(size=shape)
    here = device.asarray(x, dtype)
    rounded = device.to_numpy(here).astype(np.float64)
    exact = np.empty((*shape[:-2], shape[-1]))
    for index in np.ndindex(exact.shape):
        exact[index] = math.fsum(rounded[(*index[:-1], slice(None), index[-1])])
    tolerance = 8 * np.finfo(dtype).eps * math.sqrt(shape[-2])
    with standard_forms():
        standard = sum_rows(here, device=device.native, xp=device.xp)
    for total in (standard, sum_rows(here, device=device.native, xp=device.xp)):
        assert total.dtype == here.dtype
        np.testing.assert_allclose(device.to_numpy(total), exact, rtol=tolerance, atol=tolerance)


def test_100000_equal_rows_keep_their_digits():
    """Row after row, as NumPy adds them, the sum is off by 1.4e-4."""
    x = np.full((100_003, 2), 0.1, np.float32)
    exact = 100_003 * float(np.float32(0.1))
    assert abs(float(np.sum(x, axis=0)[0]) / exact - 1.0) > 1e-4
    np.testing.assert_allclose(sum_rows(x, device=None, xp=np), exact, rtol=1e-6)
