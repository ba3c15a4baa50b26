"""Threefry against its published vectors, on every device, and against JAX's own."""

from __future__ import annotations

import numpy as np
import pytest

from bp_arrays.kernels import threefry2x32
from bp_arrays.kernels._threefry import rotated_left, signed

# Random123's kat_vectors, "threefry2x32 20": (counter, key, result).
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def unsigned(device, array):
    return device.to_numpy(array).astype(np.int32).view(np.uint32).tolist()


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_published_vectors(device, counter, key, expected):
    xp = device.xp
    x0, x1 = (xp.full((3,), signed(word), dtype=xp.int32, device=device.native) for word in counter)
    y0, y1 = threefry2x32(key, x0, x1)
    assert unsigned(device, y0) == [expected[0]] * 3
    assert unsigned(device, y1) == [expected[1]] * 3
    assert y0.dtype == y1.dtype == xp.int32


def test_counters_are_not_changed(device):
    xp = device.xp
    x0 = xp.arange(5, dtype=xp.int32, device=device.native)
    x1 = xp.zeros(5, dtype=xp.int32, device=device.native)
    threefry2x32((1, 2), x0, x1)
    assert unsigned(device, x0) == [0, 1, 2, 3, 4]
    assert unsigned(device, x1) == [0] * 5


@pytest.mark.parametrize("distance", [6, 13, 15, 16, 17, 24, 26, 29])
def test_rotation(distance):
    words = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    expected = (words << np.uint32(distance)) | (words >> np.uint32(32 - distance))
    turned = rotated_left(words.view(np.int32), distance)
    np.testing.assert_array_equal(turned.view(np.uint32), expected)


def test_equal_to_jax():
    jax_random = pytest.importorskip("jax.extend.random")
    key = np.asarray([0xDEADBEEF, 42], dtype=np.uint32)
    rng = np.random.default_rng(1)
    x0, x1 = rng.integers(0, 2**32, (2, 1000), dtype=np.uint32)
    expected = np.asarray(jax_random.threefry_2x32(key, np.concatenate([x0, x1])))
    ours = threefry2x32((0xDEADBEEF, 42), x0.view(np.int32), x1.view(np.int32))
    np.testing.assert_array_equal(np.concatenate(ours).view(np.uint32), expected)
