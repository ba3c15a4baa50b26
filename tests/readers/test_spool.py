"""Covers: rows beyond a limit, which go to a temporary file and come back the same."""

from __future__ import annotations

import errno

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.inputs import SelectedRows
from bp_arrays.readers import _csv as csv, open_dataset
from bp_arrays.tables import Spool, _spool as spool

PIECES = [np.arange(6.0).reshape(3, 2), np.full((4, 2), 7.0), np.ones((1, 2))]


@pytest.mark.parametrize(("limit", "mapped"), [(10**9, False), (64, True), (0, True)])
def test_pieces_become_one_array(monkeypatch, limit, mapped):
    monkeypatch.setattr(spool, "SPOOL_BYTES", limit)
    with Spool("data") as kept:
        for piece in PIECES:
            kept.append(piece)
        array = kept.array()
    assert isinstance(array, np.memmap) == mapped
    np.testing.assert_array_equal(array, np.concatenate(PIECES))


def test_a_full_disk_is_told(monkeypatch):
    class Full:
        def write(self, data):
            pass

        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(spool, "SPOOL_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    with (
        Spool("big.csv") as kept,
        pytest.raises(bp.DataError, match=r"big.csv: .* failed: No space left on device; .*TMPDIR"),
    ):
        kept.append(PIECES[0])


def test_a_csv_that_is_put_away_in_pieces_is_the_same(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(100, 3))
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "\n".join(",".join(map(repr, row)) for row in rows.tolist()))
    whole = open_dataset(str(path), target="y")
    monkeypatch.setattr(csv, "PIECE", 20)
    monkeypatch.setattr(spool, "SPOOL_BYTES", 1000)
    monkeypatch.setattr(csv, "MANY_TEXTS", 10)
    pieces = open_dataset(str(path), target="y")
    assert isinstance(pieces.x, np.memmap)
    np.testing.assert_array_equal(pieces.x, whole.x)
    np.testing.assert_array_equal(pieces.t, whole.t)
    path.write_text(path.read_text().replace(repr(rows[70, 1].item()), "nan"))
    with pytest.raises(
        bp.DataError, match="line 72, column 'b': expected a finite number, got nan"
    ):
        open_dataset(str(path), target="y")


@pytest.mark.parametrize(
    ("content", "byte"),
    [
        (b"a,y\n1,2\n\xff,3\n", 8),
        (b"a,y\n" + b"1,2\n" * 400_000 + b"\xe4,3\n", 1_600_004),
        (b"a,y\n" + b"x" * (2**20 - 5) + "€".encode()[:2] + b",3\n", 2**20 - 1),
        (b"a,y\n1,2\n1,\xe2\x82", 10),
    ],
)
def test_the_first_byte_that_is_not_utf8_is_found(tmp_path, content, byte):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(
        bp.DataError, match=f"expected UTF-8 text, got something else at byte {byte}"
    ):
        list(csv.numbered_rows(tmp_path / "t.csv"))


def test_selected_rows_read_as_the_rows_they_are():
    x = np.arange(20.0).reshape(10, 2)
    rows = SelectedRows(x, np.array([7, 1, 4]))
    assert rows.shape == (3, 2) and len(rows) == 3 and rows.ndim == 2
    np.testing.assert_array_equal(np.asarray(rows), x[[7, 1, 4]])
    np.testing.assert_array_equal(rows[1:3, ...], x[[1, 4]])
    np.testing.assert_array_equal(rows[np.array([2, 0])], x[[4, 7]])
    model = bp.Model(bp.Linear(1), 2, device="cpu")
    np.testing.assert_array_equal(model.predict(rows), model.predict(x[[7, 1, 4]]))
