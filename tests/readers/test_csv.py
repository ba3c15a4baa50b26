"""Covers: CSV files: what is read, and the message for each mistake in them."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from bp_arrays.errors import DataError, InputError
from bp_arrays.readers._csv import read_csv
from bp_arrays.readers._parquet import read_parquet


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_table_is_read(table):
    data = read_csv(table("a,kind,b\n1,no,-2.5e-1\n 3 ,yes,4\n5,no,6\n"), "kind")
    assert data.x.tolist() == [[1.0, -0.25], [3.0, 4.0], [5.0, 6.0]]
    assert data.t.tolist() == [0, 1, 0] and data.t.dtype == np.int64
    assert data.classes == ("no", "yes")
    assert data.feature_names == ("a", "b") and data.target_names == ("kind",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_line_ends_byte_order_marks_and_delimiters(table, end, mark, delimiter):
    text = end.join(["a|y", "1|0.5", "2|1.5", ""]).replace("|", delimiter)
    data = read_csv(table(mark + text.encode()), "y", "regression")
    assert data.feature_names == ("a",)
    assert data.x.tolist() == [[1.0], [2.0]] and data.t.tolist() == [[0.5], [1.5]]


HEADERS = {
    "a comma in the names": ("area (m, gross);rooms;price, EUR", ";", "1.5;2;3.5"),
    "one comma": ("area (m, gross);rooms", ";", "1.5;2"),
    "a comma in a quoted name": ('"area (m, gross)";rooms', ";", "1.5;2"),
    "a semicolon in a name": ("area;gross,rooms", ",", "1.5,2"),
    "a comma and a semicolon, between tabs": ("a,b\tc;d\ty", "\t", "1.5\t2\t3"),
    "commas with tabs for the eye": ("a,\tb,\ty", ",", "1,\t2.5,\t3"),
    "semicolons with tabs for the eye": ("a;\tb;\ty", ";", "1;\t2.5;\t3"),
    "texts with the other delimiter": ("a,note;remark,y", ",", "1,x; y,2"),
    "a line end in a quoted name": ('"area\n(m, gross)";rooms;y', ";", "1.5;2;3"),
}


@pytest.mark.parametrize(("header", "delimiter", "row"), HEADERS.values(), ids=HEADERS)
def test_the_delimiter_is_the_one_that_fits_the_rows(table, header, delimiter, row):
    """Python's csv module, told the delimiter, is the witness."""
    text = f"{header}\n{row}\n\n{row}\n"
    names, *rows = (r for r in csv.reader(io.StringIO(text), delimiter=delimiter) if r)
    names = [name.strip() for name in names]
    for sep in (None, delimiter):
        data = read_csv(table(text), names[-1], "regression", columns=names[:1], sep=sep)
        assert data.feature_names == (names[0],) and data.target_names == (names[-1],)
        assert data.x.tolist() == [[float(r[0])] for r in rows]
        assert data.t.tolist() == [[float(r[-1])] for r in rows]


def test_two_delimiters_that_fit_are_refused(table):
    path = table("a;b,c\nx;y,z\n")
    with pytest.raises(DataError, match=r"expected one delimiter, got ',' and ';'.*--sep"):
        read_csv(path, "c")
    assert read_csv(table("a;b,c\n1,z\n"), "c", sep=",").classes == ("z",)


def test_decimal_commas_are_named(table):
    for header in ("a;y", "area (m, gross);y, EUR"):
        with pytest.raises(DataError, match="got the text '1,5'; write decimals with a point"):
            read_csv(table(f"{header}\n1,5;2,5\n"), header.split(";")[1])


def test_a_delimiter_that_is_told(table):
    assert read_csv(table("a|b|y\n1|2|3\n"), "y", sep="|").x.tolist() == [[1.0, 2.0]]
    for sep in ("", ",,", '"', "\n", "e", "7", "."):
        with pytest.raises(InputError, match="sep: expected one character"):
            read_csv(table("a,y\n1,2\n"), "y", sep=sep)


def test_quoted_fields(table):
    data = read_csv(table('"a, first","y ""q"""\n"1","x, y"\n2,"x\ny"\n3,"x, y"\n'), 'y "q"')
    assert data.feature_names == ("a, first",)
    assert data.classes == ("x\ny", "x, y")


def test_true_and_false_count_as_in_parquet(table, tmp_path):
    """Parquet is the witness; and pandas, for the words."""
    words = [("True", "False"), ("true", "false"), ("TRUE", "FALSE")]
    for yes, no in words:
        path = table(f"a,flag,y\n1,{yes},2.5\n2, {no},3.5\n3,{yes},4.5\n")
        data = read_csv(path, "y")
        assert data.x.tolist() == [[1.0, 1.0], [2.0, 0.0], [3.0, 1.0]]
        assert read_csv(path, "y", columns=["flag"]).x.tolist() == [[1.0], [0.0], [1.0]]
        pandas = pytest.importorskip("pandas")
        frame = pandas.read_csv(path, skipinitialspace=True)
        assert frame["flag"].dtype == bool
        pytest.importorskip("pyarrow")
        frame.to_parquet(tmp_path / "t.parquet")
        parquet = read_parquet(tmp_path / "t.parquet", "y")
        np.testing.assert_array_equal(parquet.x, data.x)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["True", "1"],
            "line 3, column 'flag': expected true or false as in the first row, got th",
        ),
        (["False", "yes"], "line 3, column 'flag': expected true or false as in the first row"),
        (["True", ""], "line 3, column 'flag': expected true or false .* got an empty cell"),
        (["True", "NA"], "line 3, column 'flag': expected true or false .* the missing value 'NA'"),
        (["0", "True"], "line 3, column 'flag': expected a number, got the text 'True'"),
        (["yes", "no"], "line 2, column 'flag': expected a number, got the text 'yes'"),
    ],
)
def test_true_and_false_are_not_mixed_with_other_values(table, cells, message):
    text = "a,flag,y\n" + "".join(f"1,{cell},{k}.5\n" for k, cell in enumerate(cells))
    with pytest.raises(DataError, match=message):
        read_csv(table(text), "y")


def test_columns_are_matched_by_name_and_others_ignored(table):
    path = table("note,b,a\nhello,1,2\nworld,3,4\n")
    data = read_csv(path, "y", columns=("a", "b"), require_target=False)
    assert data.x.tolist() == [[2.0, 1.0], [4.0, 3.0]] and data.t is None


def test_an_empty_target_column_counts_as_absent_only_where_it_may(table):
    path = table("a,y\n1,\n2,\n")
    assert read_csv(path, "y", require_target=False).t is None
    with pytest.raises(DataError, match="line 2, column 'y': expected a target"):
        read_csv(path, "y")


def test_line_numbers_count_lines_of_the_file(table):
    text = 'a,y\n1,"two\nlines"\n\n\nx,z\n'
    with pytest.raises(DataError, match="line 6, column 'a'"):
        read_csv(table(text), "y")


BAD = {
    "text": (
        "a,b,y\n1,2,0\n1,two,0\n",
        "line 3, column 'b': expected a number, got the text 'two'",
    ),
    "empty cell": ("a,b,y\n1,,0\n", "line 2, column 'b': expected a number, got an empty cell"),
    "missing": ("a,b,y\n1,NA,0\n", "line 2, column 'b': expected a number, got the missing value"),
    "missing target": ("a,y\n1,0\n1,NA\n", "line 3, column 'y': expected a target, got NA, a mis"),
    "underscore": ("a,b,y\n1,1_000,0\n", "line 2, column 'b'.*'1_000'"),
    "NaN": ("a,b,y\n1,2,0\n1,nan,0\n", "line 3, column 'b': expected a finite number, got nan"),
    "infinity": ("a,b,y\n1,1e999,0\n", "line 2, column 'b': expected a finite number, got inf"),
    "short line": ("a,b,y\n1,2,0\n1,2\n", "line 3: expected 3 cells as in the header, got 2"),
    "long line": ("a,b,y\n1,2,0,9\n", "line 2: expected 3 cells as in the header, got 4"),
    "empty target": ("a,b,y\n1,2,0\n1,2,\n", "line 3, column 'y': expected a target, got an empty"),
    "NaN target": ("a,b,y\n1,2,u\n1,2,NaN\n", "line 3, column 'y': expected a target, got NaN"),
    "infinite target": (
        "a,b,y\n1,2,1\n1,2,inf\n",
        "line 3, column 'y': expected a finite target, got inf",
    ),
    "no rows": ("a,b,y\n", "expected rows below the header, got none"),
    "empty file": ("", "expected a header line"),
    "no header": ("1,2,3\n4,5,6\n", "got only numbers in line 1"),
    "doubled column": ("a,a,y\n1,2,0\n", "expected distinct column names, got 'a' twice"),
    "nameless column": (",b,y\n1,2,0\n", "expected a name for column 1"),
    "only the target": ("y\n1\n", "expected feature columns besides the target 'y'"),
    "open quote": ('a,b,y\n1,2,"0\n1,2,0\n', "expected well-formed CSV"),
    "no such target": ("a,b,yy\n1,2,0\n", "has no target column 'y': did you mean 'yy'"),
    "UTF-16": (
        "a,b,y\n1,2,0\n".encode("utf-16"),
        "expected UTF-8 text, got something else at byte 0",
    ),
    "NUL": (b"a,b,y\n1,\0,0\n", "line 2"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_mistakes_are_named(table, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_csv(table(content), "y")
    assert "\n" not in str(caught.value)
    assert "table.csv" in str(caught.value)


def test_the_target_must_be_said(table):
    with pytest.raises(DataError, match="--target with one of: a, b"):
        read_csv(table("a,b\n1,2\n"))


def test_a_missing_feature_is_named(table):
    with pytest.raises(DataError, match="has no column 'heigth': did you mean 'height'"):
        read_csv(table("height,y\n1,2\n"), "y", columns=("heigth",))


def test_every_number_of_a_larger_table_is_in_its_place(table):
    values = np.random.default_rng(0).normal(size=(500, 7))
    lines = [",".join("abcdefg")] + [",".join(map(repr, row)) for row in values.tolist()]
    data = read_csv(table("\n".join(lines)), "d")
    np.testing.assert_array_equal(data.x, np.delete(values, 3, axis=1))
    np.testing.assert_array_equal(data.t[:, 0], values[:, 3])


@pytest.mark.parametrize("line", ["sep=|", '"sep=|"', "\ufeffsep=|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("sep", [None, "|"])
def test_a_first_line_for_excel_declares_the_delimiter(tmp_path, line, end, sep):
    path = tmp_path / "a.csv"
    lines = [line, "a,b|y", "1.5|2", "", "2.5|x"]
    path.write_bytes(end.join([*lines, ""]).encode())
    data = read_csv(path, "y", "classification", sep=sep)
    assert data.feature_names == ("a,b",) and data.x.tolist() == [[1.5], [2.5]]
    with pytest.raises(DataError, match="line 5, column 'y': expected a number, got the text 'x'"):
        read_csv(path, "y", "regression", sep=sep)


def test_a_header_that_only_looks_like_that_line(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;,y\n1,2\n")
    assert read_csv(tmp_path / "a.csv", "y", "regression").feature_names == ("sep=;",)
