"""Covers: results of all readers: numbers, classes, names, and the test rows."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import DataError
from bp_arrays.readers import open_dataset, split


def test_the_digits_are_whole_and_their_split_is_fixed_and_stratified():
    data = open_dataset("digits")
    assert data.x.shape == (1797, 64)
    assert (data.x.min(), data.x.max()) == (0, 16)
    assert np.bincount(data.t).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    parts, again = split(data, seed=0), split(data, seed=9)
    np.testing.assert_array_equal(parts.test, again.test)
    assert len(parts.test) == 360 and not set(parts.test) & set(parts.train)
    assert set(np.bincount(data.t[parts.test])) <= {34, 35, 36, 37, 38}


def test_a_csv_of_values_with_all_that_spreadsheets_add(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeff"size, m",b,y\r\n1.5,2,0.5\r\n-1e3,"4",1.25\r\n3,0,7.5\r\n'.encode())
    data = open_dataset(str(path), target="y")
    assert data.classes is None
    assert data.feature_names == ("size, m", "b")
    assert data.x.tolist() == [[1.5, 2.0], [-1000.0, 4.0], [3.0, 0.0]]
    assert np.ravel(data.t).tolist() == [0.5, 1.25, 7.5]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["yes", "no", "yes", "no"], None, {"yes", "no"}),
        (["3", "5", "3", "5"], None, {"3", "5"}),
        (["3", "5", "3", "5"], "regression", None),
        (["3.5", "5.1", "3.5", "5.9"], None, None),
    ],
)
def test_the_task_is_found_out_or_told(tmp_path, values, task, classes):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    data = open_dataset(str(path), target="y", task=task)
    assert (None if data.classes is None else set(data.classes)) == classes
    if classes:
        assert [data.classes[k] for k in data.t] == values


@pytest.mark.parametrize("code", [0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_of_every_type_packed_or_not(tmp_path, code, packed):
    dtype = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}[code]
    values = np.arange(24).reshape(4, 2, 3).astype(dtype)
    content = struct.pack(">BBBB3I", 0, 0, code, 3, 4, 2, 3) + values.tobytes()
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 4) + bytes([7, 1, 7, 1])
    end = ".gz" if packed else ""
    pack = gzip.compress if packed else bytes
    (tmp_path / f"my-images-idx3-ubyte{end}").write_bytes(pack(content))
    (tmp_path / f"my-labels-idx1-ubyte{end}").write_bytes(pack(labels))
    data = open_dataset(str(tmp_path / f"my-images-idx3-ubyte{end}"))
    np.testing.assert_array_equal(data.x, np.arange(24).reshape(4, 6))
    assert [data.classes[k] for k in data.t] == ["7", "1", "7", "1"]
    assert split(data, test=0.5).test.tolist() == [2, 3]  # the last rows, in order


def test_npz_with_the_usual_names(tmp_path):
    x, t = np.arange(12.0).reshape(6, 2), np.arange(6) % 2
    for names in (("x", "t"), ("X", "y")):
        np.savez(tmp_path / "d.npz", **dict(zip(names, (x, t), strict=True)))
        data = open_dataset(str(tmp_path / "d.npz"))
        np.testing.assert_array_equal(data.x, x)
        assert len(data.classes) == 2


def test_pickled_arrays_are_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exit, (3,))

    np.savez(tmp_path / "d.npz", x=np.array([Bomb()], dtype=object), t=np.zeros(1))
    with pytest.raises(bp.DataError, match=r"d\.npz"):
        open_dataset(str(tmp_path / "d.npz"))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_shares_out_of_range(share):
    with pytest.raises(bp.InputError, match="expected a fraction in"):
        split(open_dataset("digits"), test=share)


HUGE = [2**62 + k for k in range(30)]
"""Python's integers are the witness: as float64, all of them are one number."""


@pytest.mark.parametrize("role", ["feature", "target"])
@pytest.mark.parametrize("form", ["csv", "npz", "npy", "int64", "uint64", "mixed", "decimal"])
def test_whole_numbers_that_float64_merges_are_refused(tmp_path, form, role):
    assert len(set(map(float, HUGE))) == 1
    small = list(range(30))
    x, t = (HUGE, small) if role == "feature" else (small, HUGE)
    if form == "csv":
        (tmp_path / "a.csv").write_text(
            "x,t\n" + "".join(f"{a},{b}\n" for a, b in zip(x, t, strict=True))
        )
    elif form in ("npz", "npy"):
        arrays = np.array(x).reshape(-1, 1), np.array(t)
        np.savez(tmp_path / "a.npz", x=arrays[0], t=arrays[1])
        np.save(tmp_path / "x.npy", arrays[0])
        np.save(tmp_path / "t.npy", arrays[1])
    else:
        pa = pytest.importorskip("pyarrow")
        types = {"decimal": pa.decimal128(30, 2), "uint64": pa.uint64()}
        kind = types.get(form, pa.int64())
        columns = {"x": pa.array(x).cast(kind), "t": pa.array(t).cast(kind)}
        if form == "mixed":
            columns["y"] = pa.array([0.5] * 30)
        from pyarrow import parquet

        parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    files = {"npy": f"{tmp_path}/x.npy,{tmp_path}/t.npy", "csv": tmp_path / "a.csv"}
    spec = str(files.get(form, tmp_path / ("a.npz" if form == "npz" else "a.parquet")))
    target = None if form in ("npz", "npy") else "t"
    with pytest.raises(DataError, match=r"4611686018427387905.*beyond 2\^53.*subtract") as raised:
        open_dataset(spec, target=target)
    message = str(raised.value)
    assert "\n" not in message
    if target is not None:
        assert f"column '{role[0] if role == 'target' else 'x'}'" in message


def test_large_numbers_that_float64_holds_are_read(tmp_path):
    """As are classes, which are text, and the digits that a program writes for a float64."""
    exact = [(-1) ** k * (2**62 + 1024 * k) for k in range(30)]
    floats = [f"{12345678901234567890 * (k + 1):.17g}" for k in range(15)]
    floats += ["123456789012345680000"] * 15  # the shortest text, without an exponent
    rows = zip(exact, floats, HUGE, strict=True)
    (tmp_path / "a.csv").write_text("x,y,t\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    data = open_dataset(str(tmp_path / "a.csv"), target="t", task="classification")
    assert data.x[:, 0].tolist() == exact and data.x[:, 1].tolist() == list(map(float, floats))
    assert data.classes == tuple(map(str, HUGE))
    np.savez(tmp_path / "a.npz", x=np.array(exact)[:, None], t=np.array(exact))
    data = open_dataset(str(tmp_path / "a.npz"))
    assert data.t[:, 0].tolist() == exact and data.x[:, 0].tolist() == exact
    np.savez(tmp_path / "m.npz", x=np.array([[-(2**63)], [2**63 - 1]]), t=np.array([0.5, 1]))
    with pytest.raises(DataError, match=r"row 1, feature 0 .*got 9223372036854775807"):
        open_dataset(str(tmp_path / "m.npz"))
