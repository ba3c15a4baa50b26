"""Covers: Parquet on the command line, and files that are not read into memory completely."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bp_arrays.command_line import _train as train
from bp_arrays.inputs import SelectedRows
from bp_arrays.tables import _spool as spool


@pytest.fixture
def parquet(prices):
    """The table of prices as Parquet."""
    pyarrow_csv = pytest.importorskip("pyarrow.csv")
    from pyarrow import parquet

    path = prices.with_suffix(".parquet")
    parquet.write_table(pyarrow_csv.read_csv(prices), path, row_group_size=30)
    return path


OPTIONS = ("--device", "cpu", "--epochs", 3, "--quiet")


def test_parquet_trains_and_predicts_as_csv_does(run, prices, parquet, tmp_path):
    for path in (prices, parquet):
        name = path.suffix[1:]
        result = run(
            *("train", path, "--target", "price", *OPTIONS),
            *("--out", f"{name}.m", "--report", f"{name}.json"),
        )
        assert result.code == 0 and result.err == ""
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("csv", "parquet"))
    assert one["history"]["loss"] == two["history"]["loss"]
    for model, path in (("csv.m", parquet), ("parquet.m", prices)):
        assert run("predict", model, path, "--device", "cpu", "--out", f"{model}.csv").code == 0
    predictions = [(tmp_path / f"{n}.m.csv").read_text() for n in ("csv", "parquet")]
    assert predictions[0] == predictions[1]


def test_mistakes_with_parquet_are_one_line(run, parquet, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(parquet.read_bytes()[:-9])
    for words, message in [
        ((parquet,), "expected the name of the target column"),
        ((parquet, "--target", "pice"), "has no target column 'pice': did you mean 'price'?"),
        (("bad.parquet", "--target", "price"), "bad.parquet: not a readable Parquet file"),
        (("gone.parquet", "--target", "price"), "there is no file 'gone.parquet'"),
        ((f"{parquet},t.npy", "--target", "price"), "there is no file 't.npy'"),
    ]:
        result = run("train", *words)
        assert result.code == 2 and result.out == ""
        assert result.err.count("\n") == 1 and message in result.err


def test_a_pair_of_npy_files_stays_on_disk(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", (x[:, 0] > 0).astype(int))
    trained = []
    fit = train.fit

    def watched(model, x, t, **settings):
        trained.append(x)
        return fit(model, x, t, **settings)

    monkeypatch.setattr(train, "fit", watched)
    results = []
    for limit in (10**9, 0):
        monkeypatch.setattr(train, "DEVICE_BYTES", limit)
        result = run("train", "x.npy,t.npy", *OPTIONS, "--report", "r.json")
        assert result.code == 0
        results.append(json.loads((tmp_path / "r.json").read_text())["history"]["loss"])
    assert results[0] == results[1]
    assert isinstance(trained[0], np.ndarray) and isinstance(trained[1], SelectedRows)
    assert isinstance(trained[1]._x, np.memmap)


def test_a_table_put_away_on_disk_trains_as_one_in_memory(run, prices, tmp_path, monkeypatch):
    losses = []
    for limit in (10**9, 100):
        monkeypatch.setattr(spool, "SPOOL_BYTES", limit)
        monkeypatch.setattr(train, "DEVICE_BYTES", limit)
        run("train", prices, "--target", "price", *OPTIONS, "--report", "r.json")
        losses.append(json.loads((tmp_path / "r.json").read_text())["history"]["loss"])
    assert losses[0] == losses[1]
