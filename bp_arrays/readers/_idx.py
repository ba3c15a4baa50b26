"""IDX, the format of MNIST: a magic number, the sizes of the axes, then the numbers.

    byte 0, 1   zero
    byte 2      what a number is: 08 unsigned byte, 09 byte, 0B int16, 0C int32, 0D float32,
                0E float64
    byte 3      how many axes
    then        the size of each axis, 4 bytes, most significant first
    then        the numbers, most significant byte first, last axis fastest

LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.readers._dataset import Dataset, Task, flat_rows
from bp_arrays.readers._targets import targets_from_numbers
from bp_arrays.typing import HostArray

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

GZIP_MAGIC = b"\x1f\x8b"

DEFLATE_LIMIT = 1032
"""No deflate stream unpacks to more than this many times its size."""


def read_idx(
    images: Path,
    labels: Path | None = None,
    task: Task | None = None,
    *,
    require_target: bool = True,
) -> Dataset:
    """Images and their labels from two IDX files, each compressed with gzip or not.

    The order of the rows is kept, since such files tend to end in other writers than they begin.

    Parameters
    ----------
    images : Path
        Of two or more axes, the first of them the samples.
    labels : Path, optional
        Of one axis; by default found by the name of the images: train-images-idx3-ubyte.gz has
        train-labels-idx1-ubyte.gz beside it, compressed or not.
    task : "classification", "regression" or None
        None takes whole numbers for classes.
    require_target : bool, default True
        Whether it is an error if there are no labels.

    Raises
    ------
    DataError
        If a file is no IDX file, is shorter or longer than its header says, or is damaged; if
        labels and images differ in number; if there are no labels.
    """
    x = read_idx_array(images)
    if x.ndim < 2:
        raise DataError(
            f"{images}: expected images (2 axes or more), got {x.ndim} axis of {x.size} numbers; "
            "are these the labels? Name the file with the images"
        )
    if labels is None:
        labels = _labels_beside(images, require_target)
    t, classes = None, None
    if labels is not None:
        values = read_idx_array(labels)
        if values.ndim != 1:
            raise DataError(f"{labels}: expected labels (1 axis), got {values.ndim} axes")
        if task is None and values.dtype.kind != "f":
            task = "classification"
        t, classes = targets_from_numbers(values, task, lambda row: f"{labels}, label {row}")
    return Dataset(
        x=flat_rows(x, str(images)),
        t=t,
        classes=classes,
        feature_names=(),
        target_names=("label",),
        source=str(images),
        ordered=True,
        one_unit=True,
    )


def read_idx_array(path: Path) -> HostArray:
    """The array in one IDX file, in native byte order.

    Raises
    ------
    DataError
        As `read_idx`. What the header claims is compared with the size of the file before
        memory is taken for it.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            # GzipFile reads as a file does, without being one to the type checker
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            return _read(path, file, size * DEFLATE_LIMIT if packed else size, packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip data is truncated or damaged ({error}); fetch the file again"
        ) from None


def _read(path: Path, file: BinaryIO, most: int, packed: bool) -> HostArray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or magic[3] == 0:
        raise DataError(
            f"{path}: expected an IDX file, which begins with 00 00, a type 08 to 0E and the "
            f"number of axes, but it begins with {magic.hex(' ') or 'nothing'}"
        )
    dtype, axes = np.dtype(DTYPES[magic[2]]), magic[3]
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(f"{path}: expected a header of {4 + 4 * axes} bytes, the file ends in it")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    header, content = 4 + 4 * axes, dtype.itemsize * math.prod(shape)
    claim = f"{path}: the header says {'x'.join(map(str, shape))} numbers of {dtype.itemsize} bytes"
    if packed and content > most:
        raise DataError(f"{claim}, which {most // DEFLATE_LIMIT} bytes of gzip cannot hold")
    if not packed and header + content != most:
        raise DataError(
            f"{claim}, so {header + content} bytes in all were expected, but the file has {most}: "
            "truncated or damaged; fetch it again"
        )
    data = file.read(content + 1)  # one more, to see that nothing follows
    if len(data) != content:
        came = "more" if len(data) > content else f"{header + len(data)}"
        raise DataError(
            f"{claim}, so {header + content} bytes in all were expected, but the file unpacks to "
            f"{came}: truncated or damaged; fetch it again"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _labels_beside(images: Path, required: bool) -> Path | None:
    name = re.sub(r"idx\d+", "idx1", images.name.replace("images", "labels"))
    plain = name.removesuffix(".gz")
    candidates = [images.with_name(each) for each in (name, plain, f"{plain}.gz")]
    for candidate in candidates:
        if candidate.is_file() and candidate != images:
            return candidate
    if not required:
        return None
    raise DataError(
        f"{images}: there are no labels {candidates[0]} beside it; name both files, IMAGES,LABELS"
    )
