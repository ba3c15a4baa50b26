"""Host generators: the same on every machine, and independent of each other."""

from __future__ import annotations

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.random import host_generator
from bp_arrays.random._seeds import derived_key


def test_keys_are_pinned():
    """A change here changes the initial weights and shuffles of every seed."""
    assert derived_key(64, 0) == PINNED_KEYS[0]
    assert derived_key(128, 7, "shuffle", 3) == PINNED_KEYS[1]
    assert derived_key(64, 2**100, "Gewicht β", 0) == PINNED_KEYS[2]
    raw = host_generator(7, "shuffle", 3).bit_generator.random_raw(2)
    assert raw.tolist() == PINNED_RAW


PINNED_KEYS = [11243728523470438572, 314531690274711336619583388221290978919, 9212434360649983319]
PINNED_RAW = [7303358719077712332, 2023473381423892849]


def test_paths_are_not_confused():
    paths = [(), ("ab", "c"), ("a", "bc"), ("abc",), (1,), ("1",), (1, 2), (12,), ("a,b",), ("",)]
    keys = {derived_key(128, 0, *path) for path in paths}
    assert len(keys) == len(paths)


def test_same_path_same_numbers():
    first = host_generator(3, "weights", "0.weight").standard_normal(10)
    again = host_generator(np.int32(3), "weights", "0.weight").standard_normal(10)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(
        host_generator(0, np.int64(4)).random(3), host_generator(0, 4).random(3)
    )


def test_neighbours_are_uncorrelated():
    draws = np.stack([host_generator(seed, "weights").random(20_000) for seed in range(8)])
    off_diagonal = np.corrcoef(draws) - np.eye(8)
    assert np.abs(off_diagonal).max() < 5 / 20_000**0.5


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, False])
def test_bad_seed(seed):
    with pytest.raises(InputError, match="seed"):
        host_generator(seed)


@pytest.mark.parametrize("part", [0.5, None, True, ("a",)])
def test_bad_path(part):
    with pytest.raises(InputError, match="path"):
        host_generator(0, part)
