"""Parquet tables, read column by column and row group by row group (extra: parquet)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.extras import require_extra
from bp_arrays.readers._columns import check_distinct
from bp_arrays.readers._parsing import parsing
from bp_arrays.tables import first_rounded, is_rounded, rounded_error
from bp_arrays.typing import HostArray

SUFFIXES = (".parquet", ".pq")

BUFFER = 2**16
"""Bytes of a column per read."""


class Group(NamedTuple):
    """One row group: its file, its number in the file, its first row, its number of rows."""

    path: Path
    number: int
    first_row: int
    rows: int


class ParquetTable:
    """One or more Parquet files with the same columns; the constructor reads only their footers.

    Parameters
    ----------
    paths : sequence of Path

    Raises
    ------
    DataError
        If a file is not a Parquet file or is damaged, or its columns differ from the first's.
    MissingExtraError
        If pyarrow is not installed.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.groups: list[Group] = []
        self._types: dict[str, Any] = {}
        for path in self.paths:
            with _opened(path) as parquet, _parsing(path):
                metadata, schema = parquet.metadata, parquet.schema_arrow
                types = {name: schema.field(name).type for name in _columns(path, schema)}
                group_rows = [
                    metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
                ]
            if path is self.paths[0]:
                self._types = types
            _check_same_columns(path, types, self.paths[0], self._types)
            first_row = 0
            for number, rows in enumerate(group_rows):
                self.groups.append(Group(path, number, first_row, rows))
                first_row += rows

    @property
    def names(self) -> list[str]:
        """The column names, in the order of the first file."""
        return list(self._types)

    @property
    def path(self) -> Path:
        """The name of the whole table in messages."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[0].parent

    def dtype(self, names: Sequence[str]) -> np.dtype[Any]:
        """Return the dtype in which these columns of numbers are read.

        Raises
        ------
        DataError
            If a column is not of numbers.
        """
        return np.result_type(*(self._number_dtype(name) for name in names))

    def type(self, name: str) -> Any:
        """Return pyarrow's type of a column."""
        return self._types[name]

    def holds_numbers(self, name: str) -> bool:
        """Return whether a column is of numbers or booleans."""
        return _number_dtype(self._types[name]) is not None

    def holds_truth(self, name: str) -> bool:
        """Return whether a column is of booleans."""
        import pyarrow

        return bool(pyarrow.types.is_boolean(self._types[name]))

    def holds_decimals(self, name: str) -> bool:
        """Return whether a column is of decimal numbers."""
        import pyarrow

        return bool(pyarrow.types.is_decimal(self._types[name]))

    def columns(self, group: Group, names: Sequence[str]) -> Iterator[Any]:
        """Yield these columns of one row group as pyarrow arrays without nulls.

        They are read one by one: together they would be in memory several times over.

        Raises
        ------
        DataError
            If the file is damaged; with column and row, if a value is null.
        """
        with _opened(group.path) as parquet:
            for name in names:
                column = _read_column(parquet, group, name)
                self._check_no_null(group, name, column)
                yield column

    def column(self, group: Group, name: str, *, required: bool) -> tuple[Any, HostArray]:
        """Read a column of one row group, and which of its values are not null.

        Raises
        ------
        DataError
            As for `columns`, for null only if all values are required.
        """
        with _opened(group.path) as parquet:
            column = _read_column(parquet, group, name)
        if required:
            self._check_no_null(group, name, column)
        with _parsing(group.path):
            return column, np.asarray(column.is_valid())

    def numbers(self, group: Group, names: Sequence[str]) -> HostArray:
        """Read columns of numbers of one row group into an array (rows, columns).

        Raises
        ------
        DataError
            As for `columns`; with column and row, for a whole number that float64 rounds.
        """
        columns = self.columns(group, names)
        first = next(columns)  # its length was checked against the file's metadata
        array = np.empty((len(first), len(names)), self.dtype(names))
        for k, column in enumerate(chain([first], columns)):
            with _parsing(group.path):
                values = column.to_numpy()
                array[:, k] = values
            self._check_not_rounded(group, names[k], values, array[:, k])
        return array

    def texts(self, group: Group, name: str, *, required: bool = True) -> list[str]:
        """Read a column of text of one row group, without spaces around the texts.

        Raises
        ------
        DataError
            If a value is not text; if it is null, unless values are not required: then it is "".
        """
        column, _ = self.column(group, name, required=required)
        with _parsing(group.path):
            values: list[Any] = ["" if value is None else value for value in column.to_pylist()]
        odd = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
        if odd is not None:
            raise DataError(
                f"{self.describe_location(group, odd, name)}: expected a number or text as the "
                f"target, got {values[odd]!r:.60} ({column.type}); choose another target"
            )
        return [value.strip() for value in values]

    def describe_location(self, group: Group, row: int, name: str) -> str:
        """Describe the location of a cell for messages."""
        return f"{group.path}, row {group.first_row + row} (counted from 0), column {name!r}"

    def _check_no_null(self, group: Group, name: str, column: Any) -> None:
        if column.null_count:
            row = int(np.argmax(np.asarray(column.is_null())))
            raise DataError(
                f"{self.describe_location(group, row, name)}: expected a value, got null; "
                "drop or fill such rows"
            )

    def _check_not_rounded(
        self, group: Group, name: str, values: HostArray, converted: HostArray
    ) -> None:
        row: int | None = None
        if self.holds_decimals(name):
            texts = (format(value, "f") for value in values)
            pairs = enumerate(zip(texts, converted.tolist(), strict=True))
            row = next((row for row, pair in pairs if is_rounded(*pair)), None)
        elif (rounded := first_rounded(values)) is not None:
            row = rounded[0]
        if row is not None:
            raise rounded_error(self.describe_location(group, row, name), values[row])

    def _number_dtype(self, name: str) -> np.dtype[Any]:
        dtype = _number_dtype(self._types[name])
        if dtype is None:
            raise DataError(
                f"{self.path}, column {name!r}: expected numbers, got {self._types[name]}; exclude "
                "the column or convert it to numbers"
            )
        return dtype


def _read_column(parquet: Any, group: Group, name: str) -> Any:
    """Read one column of a row group; DataError if it is damaged, or has other rows."""
    with _parsing(group.path):
        table = parquet.read_row_group(group.number, columns=[name], use_threads=False)
        column = table.column(name)
    if len(column) != group.rows:
        raise DataError(
            f"{group.path}, column {name!r}: expected {group.rows} rows in row group "
            f"{group.number}, got {len(column)}: truncated or damaged"
        )
    return column


def parquet_files(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[Path]:
    """List the files of a table: one, several, or those of a folder in the order of their names.

    Raises
    ------
    DataError
        If a file or folder does not exist, or there is no Parquet file in it; if a folder has
        Parquet files in folders at any depth in it, such as the partitions of Hive.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    files = []
    for item in map(Path, paths):
        if not item.is_dir():
            files.append(item)
            continue
        files += sorted(_files_of_folder(item))
    if not files:
        raise DataError(
            f"{', '.join(map(str, paths)) or 'path'}: expected Parquet files, found none"
        )
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"there is no file {str(missing)!r}; check the path")
    return files


def holds_parquet(folder: Path) -> bool:
    """Return whether a folder has Parquet files at any depth, as Hive's tables do."""
    return any(map(_has_shards, _folders(folder)))


def _files_of_folder(folder: Path) -> list[Path]:
    nested = _nested(folder)
    if nested is not None:
        name = nested.relative_to(folder)
        partition = next((part for part in name.parts if "=" in part), None)
        reason = ""
        if partition is not None:
            key = partition.partition("=")[0]
            reason = f", a partition by {key!r}, which is no column then"
        raise DataError(
            f"{folder}: expected Parquet files in one folder, got some in {str(name)!r} too"
            f"{reason}; write the table as one file, or as files in one folder"
        )
    return [path for path in folder.iterdir() if _is_shard(path)]


def _nested(folder: Path) -> Path | None:
    """Return a folder with Parquet files at any depth in a folder; None if there is none."""
    return next((path for path in _folders(folder) if path != folder and _has_shards(path)), None)


def _folders(folder: Path) -> Iterator[Path]:
    """Yield a folder and those at any depth in it, without hidden ones."""
    waiting, visited = [folder], set()
    while waiting:
        path = waiting.pop()
        if (real := path.resolve()) in visited:
            continue  # a link may lead back to a folder that it is in
        visited.add(real)
        yield path
        inner = [entry for entry in path.iterdir() if entry.is_dir() and not _is_hidden(entry)]
        waiting += sorted(inner, reverse=True)


def _has_shards(folder: Path) -> bool:
    return any(map(_is_shard, folder.iterdir()))


def _is_shard(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_hidden(path) and not path.is_dir()


def _is_hidden(path: Path) -> bool:
    """Return whether a file in a folder is no data: a checksum, _SUCCESS, _metadata, ...

    So it is by the convention of Hive and Spark, which pyarrow and polars follow.
    """
    return path.name.startswith((".", "_"))


def _columns(path: Path, schema: Any) -> list[str]:
    """List the column names, without the index that pandas stores as columns."""
    names = list(schema.names)
    check_distinct(path, names)
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
        raise DataError(f"{path} has a column {extra!r}, which {first} lacks")


def _number_dtype(kind: Any) -> np.dtype[Any] | None:
    """Return NumPy's dtype for a column; None if it is not of numbers."""
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
def _opened(path: Path) -> Iterator[Any]:
    """Open a file."""
    require_extra("parquet")
    from pyarrow import parquet

    with _parsing(path):
        file = parquet.ParquetFile(path, buffer_size=BUFFER)
    with file:
        yield file


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn whatever pyarrow raises for a damaged file into a DataError of one line."""
    import pyarrow

    with parsing(path, "Parquet file"):
        try:
            yield
        except pyarrow.ArrowMemoryError as error:  # of a size that the damaged file declares
            raise ValueError(str(error)) from None
