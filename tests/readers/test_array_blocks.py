"""Covers: arrays and .npy files as blocks of adjacent rows."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.data import ArrayBlocks, _array_blocks as array_blocks

X = np.random.default_rng(0).normal(size=(50, 3, 2))
T = np.arange(50) % 4
PARTS = [slice(0, 20), slice(20, 20), slice(20, 50)]


@pytest.fixture
def shards(tmp_path):
    paths = []
    for name, array in (("x", X.astype(">f4")), ("t", T)):
        paths.append([tmp_path / f"{name}{k}.npy" for k in range(3)])
        for path, rows in zip(paths[-1], PARTS, strict=True):
            np.save(path, array[rows])
    return paths


def test_files_are_mapped_and_read_block_by_block(shards):
    blocks = ArrayBlocks(*shards, block_rows=15)
    assert blocks.block_rows == [15, 5, 15, 15] and blocks.rows == 50
    assert blocks.sample_shape == (3, 2) and blocks.dtype == np.dtype("=f4")
    x, t = map(np.concatenate, zip(*(blocks.read(k) for k in range(4)), strict=True))
    np.testing.assert_array_equal(x, X.astype("f4"))
    np.testing.assert_array_equal(t, T)
    assert x.dtype.isnative and type(x) is np.ndarray


def test_they_train_as_the_arrays_do(shards, device):
    net = bp.Sequential(bp.Flatten(), bp.Linear(4))
    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "epochs": 2}
    models = [bp.Model(net, (3, 2), device=device, seed=0) for _ in range(2)]
    blocks = bp.data.Batches(ArrayBlocks(*shards, block_rows=9), batch_size=8, shuffle=False)
    bp.fit(models[0], blocks, **settings)
    bp.fit(models[1], X.astype("f4"), T, batch_size=8, shuffle=False, **settings)
    np.testing.assert_array_equal(*(device.to_numpy(model.vector) for model in models))


def test_a_block_holds_so_many_bytes_by_default(monkeypatch):
    monkeypatch.setattr(array_blocks, "BLOCK_BYTES", 10 * 48)
    assert ArrayBlocks(X, T, np.ones(50)).block_rows == [10] * 5


def test_what_is_wrong_is_named(shards, tmp_path):
    bad = X.copy()
    bad[31, 2, 1] = np.nan
    batches = bp.data.Batches(ArrayBlocks(bad, T, block_rows=10), device="cpu")
    with pytest.raises(bp.InputError, match=r"^x\[31, 2, 1\] is nan"):
        list(batches)
    np.save(shards[0][2], bad[20:].astype(">f4"))
    with pytest.raises(bp.InputError, match=r"x2.npy\[11, 2, 1\] is nan"):
        list(bp.data.Batches(ArrayBlocks(*shards, block_rows=10), device="cpu"))
    (tmp_path / "cut.npy").write_bytes(shards[0][0].read_bytes()[:-1])
    with pytest.raises(bp.DataError, match=r"cut.npy: expected 480 bytes for shape .*, got 479"):
        ArrayBlocks(tmp_path / "cut.npy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, T[1:]), r"t: expected 50 rows, as x has, got an array of shape \(49,\)"),
        (([X, X], T), "t: expected 2 arrays, as many as of x, got 1"),
        (([X, X[:, :2]], [T, T]), r"x: expected arrays of one dtype and row shape.* with x\[1\]"),
        (([X, X.astype("f4")], [T, T]), r"x: expected arrays of one dtype"),
        ((X, None, T), "weight: expected targets t beside it"),
        (([],), "x: expected at least one array or .npy file"),
        (([1.0],), "x: expected NumPy arrays or paths of .npy files, got float"),
        ((np.array(["a"]),), "x: expected an array .* of real numbers, got shape"),
        ((np.array(1.0),), "x: expected an array .* of real numbers, got shape"),
        ((X, T, None, 0), "block_rows: expected an integer of 1 or more"),
    ],
)
def test_arrays_that_do_not_fit_together(arguments, message):
    *arrays, block_rows = (*arguments, None) if len(arguments) < 4 else arguments
    with pytest.raises(bp.InputError, match=message):
        ArrayBlocks(*arrays, block_rows=block_rows)
