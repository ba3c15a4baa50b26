"""Covers: IDX files: every dtype, plain and compressed, every kind of damage."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from bp_arrays.errors import DataError
from bp_arrays.readers._idx import DTYPES, read_idx, read_idx_array


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(DTYPES[code]).tobytes()


IMAGES = (np.arange(6 * 3 * 2) % 256).reshape(6, 3, 2)
LABELS = np.array([3, 1, 3, 1, 3, 1])


def write_pair(folder, packed: bool = False):
    suffix, pack = (".gz", gzip.compress) if packed else ("", bytes)
    images = folder / f"train-images-idx3-ubyte{suffix}"
    labels = folder / f"train-labels-idx1-ubyte{suffix}"
    images.write_bytes(pack(idx_bytes(IMAGES)))
    labels.write_bytes(pack(idx_bytes(LABELS)))
    return images, labels


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_images_find_their_labels(tmp_path, packed):
    images, _ = write_pair(tmp_path, packed)
    data = read_idx(images)
    np.testing.assert_array_equal(data.x, IMAGES.reshape(6, 6))
    assert data.t.tolist() == [1, 0, 1, 0, 1, 0] and data.classes == ("1", "3")
    assert data.ordered and data.one_unit


def test_packed_images_find_plain_labels_and_the_other_way_round(tmp_path):
    images, labels = write_pair(tmp_path)
    packed = tmp_path / f"{images.name}.gz"
    packed.write_bytes(gzip.compress(images.read_bytes()))
    assert read_idx(packed).t is not None
    (tmp_path / f"{labels.name}.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    assert read_idx(images).t is not None


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_comes_out_in_native_order(tmp_path, code):
    values = np.array([[1, 2, 3], [100, 5, 6]])
    path = tmp_path / "a-idx2"
    path.write_bytes(idx_bytes(values, code))
    array = read_idx_array(path)
    assert array.dtype.isnative and array.dtype == np.dtype(DTYPES[code]).newbyteorder("=")
    np.testing.assert_array_equal(array, values)


def damaged(good: bytes) -> dict[str, tuple[bytes, str]]:
    huge = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1)
    return {
        "empty": (b"", "got an empty file"),
        "not IDX": (b"hello, world", "expected an IDX file"),
        "unknown dtype": (b"\0\0\x0a\x03" + good[4:], "got 00 00 0a 03"),
        "no axes": (b"\0\0\x08\0", "expected an IDX file"),
        "cut in the header": (good[:9], "header of 16 bytes"),
        "cut in the numbers": (good[:-1], "expected 52 bytes, .*, got 51"),
        "too long": (good + b"\0", "expected 52 bytes, .*, got 53"),
        "huge": (huge + good[16:], "for 4294967295x4294967295x4294967295 numbers"),
        "gzip cut": (gzip.compress(good)[:-9], "gzip data is truncated or damaged"),
        "gzip cut in its header": (gzip.compress(good)[:5], "gzip data is truncated"),
        "gzip flipped": (_flipped(gzip.compress(good)), "gzip data is truncated or damaged"),
        "gzip with too little": (gzip.compress(good[:-1]), "expected 52 bytes.*got 51"),
        "gzip with too much": (gzip.compress(good + b"\0"), "expected 52 bytes.*got more than 52"),
        "gzip with a huge claim": (gzip.compress(huge), "bytes of gzip, which cannot contain"),
    }


def _flipped(packed: bytes) -> bytes:
    middle = len(packed) - 6  # in the checksum
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


@pytest.mark.parametrize("kind", damaged(idx_bytes(IMAGES)))
def test_damage_is_named(tmp_path, kind):
    content, message = damaged(idx_bytes(IMAGES))[kind]
    images, _ = write_pair(tmp_path)
    images.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(images)
    assert "\n" not in str(caught.value) and images.name in str(caught.value)


def test_labels_missing_swapped_or_of_another_number(tmp_path):
    images, labels = write_pair(tmp_path)
    with pytest.raises(DataError, match="are these the labels"):
        read_idx(labels)
    with pytest.raises(DataError, match="expected labels"):
        read_idx(images, images)
    labels.write_bytes(idx_bytes(LABELS[:-1]))
    with pytest.raises(DataError, match="6 rows and 5 targets"):
        read_idx(images)
    labels.unlink()
    with pytest.raises(DataError, match=r"expected labels in .*, found none"):
        read_idx(images)
    assert read_idx(images, require_target=False).t is None


def test_no_images_at_all(tmp_path):
    images, labels = write_pair(tmp_path)
    images.write_bytes(idx_bytes(IMAGES[:0]))
    labels.write_bytes(idx_bytes(LABELS[:0]))
    with pytest.raises(DataError, match=r"at least one|shape \(0"):
        read_idx(images)


def test_nan_in_float_images(tmp_path):
    images, labels = write_pair(tmp_path)
    values = np.ones((6, 2, 2))
    values[4, 1, 0] = np.nan
    images.write_bytes(idx_bytes(values, 0x0D))
    with pytest.raises(DataError, match="row 4, feature 2"):
        read_idx(images, labels)
