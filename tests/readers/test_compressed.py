"""Covers: tables compressed with gzip and zip, by their first bytes, and damage to them."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.readers import open_dataset

TEXT = "a,b,y\n" + "".join(f"{k},{k / 7!r},{k % 3}.5\n" for k in range(400))


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GZIP = gzip.compress(TEXT.encode())
FILES = {
    "t.csv.gz": GZIP,
    "T.CSV.GZ": GZIP,
    "t.csv": GZIP,  # the first bytes count
    "plain.csv.gz": TEXT.encode(),
    "two.csv.gz": gzip.compress(TEXT[:99].encode()) + gzip.compress(TEXT[99:].encode()),
    "t.tsv.gz": gzip.compress(TEXT.replace(",", "\t").encode()),
    "s.csv.gz": gzip.compress(TEXT.replace(",", ";").replace("b;", "b, c;").encode()),
    "bom.csv.gz": gzip.compress(TEXT.encode("utf-8-sig")),
    "t.csv.zip": zipped({"other name": TEXT}),
    "t.zip": zipped({"folder/t.csv": TEXT}),
    "zip.csv": zipped({"t.csv": TEXT}),
    "stored.zip": zipped({"t.csv": TEXT}, zipfile.ZIP_STORED),
    "bzip2.zip": zipped({"t.csv": TEXT}, zipfile.ZIP_BZIP2),
    "lzma.zip": zipped({"t.csv": TEXT}, zipfile.ZIP_LZMA),
    "mac.zip": zipped({"t.csv": TEXT, "__MACOSX/._t.csv": "x", ".DS_Store": "x", "d/": ""}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_compressed_table_is_read_as_the_table(tmp_path, name):
    """Python's own numbers in the text are the witness."""
    (tmp_path / name).write_bytes(FILES[name])
    data = open_dataset(str(tmp_path / name), target="y")
    rows = [list(map(float, line.split(","))) for line in TEXT.splitlines()[1:]]
    np.testing.assert_array_equal(data.x, np.array(rows)[:, :2])
    np.testing.assert_array_equal(data.t, np.array(rows)[:, 2:])
    assert data.source == str(tmp_path / name)


REFUSED = {
    "two.zip": (zipped({"a.csv": TEXT, "b.csv": TEXT}), "a zip archive of one file, got a.csv, b"),
    "two.csv.zip": (zipped({"a.csv": TEXT, "b.csv": TEXT}), "one file, got a.csv, b.csv; unpack"),
    "none.csv.zip": (zipped({}), "expected a zip archive of one file, got none"),
    "none.zip": (zipped({"d/": ""}), "expected a zip archive of one file, got none"),
    "text.gz": (gzip.compress(b"hello"), "expected a .csv table as .csv.gz or .csv.zip, or IDX"),
    "text.zip": (zipped({"t.txt": TEXT}), "expected a .csv table as .csv.gz or .csv.zip, or IDX"),
    "t.parquet.gz": (gzip.compress(b"PAR1"), "unpack it, or rename it"),
    "x.npy.gz": (gzip.compress(b"\x93NUMPY"), "unpack it, or rename it"),
    "text.csv.gz": (
        gzip.compress(b"a,y\n1,2\n1,\xff\n"),
        "UTF-8 text, got something else at byte 10",
    ),
    "cut.csv.gz": (GZIP[:-9], "not a readable gzip file"),
    "half.csv.gz": (GZIP[: len(GZIP) // 2], "not a readable gzip file"),
    "start.csv.gz": (GZIP[:5], "not a readable gzip file"),
    "start.gz": (GZIP[:5], "not a readable gzip file"),
    "cut.csv.zip": (FILES["t.csv.zip"][:-9], "not a readable zip archive"),
    "changed.csv.zip": (
        FILES["stored.zip"].replace(b"399,57.0", b"398,57.0"),
        "not a readable zip archive",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_compressed_files_are_refused_in_one_line(tmp_path, name):
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(bp.DataError) as error:
        open_dataset(str(tmp_path / name), target="y")
    assert message in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value)


def test_an_archive_with_a_password_is_refused(tmp_path):
    content = bytearray(FILES["stored.zip"])
    content[6] |= 1  # the flag of encryption, in the header of the file and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "t.zip").write_bytes(content)
    with pytest.raises(bp.DataError, match="expected a zip archive without a password"):
        open_dataset(str(tmp_path / "t.zip"), target="y")


def test_columns_and_their_mistakes_are_those_of_a_plain_table(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(GZIP)
    with pytest.raises(bp.DataError, match="expected the name of the target column"):
        open_dataset(str(tmp_path / "t.csv.gz"))
    (tmp_path / "u.csv.gz").write_bytes(gzip.compress(TEXT.replace("\n9,", "\nnine,").encode()))
    with pytest.raises(bp.DataError, match="line 11, column 'a': expected a number"):
        open_dataset(str(tmp_path / "u.csv.gz"), target="y")
