"""Covers: the built-in data sets, `split`, and the choice of a reader."""

from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np
import pytest

from bp_arrays.errors import DataError, InputError
from bp_arrays.readers import Dataset, open_dataset, read_digits, read_notes, split


def test_digits_are_all_there():
    digits = read_digits()
    assert digits.x.shape == (1797, 64) and digits.x.min() == 0 and digits.x.max() == 16
    assert np.bincount(digits.t).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert digits.classes == tuple("0123456789")
    pixels = hashlib.sha256(digits.x.astype(np.uint8).tobytes() + bytes(digits.t.tolist()))
    assert pixels.hexdigest() == PIXELS


PIXELS = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_digits_are_those_of_scikit_learn():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    digits = read_digits()
    np.testing.assert_array_equal(digits.x, theirs.data)
    np.testing.assert_array_equal(digits.t, theirs.target)


def test_held_out_digits_are_fixed_and_of_every_class():
    digits = read_digits()
    held_out = digits.held_out
    assert len(set(held_out.tolist())) == 360 and held_out[:3].tolist() == FIRST
    shares = np.bincount(digits.t[held_out]) / np.bincount(digits.t)
    assert np.all(np.abs(shares - 0.2) < 0.01)


FIRST = [3, 16, 19]


def test_source_and_licence_travel_with_the_digits():
    text = resources.files("bp_arrays.readers").joinpath("README.md").read_text()
    for words in ("Optical Recognition of Handwritten Digits", "Alpaydin", "Kaynak", "CC BY 4.0"):
        assert words in text


def test_notes_are_what_they_say():
    notes = read_notes()
    assert notes.x.shape == (16, 2) and notes.t.shape == (16, 2) and notes.classes is None
    a, b = notes.x.T
    np.testing.assert_allclose(notes.t[:, 0], a * b)
    np.testing.assert_allclose(1.0 - notes.t[:, 1], (1.0 - a) * (1.0 - b))


def made(rows: int = 100, **fields) -> Dataset:
    t = np.arange(rows) % 4
    x = np.arange(rows * 2.0).reshape(rows, 2)
    return Dataset(x, t, tuple("abcd"), (), ("y",), "made", **fields)


def test_every_row_is_in_exactly_one_part():
    data = made()
    parts = split(data, test=0.3, validation=0.2, seed=1)
    assert sorted(np.concatenate(parts[:3]).tolist()) == list(range(100))
    assert [len(rows) for rows in parts[:3]] == [56, 14, 30]


def test_classes_keep_their_shares():
    data = made()
    for rows in split(data, test=0.2, validation=0.25, seed=3)[:3]:
        counts = np.bincount(data.t[rows])
        assert counts.max() - counts.min() <= 1


def test_the_seed_decides_and_nothing_else():
    data = made()
    first, again, other = (split(data, seed=seed) for seed in (0, 0, 1))
    assert first.test.tolist() == again.test.tolist() != other.test.tolist()


def test_ordered_data_gives_its_last_rows():
    assert split(made(ordered=True), test=0.1).test.tolist() == list(range(90, 100))


def test_the_datas_own_held_out_rows_unless_told():
    data = made(held_out=np.array([5, 1]))
    assert split(data).test.tolist() == [1, 5]
    assert len(split(data, test=0.5).test) == 50
    assert len(split(data, test=0.0).test) == 0


def test_too_few_rows_to_divide():
    with pytest.raises(
        InputError, match=r"row for training besides the 1 held out, got 1 row.*--test 0"
    ):
        split(made(1))
    assert split(made(1), test=0.0).train.tolist() == [0]
    assert [len(rows) for rows in split(made(2))[:3]] == [1, 0, 1]
    with pytest.raises(InputError, match="--validation 0"):
        split(made(2), validation=0.5)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="expected a fraction"):
            split(made(), test=share)


def test_a_dataset_checks_itself():
    with pytest.raises(DataError, match="at least one row and one feature"):
        Dataset(np.zeros((3, 0)), None, None, (), (), "made")
    with pytest.raises(DataError, match="3 rows and 2 targets"):
        Dataset(np.zeros((3, 1)), np.zeros(2), None, (), (), "made")


@pytest.mark.parametrize("spec", ["digits", "notes"])
def test_opening_by_name(spec):
    assert open_dataset(spec).source.startswith(spec)


def test_opening_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "folder.csv").mkdir()
    np.savez(tmp_path / "d.npz", x=np.ones((2, 1)), t=[0.5, 1.5])
    np.save(tmp_path / "x.npy", np.ones((2, 1)))
    for spec, message in {
        "digit": "unknown data 'digit': did you mean 'digits'",
        "missing.csv": "there is no file 'missing.csv'",
        "sub/missing": "there is no file 'sub/missing'",
        "a.txt": "got a file of unknown format",
        "folder.csv": "folder.csv: expected a file, got a folder",
        "d.npz,d.npz": "only .npy and IDX have pairs",
        "x.npy,x.npy,x.npy": "got 3",
        "x.npy": "SAMPLES.npy,TARGETS.npy",
    }.items():
        with pytest.raises(DataError, match=message):
            open_dataset(spec)
    for spec in ("digits", "d.npz"):
        with pytest.raises(DataError, match=r"^target: expected a .*; drop target$"):
            open_dataset(spec, target="y")
        with pytest.raises(DataError, match=r"^sep: expected a \.csv file, got .*; drop sep$"):
            open_dataset(spec, sep=";")
    assert open_dataset("d.npz").rows == 2


def test_a_comma_in_a_files_name(tmp_path):
    path = tmp_path / "a,b.csv"
    path.write_text("x,y\n1,0.5\n")
    assert open_dataset(str(path), target="y").rows == 1


def test_idx_is_known_by_name_or_by_its_first_bytes(tmp_path):
    content = b"\0\0\x08\x02\0\0\0\2\0\0\0\1\1\2"
    for name in ("my-idx2-ubyte", "data.bin"):
        (tmp_path / name).write_bytes(content)
        data = open_dataset(str(tmp_path / name), require_target=False)
        assert data.x.tolist() == [[1], [2]]
