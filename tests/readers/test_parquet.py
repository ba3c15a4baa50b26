"""Covers: Parquet files, completely and by row groups, and the message for each mistake in them."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.readers import _parquet as parquet, open_dataset
from bp_arrays.tables import _spool as spool

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=50), RNG.integers(-9, 9, 50)
TABLE = {"a": A, "b": B, "kind": ["x", "z", "y", "x", "y"] * 10, "price": A + B}


@pytest.fixture
def write(tmp_path):
    def write(columns, name="table.parquet", **options):
        table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
        pq.write_table(table, tmp_path / name, **{"row_group_size": 8} | options)
        return tmp_path / name

    return write


def without(*names):
    return {name: values for name, values in TABLE.items() if name not in names}


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip"])
def test_a_table_is_read(write, codec):
    data = open_dataset(str(write(TABLE, compression=codec)), target="kind", columns=("b", "a"))
    np.testing.assert_array_equal(data.x, np.stack([B, A], axis=1))
    assert data.classes == ("x", "y", "z") and data.t.tolist() == [0, 2, 1, 0, 1] * 10
    assert data.feature_names == ("b", "a") and data.target_names == ("kind",)
    data = open_dataset(str(write(without("kind"))), target="price")
    assert data.task == "regression"
    np.testing.assert_array_equal(data.t, (A + B)[:, None])


def test_every_kind_of_number(write):
    kinds = {
        "yes": pyarrow.array([True, False, True]),
        "byte": pyarrow.array([1, 2, 255], pyarrow.uint8()),
        "half": pyarrow.array(np.array([0.5, 1.5, 2.5], np.float16)),
        "price": pyarrow.array([Decimal("1.25"), Decimal("2.50"), Decimal("-1.00")]),
        "t": pyarrow.array([7, 3, 7], pyarrow.int16()),
    }
    data = open_dataset(str(write(kinds)), target="t", task="classification")
    assert data.x.tolist() == [[1, 1, 0.5, 1.25], [0, 2, 1.5, 2.5], [1, 255, 2.5, -1]]
    assert data.classes == ("3", "7")
    small = {"a": pyarrow.array(A.astype("f4")), "t": B}
    assert open_dataset(str(write(small)), target="t").x.dtype == np.float32


def test_decimal_targets_are_classes_as_written_or_values(write):
    """Decimals beyond the digits of a float stay apart as classes."""
    ids = [Decimal(f"900719925474099{2 + k % 4}") for k in range(40)]
    data = open_dataset(str(write({"a": A[:40], "t": ids})), target="t")
    assert [data.classes[k] for k in data.t] == list(map(str, ids)) and len(data.classes) == 4
    prices = [Decimal(k) / 8 for k in range(40)]
    data = open_dataset(str(write({"a": A[:40], "t": prices})), target="t")
    assert data.classes is None and data.t[:, 0].tolist() == [k / 8 for k in range(40)]


def test_a_folder_is_its_files_in_the_order_of_their_names(write, tmp_path):
    for k, rows in enumerate([slice(0, 20), slice(20, 50)]):
        columns = {name: values[rows] for name, values in TABLE.items()}
        order = list(columns)[:: 1 - 2 * k]  # columns are matched by name
        write({name: columns[name] for name in order}, f"part-{k}.parquet")
    (tmp_path / "notes.txt").write_text("not a table")
    data = open_dataset(str(tmp_path), target="price", columns=("a", "b"))
    np.testing.assert_array_equal(data.x, np.stack([A, B], axis=1))
    blocks = bp.data.ParquetBlocks(tmp_path, "price", columns=["a", "b"])
    assert blocks.block_rows == [8, 8, 4, 8, 8, 8, 6]
    np.testing.assert_array_equal(np.concatenate([blocks.read(k)[0] for k in range(7)]), data.x)


HIDDEN = [".0.parquet", "_0.parquet", ".0.parquet.crc", "_SUCCESS", "_metadata", "_common_metadata"]


@pytest.mark.parametrize("name", [*HIDDEN, "_temporary/0.parquet", ".ipynb_checkpoints/0.parquet"])
def test_hidden_files_in_a_folder_are_no_data(write, tmp_path, name):
    """pyarrow.dataset is the witness, where it skips them too."""
    write({"a": A, "price": B}, "0.parquet")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    data = open_dataset(str(tmp_path), target="price")
    witness = pytest.importorskip("pyarrow.dataset").dataset(tmp_path, format="parquet")
    assert data.x[:, 0].tolist() == witness.to_table()["a"].to_pylist()
    assert bp.data.ParquetBlocks(tmp_path, "price").rows == len(A)
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(bp.DataError, match="expected Parquet files, found none"):
        bp.data.ParquetBlocks(tmp_path, "price")
    with pytest.raises(bp.DataError, match="expected a file, got a folder"):
        open_dataset(str(tmp_path), target="price")


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("year=2020", r"got some in 'year=2020' too, a partition by 'year'"),
        ("year=2020/month=1", r"got some in 'year=2020/month=1' too, a partition by 'year'"),
        ("a/b", "expected Parquet files in one folder, got some in 'a/b' too; write"),
        ("a/b/year=2020/c", r"got some in 'a/b/year=2020/c' too, a partition by 'year'"),
        ("more", "expected Parquet files in one folder, got some in 'more' too; write"),
        ("more.parquet", "expected Parquet files in one folder, got some in 'more.parquet' too"),
    ],
)
def test_parquet_files_in_folders_of_the_folder_are_refused(
    write, tmp_path, folder, message, beside
):
    if beside:
        write({"a": A, "price": B}, "0.parquet")
    (tmp_path / folder).mkdir(parents=True)
    write({"a": A, "price": B}, f"{folder}/0.parquet")
    for read in (open_dataset, bp.data.ParquetBlocks):
        with pytest.raises(bp.DataError, match=message):
            read(str(tmp_path), target="price")


def test_links_between_folders_are_followed_once(write, tmp_path, tmp_path_factory):
    """Without a file beside them, so that all folders are searched."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path)
    (tmp_path / "_temporary" / "c").mkdir(parents=True)
    write({"a": A, "price": B}, "_temporary/c/0.parquet")
    with pytest.raises(bp.DataError, match="expected a file, got a folder"):
        open_dataset(str(tmp_path), target="price")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (tmp_path / "_temporary" / "c" / "0.parquet").rename(elsewhere / "0.parquet")
    (tmp_path / "a" / "linked").symlink_to(elsewhere)
    with pytest.raises(bp.DataError, match="got some in 'a/linked' too"):
        open_dataset(str(tmp_path), target="price")


def test_the_index_of_pandas_is_no_column(write, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(without("kind"), index=[f"row {k}" for k in range(50)])
    frame.to_parquet(tmp_path / "p.parquet")
    data = open_dataset(str(tmp_path / "p.parquet"), target="price")
    assert data.feature_names == ("a", "b")


def test_blocks_are_the_row_groups(write, device):
    blocks = bp.data.ParquetBlocks(write(TABLE), "kind", columns=["b", "a"], weight="b")
    assert blocks.rows == 50 and blocks.block_rows == [8] * 6 + [2]
    assert blocks.feature_names == ("b", "a") and blocks.classes == ("x", "y", "z")
    x, t, w = blocks.read(6)
    np.testing.assert_array_equal(x, np.stack([B, A], axis=1)[48:])
    assert t.tolist() == [0, 1] and w.tolist() == B[48:].tolist()
    two = bp.data.ParquetBlocks(write(TABLE), ["price", "b"], columns=["a"])
    np.testing.assert_array_equal(two.read(0)[1], np.stack([A + B, B], axis=1)[:8])
    assert two.classes is None and len(bp.data.ParquetBlocks(write(without("kind"))).read(0)) == 1

    model = bp.Model(bp.Linear(3), 2, device=device, seed=0)
    blocks = bp.data.ParquetBlocks(write(TABLE), "kind", columns=["a", "b"])
    batches = bp.data.Batches(blocks, batch_size=7, shuffle=False)
    arrays = bp.Model(bp.Linear(3), 2, device=device, seed=0)
    t = np.array([0, 2, 1, 0, 1] * 10)
    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "epochs": 2}
    bp.fit(model, batches, **settings)
    bp.fit(arrays, np.stack([A, B], axis=1), t, batch_size=7, shuffle=False, **settings)
    np.testing.assert_array_equal(device.to_numpy(model.vector), device.to_numpy(arrays.vector))


def changed(name, row, value):
    return without("kind") | {name: [*TABLE[name][:row].tolist(), value, *TABLE[name][row + 1 :]]}


DAY = datetime.date(2020, 1, 1)
BAD = {
    "a null": (changed("b", 19, None), "row 19 (counted from 0), column 'b': expected a value"),
    "a NaN": (changed("a", 9, float("nan")), "row 9 (counted from 0), column 'a'"),
    "infinity": (changed("a", 49, float("inf")), "row 49 (counted from 0), column 'a'"),
    "no target": (changed("price", 8, None), "row 8 (counted from 0), column 'price': expected"),
    "text": (TABLE, "column 'kind': expected numbers, got string"),
    "dates": (without("kind") | {"b": [DAY] * 50}, "column 'b': expected numbers, got date32"),
    "lists": (without("kind") | {"b": [[1, 2]] * 50}, "column 'b': expected numbers, got list<"),
    "structs": (without("kind") | {"b": [{"c": 1}] * 50}, "expected numbers, got struct<"),
    "nothing": (without("kind") | {"b": [None] * 50}, "column 'b': expected numbers, got null"),
    "date target": (without("kind") | {"price": [DAY] * 50}, "expected a number or text as the"),
    "no rows": ({"a": A[:0], "price": A[:0]}, "expected at least one row, got none"),
    "no features": ({"price": A}, "expected feature columns besides"),
    "other name": ({"a": A, "Prise": A}, "has no target column 'price': did you mean 'Prise'?"),
}


@pytest.mark.parametrize("kind", BAD)
def test_mistakes_in_a_table(write, kind):
    columns, message = BAD[kind]
    path = write(columns)
    with pytest.raises(bp.DataError) as error:
        open_dataset(str(path), target="price")
    assert message in str(error.value) and str(path) in str(error.value)
    with pytest.raises(bp.InputError) as error:
        for _ in bp.data.Batches(bp.data.ParquetBlocks(path, "price"), device="cpu"):
            pass
    assert message in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize("word", ["NA", "", "null"])
def test_missing_values_in_a_target_of_text(write, word):
    cells = ["0", "1", "0", "1"] * 5
    cells[11] = word
    path = write({"a": A[:20], "t": cells})
    message = r"row 11 \(counted from 0\), column 't': expected a target, got"
    with pytest.raises(bp.DataError, match=message):
        open_dataset(str(path), target="t")
    with pytest.raises(bp.DataError, match=message):
        bp.data.ParquetBlocks(path, "t")
    if word:
        path = write({"a": A[:20], "t": ["EU", *cells[1:]]})
        assert word in open_dataset(str(path), target="t").classes
        blocks = bp.data.ParquetBlocks(path, "t")
        assert [blocks.classes[k] for k in blocks.read(1)[1]] == cells[8:16]


KINDS = {
    "text": (["b", None, "a", None], ["b", "a"]),
    "text views": (pyarrow.array(["b", None, "a", None], pyarrow.string_view()), ["b", "a"]),
    "a dictionary": (pyarrow.array(["b", None, "a", None]).dictionary_encode(), ["b", "a"]),
    "whole numbers": ([2**53 + 1, None, 2**53, None], [str(2**53 + 1), str(2**53)]),
    "booleans": ([True, None, False, None], ["1", "0"]),
    "decimals": ([Decimal(2), None, Decimal(1), None], ["2", "1"]),
    "floats": ([2.0, None, 1.0, float("nan")], ["2", "1"]),
    "nothing but null at first": ([None, 7, None, 5], ["7", "5"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_targets_that_may_be_null(write, kind):
    values, expected = KINDS[kind]
    path = write({"a": A[:4], "t": values}, row_group_size=1)
    data = open_dataset(str(path), target="t", task="classification", require_target=False)
    assert [data.classes[k] for k in data.t if k >= 0] == expected
    if isinstance(values, pyarrow.Array):
        values = values.to_pylist()
    present = [value is not None and value == value for value in values]
    assert data.has_target.tolist() == (data.t >= 0).tolist() == present
    with pytest.raises(bp.DataError, match=r"row \d \(counted from 0\), column 't': expected a"):
        open_dataset(str(path), target="t", task="classification")


def test_columns_that_are_not_there(write):
    path = write(TABLE)
    for arguments, message in [
        ({"target": "prise"}, "has no target column 'prise': did you mean 'price'?"),
        ({"columns": ["a", "c"]}, "has no column 'c':"),
        ({"weight": "kind"}, "column 'kind': expected numbers"),
        ({"target": ["price", "kind"]}, "column 'kind': expected numbers"),
    ]:
        with pytest.raises(bp.DataError) as error:
            bp.data.ParquetBlocks(path, **{"target": "price", "columns": ["a"]} | arguments)
        assert message in str(error.value)
    with pytest.raises(bp.DataError, match="expected the name of the target column"):
        open_dataset(str(path))


def test_columns_of_one_name(write):
    table = pyarrow.Table.from_arrays([pyarrow.array(A)] * 2, names=["a", "a"])
    with pytest.raises(bp.DataError, match="expected distinct column names, got 'a' twice"):
        open_dataset(str(write(table)), target="a")


def test_files_of_different_columns(write, tmp_path):
    write({"a": A, "b": B}, "1.parquet")
    for columns, message in [
        ({"a": A}, r"2.parquet has no column 'b', which .*1.parquet has"),
        ({"a": A, "b": B, "c": A}, r"2.parquet has a column 'c', which .*1.parquet lacks"),
        ({"a": A, "b": A}, r"2.parquet, column 'b': expected int64 as in .*, got double"),
    ]:
        write(columns, "2.parquet")
        with pytest.raises(bp.DataError, match=message):
            bp.data.ParquetBlocks(tmp_path, "b")


def test_damaged_files(write, tmp_path):
    content = write(without("kind")).read_bytes()
    path = tmp_path / "damaged.parquet"
    damage = {
        "truncated": content[:-20],
        "half": content[: len(content) // 2],
        "another": b"PAR1" + b"x" * 100,
        "empty": b"",
        "the numbers": content[:4] + bytes(b ^ 0x55 for b in content[4:400]) + content[400:],
        "the end": content[:-60] + bytes(b ^ 0x55 for b in content[-60:-8]) + content[-8:],
    }
    for kind, damaged in damage.items():
        path.write_bytes(damaged)
        with pytest.raises(bp.DataError, match=r"damaged.parquet: not a readable Parquet") as error:
            open_dataset(str(path), target="price")
        assert "\n" not in str(error.value), kind


@pytest.fixture
def plain(write):
    """The bytes of a file whose names and texts can be found in it."""
    table = pyarrow.table({"aé": A, "kind": ["é", "b"] * 25})
    options = {"compression": "none", "use_dictionary": False, "store_schema": False}
    return write(table, **options).read_bytes()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"a\xc3\xa9", b"a\xff\xfe"), (b"\x02\x00\x00\x00\xc3\xa9", b"\x02\x00\x00\x00\xff\xfe")],
    ids=["a column's name", "a text"],
)
def test_what_should_be_utf8_and_is_not(plain, tmp_path, old, new):
    assert old in plain
    (tmp_path / "bad.parquet").write_bytes(plain.replace(old, new))
    for read in (open_dataset, bp.data.ParquetBlocks):
        with pytest.raises(
            bp.DataError, match=r"bad.parquet: not a readable Parquet file"
        ) as error:
            read(str(tmp_path / "bad.parquet"), target="kind")
        assert "\n" not in str(error.value)


def test_damage_to_the_numbers_in_the_footer(plain, tmp_path):
    """Among them those of the rows of a group, which some of its columns have and some have not."""
    path, messages = tmp_path / "bad.parquet", []
    start = len(plain) - 8 - int.from_bytes(plain[-8:-4], "little")
    for position in range(start, start + 60):
        damaged = bytearray(plain)
        damaged[position] = (damaged[position] + 64) % 256
        path.write_bytes(damaged)
        for read in (open_dataset, lambda *a, **k: bp.data.ParquetBlocks(*a, **k).read(0)):
            try:
                read(str(path), target="kind")
            except bp.DataError as error:
                messages.append(str(error))
    assert any("expected 8 rows in row group 0, got 0" in message for message in messages)
    assert not any("\n" in message for message in messages)


def test_missing_files(tmp_path):
    with pytest.raises(bp.DataError, match=r"there is no file '.*gone.parquet'"):
        bp.data.ParquetBlocks(tmp_path / "gone.parquet")
    with pytest.raises(bp.DataError, match="expected Parquet files, found none"):
        bp.data.ParquetBlocks(tmp_path)
    with pytest.raises(bp.DataError, match="path: expected Parquet files, found none"):
        bp.data.ParquetBlocks([])
    with pytest.raises(bp.DataError, match=r"expected a file, got a folder; name a file in it"):
        open_dataset(str(tmp_path))


def test_without_pyarrow(write, monkeypatch):
    path = write(TABLE)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(bp.MissingExtraError, match=r'pip install "bp_arrays\[parquet\]"'):
        open_dataset(str(path), target="price")


def test_a_large_table_goes_to_a_file(write, monkeypatch):
    path = write(without("kind"))
    whole = open_dataset(str(path), target="price")
    monkeypatch.setattr(spool, "SPOOL_BYTES", 300)
    mapped = open_dataset(str(path), target="price")
    assert isinstance(mapped.x, np.memmap) and not isinstance(whole.x, np.memmap)
    np.testing.assert_array_equal(mapped.x, whole.x)
    assert parquet.read_parquet(path, "price").x.dtype == np.float64
