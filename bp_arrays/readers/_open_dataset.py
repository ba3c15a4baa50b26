"""`open_dataset`: read a data set by its name, or by the format of its file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from bp_arrays.errors import DataError, unknown_name
from bp_arrays.readers._compressed import GZIP_MAGIC, ZIP_MAGIC, unpacked, zipped_name
from bp_arrays.readers._csv import read_csv
from bp_arrays.readers._dataset import Dataset, Task, check_task
from bp_arrays.readers._digits import read_digits
from bp_arrays.readers._idx import read_idx
from bp_arrays.readers._notes import read_notes
from bp_arrays.readers._npz import read_npy_pair, read_npz
from bp_arrays.readers._parquet import read_parquet
from bp_arrays.readers._parquet_table import SUFFIXES as PARQUET, holds_parquet

BUILT_IN: dict[str, Callable[[], Dataset]] = {"digits": read_digits, "notes": read_notes}
"""Built-in data sets, by name."""

KINDS = ".csv or IDX images (compressed or not), .parquet, .npz, or two .npy files as X.npy,T.npy"

CSV = (".csv", ".tsv")

TABLES = ("csv", "parquet")
"""Formats with named columns."""


def open_dataset(
    spec: str,
    *,
    target: str | None = None,
    task: Task | None = None,
    columns: Sequence[str] | None = None,
    require_target: bool = True,
    known_classes: Collection[str] = (),
    sep: str | None = None,
) -> Dataset:
    """Read a data set, by its name or from a file.

    Parameters
    ----------
    spec : str
        "digits", "notes", or the path of a .csv, .parquet, .npz or IDX file, or of a folder of
        .parquet files; or two paths separated by a comma, for samples and targets in .npy or IDX
        files. A .csv file may be compressed with gzip or zip, IDX files with gzip.
    target : str, optional
        The target column of a .csv or .parquet file.
    task : "classification", "regression" or None
        None infers the task from the targets. For files only.
    columns : sequence of str, optional
        The feature columns of a .csv or .parquet file; by default all except the target.
    require_target : bool, default True
        Whether missing targets are an error, all of them or some; see `Dataset`.
    known_classes : collection of str
        Used only with require_target=False: names that are classes even if they look like missing
        values, such as "NA".
    sep : str, optional
        The delimiter of a .csv file; by default a comma, semicolon or tab, whichever fits.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the data does not exist, or a file is damaged or of another format; for a target or a
        task of data that has its own.
    OSError
        If a file cannot be opened.

    Examples
    --------
    >>> open_dataset("digits").rows
    1797
    """
    check_task(task)
    paths = [] if spec in BUILT_IN else _paths(spec)
    kind = _kind(paths[0]) if paths else spec
    if sep is not None and kind != "csv":
        raise DataError(f"sep: expected a .csv file, got {spec}; drop sep")
    if spec in BUILT_IN:
        if target is not None and require_target:
            raise DataError(
                f"target: expected a file with columns, got {spec!r}, which has its own target; "
                "drop target"
            )
        if task is not None and require_target:
            raise DataError(
                f"task: expected a file, got {spec!r}, which has its own task; drop task"
            )
        return BUILT_IN[spec]()
    if target is not None and require_target and kind not in TABLES:
        raise DataError(f"target: expected a .csv or .parquet file, got {spec}; drop target")
    if len(paths) == 2 and kind not in ("npy", "idx"):
        raise DataError(f"{spec}: expected one .{kind} file, got two; only .npy and IDX have pairs")
    second = paths[1] if len(paths) == 2 else None
    optional: dict[str, Any] = {"require_target": require_target, "known_classes": known_classes}
    if kind == "csv":
        return read_csv(paths[0], target, task, columns=columns, sep=sep, **optional)
    if kind == "parquet":
        return read_parquet(paths[0], target, task, columns=columns, **optional)
    if kind == "npz":
        return read_npz(paths[0], task, **optional)
    if kind == "idx":
        return read_idx(paths[0], second, task, require_target=require_target)
    if second is None and require_target:
        raise DataError(
            f"{spec}: expected two .npy files, got one; name both, SAMPLES.npy,TARGETS.npy"
        )
    return read_npy_pair(paths[0], second, task, **optional)


def table_path(spec: str) -> tuple[Path, str]:
    """Return the path of a table, a .csv or .parquet file, and its format.

    Raises
    ------
    DataError
        If there is no such file, or it has another format.
    """
    path = Path(spec)
    if not path.exists():
        raise DataError(f"there is no file {spec!r}; check the path")
    kind = _kind(path)
    if kind not in TABLES:
        raise DataError(
            f"{spec}: expected a table, a .csv or .parquet file; bp.data.open_dataset reads others"
        )
    return path, kind


def is_table(spec: str) -> bool:
    """Return whether a data set is a file with named columns."""
    if spec in BUILT_IN:
        return False
    paths = _paths(spec)
    return len(paths) == 1 and _kind(paths[0]) in TABLES


def _paths(spec: str) -> list[Path]:
    """Split the names of one or two files at the comma, unless it is part of a file's name."""
    names = [spec] if Path(spec).exists() else spec.split(",")
    if len(names) > 2:
        raise DataError(f"{spec}: expected one file, or two separated by a comma, got {len(names)}")
    for name in names:
        path = Path(name)
        if path.is_dir() and _kind(path) != "parquet":
            raise DataError(f"{name}: expected a file, got a folder; name a file in it: {KINDS}")
        if not path.exists():
            if path.suffix or path.parent != Path():
                raise DataError(f"there is no file {name!r}; check the path")
            nearest = str(unknown_name("data", name, BUILT_IN))
            raise DataError(f"{nearest}, or a file: {KINDS}")
    return [Path(name) for name in names]


def _kind(path: Path) -> str:
    """Return the format by the suffix or, since IDX has no usual one, by the first bytes."""
    if path.is_dir():
        return "parquet" if holds_parquet(path) else "folder"
    suffix = path.suffix.lower()
    if suffix in (".gz", ".zip") and Path(path.stem).suffix.lower() in CSV:
        return "csv"
    if suffix in CSV:
        return "csv"
    if suffix in PARQUET:
        return "parquet"
    if suffix in (".npz", ".npy"):
        return suffix[1:]
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(b"PA"):  # of PAR1
        return "parquet"
    if "idx" in path.name or start.startswith(b"\0\0"):
        return "idx"
    if start.startswith((GZIP_MAGIC, *ZIP_MAGIC)):
        return _kind_in(path, zipped=start.startswith(ZIP_MAGIC))
    raise DataError(f"{path}: expected {KINDS}, got a file of unknown format")


def _kind_in(path: Path, *, zipped: bool) -> str:
    """Return the format of the file in a compressed file whose name does not tell it."""
    if zipped and Path(zipped_name(path)).suffix.lower() in CSV:
        return "csv"
    with unpacked(path) as file:
        start = file.read(2)
    if start == b"\0\0" and not zipped:
        return "idx"
    raise DataError(
        f"{path}: expected a .csv table as .csv.gz or .csv.zip, or IDX images as .gz, got another "
        "file in it; unpack it, or rename it"
    )
