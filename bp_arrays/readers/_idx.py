"""IDX, the format of MNIST: a magic number, the sizes of the axes, then the numbers.

    byte 0, 1   zero
    byte 2      type of a number: 08 unsigned byte, 09 byte, 0B int16, 0C int32, 0D float32,
                0E float64
    byte 3      number of axes
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
from bp_arrays.readers._compressed import GZIP_MAGIC
from bp_arrays.readers._dataset import Dataset, Task, flat_rows, image_shape_of
from bp_arrays.readers._targets import convert_targets
from bp_arrays.typing import HostArray

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

DEFLATE_LIMIT = 1032
"""Upper bound of the ratio by which a deflate stream can unpack."""


def read_idx(
    images: Path,
    labels: Path | None = None,
    task: Task | None = None,
    *,
    require_target: bool = True,
) -> Dataset:
    """Read images and labels from two IDX files, compressed with gzip or not.

    The rows count as ordered: in MNIST the last digits are by other writers than the first.

    Parameters
    ----------
    images : Path
        Two or more axes, the first of them the samples.
    labels : Path, optional
        One axis; by default the file named like the images: train-labels-idx1-ubyte.gz for
        train-images-idx3-ubyte.gz, compressed or not.
    task : "classification", "regression" or None
        None treats integers as classes.
    require_target : bool, default True
        Whether missing labels are an error, all of them or one (NaN).

    Raises
    ------
    DataError
        If a file is not an IDX file, does not match the size in its header, or is damaged; if
        labels and images differ in number; if there are no labels.
    """
    x = read_idx_array(images)
    if x.ndim < 2:
        raise DataError(
            f"{images}: expected images (2 axes or more), got {x.ndim} axis of {x.size} numbers; "
            "are these the labels? Name the file with the images"
        )
    if labels is None:
        labels = _labels_for(images, require_target)
    t, classes = None, None
    if labels is not None:
        values = read_idx_array(labels)
        if values.ndim != 1:
            raise DataError(f"{labels}: expected labels (1 axis), got {values.ndim} axes")
        if task is None and values.dtype.kind != "f":
            task = "classification"
        t, classes = convert_targets(
            values, task, lambda row: f"{labels}, label {row}", required=require_target
        )
    return Dataset(
        x=flat_rows(x, str(images)),
        t=t,
        classes=classes,
        feature_names=(),
        target_names=("label",),
        source=str(images),
        ordered=True,
        one_unit=True,
        image_shape=image_shape_of(x),
    )


def read_idx_array(path: Path) -> HostArray:
    """Read the array of one IDX file, in native byte order.

    Raises
    ------
    DataError
        As for `read_idx`. The size in the header is compared with that of the file before memory
        is allocated.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            # a GzipFile reads like a BinaryIO, but is not one to the type checker
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            return _read(path, file, size, compressed=compressed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: the gzip data is truncated or damaged ({error}); download the file again"
        ) from None


def _read(path: Path, file: BinaryIO, size: int, *, compressed: bool) -> HostArray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or magic[3] == 0:
        raise DataError(
            f"{path}: expected an IDX file, which begins with 00 00, a type 08 to 0E and the "
            f"number of axes, got {magic.hex(' ') or 'an empty file'}"
        )
    dtype, axes = np.dtype(DTYPES[magic[2]]), magic[3]
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise DataError(
            f"{path}: expected a header of {4 + 4 * axes} bytes, got {4 + len(sizes)}: truncated"
        )
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    header, content = 4 + 4 * axes, dtype.itemsize * math.prod(shape)
    numbers = f"{'x'.join(map(str, shape))} numbers of {8 * dtype.itemsize} bits"
    if compressed and content > size * DEFLATE_LIMIT:
        raise DataError(
            f"{path}: expected {numbers} as in the header, got {size} bytes of gzip, which cannot "
            "contain them"
        )

    def wrong_size(total: int | str) -> DataError:
        return DataError(
            f"{path}: expected {header + content} bytes, for {numbers} as in the header, got "
            f"{total}: truncated or damaged; download the file again"
        )

    if not compressed and header + content != size:
        raise wrong_size(size)
    data = file.read(content + 1)  # one byte more, to see that nothing follows
    if len(data) < content:
        raise wrong_size(header + len(data))
    if len(data) > content:
        raise wrong_size(f"more than {header + content}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _labels_for(images: Path, required: bool) -> Path | None:
    name = re.sub(r"idx\d+", "idx1", images.name.replace("images", "labels"))
    plain = name.removesuffix(".gz")
    candidates = [images.with_name(candidate) for candidate in (name, plain, f"{plain}.gz")]
    for candidate in candidates:
        if candidate.is_file() and candidate != images:
            return candidate
    if not required:
        return None
    raise DataError(
        f"{images}: expected labels in {candidates[0]}, found none; name both files, IMAGES,LABELS"
    )
