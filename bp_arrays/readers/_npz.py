"""NumPy's files: .npz archives and pairs of .npy files. Nothing is unpickled: no code can run."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.readers._dataset import Dataset, Task, flat_rows, image_shape_of
from bp_arrays.readers._parsing import parsing
from bp_arrays.readers._targets import convert_targets
from bp_arrays.typing import HostArray, Shape

X_NAMES = ("x", "X", "x_train", "X_train")
T_NAMES = ("t", "y", "T", "Y", "t_train", "y_train", "T_train", "Y_train")


def read_npz(
    path: Path,
    task: Task | None = None,
    *,
    require_target: bool = True,
    known_classes: Collection[str] = (),
) -> Dataset:
    """Read samples and targets from the arrays of an .npz file, into memory.

    A member of a zip archive cannot be memory-mapped: data larger than memory belongs in .npy
    files. The samples are named x or X, the targets t or y; or x_train and y_train, and then
    x_test and y_test, if present, are the test rows.

    Raises
    ------
    DataError
        If the file is not an .npz archive, is truncated or damaged, contains Python objects, or
        lacks the arrays.
    """
    with path.open("rb") as file, parsing(path, ".npz archive"):
        arrays, x_name, t_name = _members(path, file, require_target)
    return _dataset(
        path,
        arrays,
        x_name,
        t_name,
        task,
        require_target=require_target,
        known_classes=known_classes,
    )


def read_npy_pair(
    x: Path,
    t: Path | None,
    task: Task | None = None,
    *,
    require_target: bool = True,
    known_classes: Collection[str] = (),
) -> Dataset:
    """Read samples from one .npy file and, for training, targets from another.

    The samples are memory-mapped, unless they are in Fortran order, which scatters each row over
    the whole file.

    Raises
    ------
    DataError
        If a file is not an .npy file, is truncated or damaged, or contains Python objects.
    """
    mapped = mapped_npy(x)
    arrays = {"x": mapped if mapped.flags.c_contiguous else read_npy(x)}
    if t is not None:
        arrays["t"] = read_npy(t)
    return _dataset(
        x,
        arrays,
        "x",
        None if t is None else "t",
        task,
        require_target=require_target,
        known_classes=known_classes,
    )


def read_npy(path: Path) -> HostArray:
    """Read the array of an .npy file."""
    with path.open("rb") as file:
        return _read_array(str(path), file, path.stat().st_size)


def _members(
    path: Path, file: BinaryIO, require_target: bool
) -> tuple[dict[str, HostArray], str, str | None]:
    """Read samples and targets, of training and test rows, and their names in the archive."""
    with zipfile.ZipFile(file) as archive:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if members.setdefault(info.filename, info) is not info:
                name = info.filename.removesuffix(".npy")
                raise DataError(
                    f"{path}: expected distinct names of arrays, got {name!r} twice; rename one"
                )
        names = [name.removesuffix(".npy") for name in members if name.endswith(".npy")]
        x_name = next((name for name in X_NAMES if name in names), None)
        t_name = next((name for name in T_NAMES if name in names), None)
        if x_name is None or (t_name is None and require_target):
            raise DataError(
                f"{path}: expected arrays x and t (or X and y, or x_train and y_train), "
                f"got {', '.join(names) or 'none'}"
            )
        selected = [name for name in (x_name, t_name) if name]
        selected += [test for name in selected if (test := _test_name(name)) in names]
        arrays = {}
        for name in selected:
            info = members[f"{name}.npy"]
            with archive.open(info) as member:
                # a ZipExtFile reads like a BinaryIO, but is not one to the type checker
                stream = cast(BinaryIO, member)
                arrays[name] = _read_array(f"{path}, array {name}", stream, info.file_size)
    return arrays, x_name, t_name


def _dataset(
    path: Path,
    arrays: Mapping[str, HostArray],
    x_name: str,
    t_name: str | None,
    task: Task | None,
    *,
    require_target: bool,
    known_classes: Collection[str],
) -> Dataset:
    x_test, t_test = _test_name(x_name), _test_name(t_name or "")
    held_out = None
    x, values = arrays[x_name], arrays[t_name] if t_name else None
    if x_test in arrays and (t_name is None or t_test in arrays):
        held_out = np.arange(len(x), len(x) + len(arrays[x_test]))
        x = _stacked(path, x, arrays[x_test], x_name, x_test)
        if values is not None:
            values = _stacked(path, values, arrays[t_test], str(t_name), t_test)
    t, classes = None, None
    target_names: tuple[str, ...] = ("target",)
    if values is not None:
        t, classes = convert_targets(
            values,
            task,
            lambda row: f"{path}, {t_name}[{row}]",
            required=require_target,
            known_classes=known_classes,
        )
        if t is not None and classes is None and t.shape[1] > 1:
            target_names = tuple(f"target_{k}" for k in range(t.shape[1]))
    return Dataset(
        x=flat_rows(x, f"{path}, array {x_name}"),
        t=t,
        classes=classes,
        feature_names=(),
        target_names=target_names,
        source=str(path),
        held_out=held_out,
        one_unit=x.ndim > 2,
        image_shape=image_shape_of(x),
    )


def _test_name(name: str) -> str:
    return name.replace("_train", "_test") if name.endswith("_train") else ""


def _stacked(path: Path, train: HostArray, test: HostArray, name: str, other: str) -> HostArray:
    if not train.ndim == test.ndim > 0 or train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{path}: expected samples of one shape in {name} and {other}, got "
            f"{train.shape} and {test.shape}"
        )
    return np.concatenate([train, test])


def mapped_npy(path: Path) -> HostArray:
    """Memory-map the array of an .npy file; an empty array or a scalar is read into memory.

    Raises
    ------
    DataError
        If the file is not an .npy file, is truncated or damaged, or contains Python objects.
    """
    with path.open("rb") as file:
        shape, fortran, dtype = _header(str(path), file, path.stat().st_size)
        start = file.tell()
    if 0 in shape or shape == ():  # nothing to map
        return read_npy(path)
    with parsing(path, ".npy file"):
        return np.memmap(path, dtype, "r", start, shape, order="F" if fortran else "C")


def _read_array(name: str, file: BinaryIO, size: int) -> HostArray:
    """Read one array in NumPy's format."""
    shape, fortran, dtype = _header(name, file, size)
    expected = dtype.itemsize * math.prod(shape)
    data = file.read(expected)
    if len(data) != expected:
        raise DataError(f"{name}: expected {expected} bytes, got {len(data)}: truncated")
    with parsing(name, ".npy file"):
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)


def _header(name: str, file: BinaryIO, size: int) -> tuple[Shape, bool, np.dtype[Any]]:
    """Read shape, Fortran order and dtype, and compare them with the size of the file."""
    with parsing(name, ".npy file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers by Python 2, and of odd escapes in others
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                raise ValueError(f"format version {version}")
        except MemoryError:  # of Python's parser, for deeply nested brackets and signs
            raise ValueError("the header is nested too deeply") from None
    if dtype.hasobject:
        raise DataError(
            f"{name}: expected numbers or text, got Python objects, which are never loaded; "
            "save it again with a number dtype"
        )
    expected, remaining = dtype.itemsize * math.prod(shape), size - file.tell()
    if min(shape, default=0) < 0 or expected != remaining:
        raise DataError(
            f"{name}: expected {expected} bytes for shape {shape} of {dtype} as in the header, "
            f"got {remaining}: truncated or damaged"
        )
    return shape, fortran, dtype
