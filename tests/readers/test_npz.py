"""Covers: .npz and .npy files: names, pairs, damage; nothing is unpickled."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from bp_arrays.errors import DataError
from bp_arrays.readers._npz import mapped_npy, read_npy, read_npy_pair, read_npz

X = np.arange(12.0).reshape(6, 2)
T = np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("x_name", "t_name"), [("x", "t"), ("X", "y"), ("x", "y"), ("x_train", "y_train")]
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_names(tmp_path, x_name, t_name, save):
    save(tmp_path / "d.npz", **{x_name: X, t_name: T, "other": X})
    data = read_npz(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.t, T)
    assert data.classes == ("0", "1") and data.held_out is None


def test_the_test_part_is_held_out(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=T, x_test=X[:2] + 100, y_test=T[:2])
    data = read_npz(tmp_path / "d.npz")
    assert data.rows == 8 and data.held_out.tolist() == [6, 7]
    assert data.x[6].tolist() == [100.0, 101.0] and len(data.t) == 8


def test_test_part_of_another_shape(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=T, x_test=X[:, :1], y_test=T)
    with pytest.raises(DataError, match="expected samples of one shape in x_train and x_test"):
        read_npz(tmp_path / "d.npz")


def test_images_are_flattened_and_vectors_become_one_feature(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(24).reshape(6, 2, 2), t=T)
    data = read_npz(tmp_path / "d.npz")
    assert data.x.shape == (6, 4) and data.x[1].tolist() == [4, 5, 6, 7] and data.one_unit
    np.savez(tmp_path / "d.npz", x=np.arange(6.0), t=T)
    assert read_npz(tmp_path / "d.npz").x.shape == (6, 1)


def test_several_values(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, t=X / 7)
    data = read_npz(tmp_path / "d.npz")
    assert data.classes is None and data.target_names == ("target_0", "target_1")


def test_storage_order_and_byte_order_do_not_matter(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(X).astype(">f4"), t=T.astype(">i2"))
    data = read_npz(tmp_path / "d.npz")
    np.testing.assert_array_equal(data.x, X)
    assert data.x.dtype.isnative


def test_names_in_bytes(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, t=np.array(["é".encode(), b"b"] * 3))
    assert read_npz(tmp_path / "d.npz").classes == ("b", "é")
    np.savez(tmp_path / "d.npz", x=X, t=np.array(["é".encode("latin-1"), b"b"] * 3))
    with pytest.raises(DataError, match=r"d.npz, t\[0\]: expected text in UTF-8, got .*0xe9"):
        read_npz(tmp_path / "d.npz")


def test_npy_pair(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", np.array(["b", "a"] * 3))
    data = read_npy_pair(tmp_path / "x.npy", tmp_path / "t.npy")
    assert data.classes == ("a", "b") and data.t.tolist() == [1, 0] * 3
    assert read_npy_pair(tmp_path / "x.npy", None).t is None


class Bomb:
    def __reduce__(self):
        return (print, ("a pickle was loaded",))


def test_objects_are_never_unpickled(tmp_path, capsys):
    np.savez(tmp_path / "d.npz", x=X, t=np.array([Bomb()] * 6, dtype=object))
    np.save(tmp_path / "x.npy", np.array([Bomb()], dtype=object))
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Bomb()))
    for read, message in (
        (
            lambda: read_npz(tmp_path / "d.npz"),
            "array t: .* Python objects, which are never loaded",
        ),
        (lambda: read_npy(tmp_path / "x.npy"), "Python objects, which are never loaded"),
        (lambda: read_npy(tmp_path / "p.npy"), "not a readable .npy file"),
    ):
        with pytest.raises(DataError, match=message):
            read()
    assert capsys.readouterr().out == ""


def test_missing_arrays_are_listed(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, labels=T)
    with pytest.raises(DataError, match="got x, labels"):
        read_npz(tmp_path / "d.npz")
    assert read_npz(tmp_path / "d.npz", require_target=False).t is None


@pytest.mark.parametrize("x", [X.astype(complex), np.array(["a"] * 6), np.float64(1.0)])
def test_samples_must_be_real_numbers_with_rows(tmp_path, x):
    np.savez(tmp_path / "d.npz", x=x, t=T)
    with pytest.raises(DataError, match="expected an array"):
        read_npz(tmp_path / "d.npz")


def test_lengths_nan_and_no_rows(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, t=T[:-1])
    with pytest.raises(DataError, match="6 rows and 5 targets"):
        read_npz(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=np.where(X == 7, np.nan, X), t=T)
    with pytest.raises(DataError, match="row 3, feature 1"):
        read_npz(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x=X[:0], t=T[:0])
    with pytest.raises(DataError, match="at least one row"):
        read_npz(tmp_path / "d.npz")


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path):
    np.save(tmp_path / "x.npy", X)
    content = (tmp_path / "x.npy").read_bytes()
    claim = content.replace(b"(6, 2), }        ", b"(600000000000,2),}")
    assert len(claim) == len(content) + 1
    (tmp_path / "x.npy").write_bytes(claim.replace(b" \n", b"\n", 1))
    with pytest.raises(DataError, match="truncated or damaged"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_anywhere_is_a_data_error_or_harmless(tmp_path, save):
    path = tmp_path / "d.npz"
    save(path, x=X, t=T)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in range(0, len(good), 7):
        path.write_bytes(good[:cut])
        with pytest.raises(DataError):
            read_npz(path)
    for _ in range(500):
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= int(rng.integers(1, 256))
        path.write_bytes(bad)
        try:
            read_npz(path)
        except DataError as error:
            assert "\n" not in str(error)


HEADERS = {
    "an open bracket": "{'descr': '<f8', 'fortran_order': False, 'shape': (6, 2",
    "an open quote": "{'descr': '<f8', 'fortran_order': False, 'shape: (6, 2)}",
    "a line end in a text": "{'descr': '<f8\n', 'fortran_order': False, 'shape': (6, 2)}",
    "an odd escape": r"{'descr': '\<f8', 'fortran_order': False, 'shape': (6, 2)}",
    "signs nested too deeply": "-" * 9000 + "1",
    "brackets nested too deeply": "[" * 9000,
    "a sum nested too deeply": "1+" * 4000 + "1",
    "a shape of parts": "{'descr': '<f8', 'fortran_order': False, 'shape': (6.0, 2)}",
    "a shape beyond int64": f"{{'descr': '<f8', 'fortran_order': False, 'shape': (0, {10**30})}}",
    "a dtype of lists": "{'descr': [('a', '<f8', 'x')], 'fortran_order': False, 'shape': (6,)}",
    "a number by Python 2 of another size": "{'descr': '<f8', 'fortran_order': 0L, 'shape': (7L,)}",
    "NUL": "{'descr': '<f8', 'fortran_order': False, 'shape': (6, 2), \0}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_python_cannot_parse(tmp_path, header):
    text = header.encode().ljust(118) + b"\n"
    data = b"" if "(0," in header else X.tobytes()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    for read in (read_npy, mapped_npy, lambda path: read_npy_pair(path, None)):
        with pytest.raises(DataError) as error:
            read(path)
        assert "x.npy" in str(error.value) and "\n" not in str(error.value)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=r"d\.npz"):
        read_npz(tmp_path / "d.npz", require_target=False)


def test_a_header_by_python_2_is_read(tmp_path):
    """NumPy is the witness, which warns of it."""
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (6L, 2L)}".ljust(117) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + text + X.tobytes())
    with pytest.warns(UserWarning, match="additional header parsing"):
        np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), X)


def test_two_arrays_of_one_name(tmp_path):
    np.save(tmp_path / "x.npy", X)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match=r"d.npz: expected distinct names of arrays, got 'x' twice"):
        read_npz(tmp_path / "d.npz", require_target=False)


def test_damaged_npy(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    good = path.read_bytes()
    for cut in range(len(good)):
        path.write_bytes(good[:cut])
        with pytest.raises(DataError):
            read_npy(path)
