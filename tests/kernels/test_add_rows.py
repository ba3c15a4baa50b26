"""Covers: sums of rows by index on NumPy, with the bits of a loop over the rows."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import add_rows
from bp_arrays.kernels._add_rows import BLOCK, add_rows_loop

XP = bp.device("cpu").xp


def in_order(ids, rows, size):
    """Return a table to whose rows these have been added one after another."""
    table = np.zeros((size, rows.shape[1]), rows.dtype)
    for v, row in zip(ids, rows, strict=True):
        table[v] = table[v] + row
    return table


def drawn(n, size, features, dtype):
    generator = np.random.default_rng(n + size)
    scales = 10.0 ** generator.integers(-3, 4, (n, 1))  # another order gives other bits
    rows = (scales * generator.normal(size=(n, features))).astype(dtype)
    return generator.integers(0, size, n), rows


def assert_same_bits(actual, expected):
    np.testing.assert_array_equal(actual, expected)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize(
    ("n", "size", "features"),
    [(0, 3, 2), (1, 1, 1), (40, 6, 1), (3000, 2, 1), (90, 400, 5), (513, 7, 128), (900, 700, 128),
     (300, 1, 33), (3, 2, BLOCK + 1)],
)  # fmt: skip
def test_rows_are_added_one_after_another(n, size, features, dtype):
    ids, rows = drawn(n, size, features, dtype)
    expected = in_order(ids, rows, size)
    assert_same_bits(add_rows(ids, rows, size, device=None, xp=XP), expected)
    other_order = np.asfortranarray(rows)
    assert_same_bits(add_rows(ids, other_order, size, device=None, xp=XP), expected)
    wide = np.repeat(rows, 2, axis=1)
    assert_same_bits(add_rows(ids, wide[:, ::2], size, device=None, xp=XP), expected)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "uint64"])
def test_indices_of_every_integer_dtype(kind):
    ids, rows = drawn(500, 200, 300, "float32")  # 200 * 300 is no number of 8 or 16 bits
    table = add_rows(ids.astype(kind), rows, 200, device=None, xp=XP)
    assert_same_bits(table, in_order(ids, rows, 200))


def test_the_sums_are_written_into_memory_of_any_kind():
    ids, rows = drawn(60, 9, 4, "float32")
    expected = in_order(ids, rows, 9)
    native = add_rows.form(XP)
    for out in (
        np.full((9, 4), np.nan, np.float32),
        np.full((4, 9), np.nan, np.float32).T,
        np.full((9, 8), np.nan, np.float32)[:, ::2],
        np.full((9, 4), np.nan, np.float64),
    ):
        assert native(ids, rows, 9, device=None, xp=XP, out=out) is out
        assert_same_bits(out, expected.astype(out.dtype))


def test_rows_in_float16_are_rounded_once():
    ids, rows = drawn(400, 3, 5, "float16")
    expected = in_order(ids, rows.astype(np.float32), 3).astype(np.float16)
    assert_same_bits(add_rows(ids, rows, 3, device=None, xp=XP), expected)


def test_what_is_not_finite_stays_in_its_own_sum():
    rows = np.ones((6, 3), np.float32)
    rows[0, 0], rows[2], rows[3, 1], rows[5] = np.inf, [np.nan, -np.inf, -0.0], np.inf, -0.0
    ids = np.array([1, 0, 2, 2, 0, 4])
    with np.errstate(invalid="ignore"):
        expected = in_order(ids, rows, 6)
        assert_same_bits(add_rows(ids, rows, 6, device=None, xp=XP), expected)
    assert np.isfinite(expected[[0, 3, 4, 5]]).all() and not np.signbit(expected).all()


def test_100000_equal_indices_keep_the_digits_that_a_loop_keeps():
    rows = np.random.default_rng(0).random((100_000, 2)).astype(np.float32)
    table = add_rows(np.zeros(100_000, np.int64), rows, 1, device=None, xp=XP)
    np.testing.assert_allclose(table[0], rows.sum(axis=0, dtype=np.float64), rtol=4e-5)


@pytest.mark.parametrize(("n", "size", "features"), [(0, 3, 2), (1, 1, 1), (40, 6, 1), (90, 40, 5)])
def test_the_loop_is_that_of_the_definition(n, size, features, dtype):
    ids, rows = drawn(n, size, features, dtype)
    table = np.full((size, features), np.nan, dtype)
    add_rows_loop(table, ids, rows)
    assert_same_bits(table, in_order(ids, rows, size))


@pytest.mark.parametrize("outside", [-1, 4])
def test_the_loop_refuses_an_index_outside_the_table(outside):
    with pytest.raises(IndexError, match="outside the table"):
        add_rows_loop(np.zeros((4, 2)), np.array([0, outside]), np.ones((2, 2)))
