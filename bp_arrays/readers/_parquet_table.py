"""Parquet (extra: parquet): tables by columns, in groups of rows that can be read alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.errors import DataError, MissingExtraError
from bp_arrays.typing import HostArray

SUFFIXES = (".parquet", ".pq")

BUFFER = 2**16
"""Bytes of a column that are read at once."""


class Group(NamedTuple):
    """One row group: its file, its number there, its first row in the file, how many rows."""

    path: Path
    number: int
    first_row: int
    rows: int


class ParquetTable:
    """One or more Parquet files of the same columns, of which nothing but the ends is read.

    Parameters
    ----------
    paths : sequence of Path

    Raises
    ------
    DataError
        If a file is no Parquet file or is damaged, or has other columns than the first.
    MissingExtraError
        If pyarrow is not installed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.groups: list[Group] = []
        self._types: dict[str, Any] = {}
        for path in self.paths:
            with _readable(path) as parquet:
                metadata, schema = parquet.metadata, parquet.schema_arrow
            types = {name: schema.field(name).type for name in _columns(path, schema)}
            if path is self.paths[0]:
                self._types = types
            _check_same_columns(path, types, self.paths[0], self._types)
            first_row = 0
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                self.groups.append(Group(path, number, first_row, rows))
                first_row += rows

    @property
    def names(self) -> list[str]:
        """The columns, in the order of the first file."""
        return list(self._types)

    @property
    def path(self) -> Path:
        """What to call the table in messages that are about all of it."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent

    def dtype(self, names: Sequence[str]) -> np.dtype[Any]:
        """The dtype in which these columns of numbers are read.

        Raises
        ------
        DataError
            Naming the first column that holds none.
        """
        return np.result_type(*(self._number_dtype(name) for name in names))

    def holds_numbers(self, name: str) -> bool:
        """Whether a column holds numbers, or yes and no."""
        return _number_dtype(self._types[name]) is not None

    def columns(self, group: Group, names: Sequence[str]) -> Iterator[Any]:
        """These columns of one row group, as pyarrow has them; each row has a value.

        They are read one by one: together they would be in memory several times over.

        Raises
        ------
        DataError
            If the file is damaged, or a value is missing: column and row are named.
        """
        with _readable(group.path) as parquet:
            for name in names:
                read = parquet.read_row_group(group.number, columns=[name], use_threads=False)
                column = read.column(name)
                if column.null_count:
                    row = int(np.argmax(np.asarray(column.is_null())))
                    raise DataError(
                        f"{self.place(group, row, name)}: expected a value, got null; drop such "
                        "rows or fill them first"
                    )
                yield column

    def numbers(self, group: Group, names: Sequence[str]) -> HostArray:
        """Columns of numbers of one row group, as an array (rows, columns)."""
        array = None
        for k, column in enumerate(self.columns(group, names)):
            if array is None:  # as long as what was read, not as what the file claims
                array = np.empty((len(column), len(names)), self.dtype(names))
            array[:, k] = column.to_numpy()
        assert array is not None, "there is no table without columns"
        return array

    def texts(self, group: Group, name: str) -> list[str]:
        """A column of text of one row group.

        Raises
        ------
        DataError
            If it holds anything else.
        """
        [column] = self.columns(group, [name])
        values: list[Any] = column.to_pylist()
        odd = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
        if odd is not None:
            raise DataError(
                f"{self.place(group, odd, name)}: expected a number or text as the target, got "
                f"{values[odd]!r:.60} ({column.type}); choose another target"
            )
        return values

    def place(self, group: Group, row: int, name: str) -> str:
        """What to call a cell in messages."""
        return f"{group.path}, row {group.first_row + row} (counted from 0), column {name!r}"

    def _number_dtype(self, name: str) -> np.dtype[Any]:
        found = _number_dtype(self._types[name])
        if found is None:
            raise DataError(
                f"{self.path}, column {name!r}: expected numbers, got {self._types[name]}; leave "
                "the column out or make numbers of it"
            )
        return found


def parquet_files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[Path]:
    """The files of a table: one, several, or those in a folder, by name.

    Raises
    ------
    DataError
        If there is no such file or folder, or no Parquet file in it.
    """
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    files = []
    for each in map(Path, given):
        if not each.is_dir():
            files.append(each)
            continue
        files += sorted(file for file in each.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(
            f"{', '.join(map(str, given)) or 'path'}: expected Parquet files, found none"
        )
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"there is no file {str(missing)!r}; check the path")
    return files


def _columns(path: Path, schema: Any) -> list[str]:
    """The names of the columns, less the index that pandas stores beside them."""
    names = list(schema.names)
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{path}: there are two columns {doubled!r}; rename one")
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in names if name not in index]


def _check_same_columns(path: Path, types: Any, first: Path, expected: Any) -> None:
    for name in expected:
        if name not in types:
            raise DataError(f"{path} has no column {name!r}, which {first} has")
        if types[name] != expected[name]:
            raise DataError(
                f"{path}, column {name!r}: expected {expected[name]} as in {first}, "
                f"got {types[name]}"
            )
    extra = next((name for name in types if name not in expected), None)
    if extra is not None:
        raise DataError(f"{path} has a column {extra!r}, which {first} has not")


def _number_dtype(kind: Any) -> np.dtype[Any] | None:
    """NumPy's dtype for the values of a column; None where they are no numbers."""
    import pyarrow

    types = pyarrow.types
    if types.is_boolean(kind):
        return np.dtype(np.uint8)
    if types.is_decimal(kind):
        return np.dtype(np.float64)
    if types.is_integer(kind) or types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    return None


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """The open file; whatever pyarrow says about it becomes one line with its name."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(
            'Parquet files are read by pyarrow: pip install "bp_arrays[parquet]"'
        ) from None
    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DataError(
            f"{path}: not a readable Parquet file (truncated or damaged?): "
            f"{' '.join(str(error).split())}"
        ) from None
