"""A small valid file for each reader, and the call that reads it."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import bp_arrays as bp
from bp_arrays.data import ArrayBlocks, ParquetBlocks, open_dataset

ROWS = 30


class Sample(NamedTuple):
    """A valid file: the reader it is for, its name and content, and the call that reads it."""

    reader: str
    name: str
    content: bytes
    read: Callable[[Path], Any]


def samples(folder: Path) -> list[Sample]:
    """Return a file for each reader, made in the folder; Parquet only if pyarrow is installed."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(ROWS, 4)), rng.integers(0, 3, ROWS)
    names = np.array(["daisy", "rosé", "tulip"])[t]
    rows = [
        f"{','.join(map(repr, row))},{name}" for row, name in zip(x.tolist(), names, strict=True)
    ]
    text = "\n".join(["a,b,c,d,kind", *rows]).encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("t.csv", text)
    images = struct.pack(">BBBB3I", 0, 0, 8, 3, ROWS, 2, 2) + rng.bytes(4 * ROWS)

    def model(training_state: bool) -> bytes:
        net = bp.Sequential(bp.Standardize(), bp.Linear(3), bp.ReLU(), bp.Linear(3))
        trained = bp.Model(net, 4, device="cpu", seed=0)
        trained.metadata = {"note": "é"}
        bp.fit(trained, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), epochs=1)
        trained.save(folder / "model", training_state=training_state)
        return (folder / "model").read_bytes()

    files = [
        Sample("model", "m.safetensors", model(False), _model),
        Sample("training state", "s.safetensors", model(True), _model),
        Sample("npz", "d.npz", _saved(np.savez, x=x, t=names), _dataset),
        Sample("npz, deflated", "d.npz", _saved(np.savez_compressed, x=x, t=t), _dataset),
        Sample("npy", "x.npy", _saved(np.save, arr=x), _samples),
        Sample("npy, blocks", "x.npy", _saved(np.save, arr=x), _blocks),
        Sample("npy, text", "t.npy", _saved(np.save, arr=names), _targets(x, folder)),
        Sample("csv", "t.csv", text, _table),
        Sample("csv, gzip", "t.csv.gz", gzip.compress(text, mtime=0), _table),
        Sample("csv, zip", "t.csv.zip", archive.getvalue(), _table),
        Sample("idx", "a-images-idx3-ubyte", images, _samples),
        Sample("idx, gzip", "a-images-idx3-ubyte.gz", gzip.compress(images, mtime=0), _samples),
    ]
    if find_spec("pyarrow"):
        content = _parquet(x, names)
        files.append(Sample("parquet", "t.parquet", content, _table))
        files.append(Sample("parquet, blocks", "t.parquet", content, _parquet_blocks))
    return files


def _model(path: Path) -> object:
    return bp.load(path, device="cpu")


def _dataset(path: Path) -> object:
    return open_dataset(str(path))


def _samples(path: Path) -> object:
    return open_dataset(str(path), require_target=False)


def _table(path: Path) -> object:
    return open_dataset(str(path), target="kind")


def _blocks(path: Path) -> object:
    blocks = ArrayBlocks(path, block_rows=ROWS)
    return [blocks.read(k) for k in range(len(blocks.block_rows))]


def _targets(x: np.ndarray, folder: Path) -> Callable[[Path], object]:
    samples = folder / "samples.npy"
    np.save(samples, x)
    return lambda path: open_dataset(f"{samples},{path}")


def _parquet_blocks(path: Path) -> object:
    blocks = ParquetBlocks(path, "kind")
    return [blocks.read(k) for k in range(len(blocks.block_rows))]


def _saved(save: Callable[..., None], **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def _parquet(x: np.ndarray, names: np.ndarray) -> bytes:
    import pyarrow
    from pyarrow import parquet

    columns = dict(zip("abcé", x.T, strict=True)) | {"kind": names}
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), sink, row_group_size=20)
    return sink.getvalue()
