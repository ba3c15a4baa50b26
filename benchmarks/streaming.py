"""python -m benchmarks.streaming [--out FOLDER]: train on files larger than memory.

Writes a 1.5 GB .npy file and a 600 MB Parquet file to a temporary folder. Each way to train from
them runs for two epochs in a separate process, whose private memory (RLIMIT_DATA) may grow by at
most LIMIT after the data is opened. Memory is sampled every few milliseconds: RssAnon is the
process's own; RssFile counts pages of the mapped file, which the system can reclaim.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

import bp_arrays as bp
from bp_arrays.testing import _provenance as provenance

COLUMNS, ROWS, PARQUET_ROWS, GROUP_ROWS = 100, 3_750_000, 1_000_000, 50_000
BATCH, EPOCHS = 1024, 2
LIMIT = 512 * 2**20
COLD_ROWS = 60_000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write streaming.json here")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.case:
        print(json.dumps(measured(CASES[args.case], args.data)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make_files(data)
        sizes = {path.name: path.stat().st_size for path in sorted(data.iterdir())}
        results = {}
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.streaming", "--case", case, "--data", data]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results[case] = json.loads(done.stdout)
            print(said(case, results[case]), flush=True)
        cold = cold_reading(data / "x.npy")
    print(f"rows a second from a cold file: {cold}")
    if args.out:
        report = {
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions() | {"pyarrow": pyarrow.__version__},
            "bytes": sizes,
            "row_group_bytes": GROUP_ROWS * COLUMNS * 4,
            "batch_bytes": BATCH * COLUMNS * 4,
            "limit_bytes": LIMIT,
            "epochs": EPOCHS,
            "training_runs": results,
            "cold_rows_a_second": cold,
        }
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "streaming.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


# -- the files -----------------------------------------------------------------------------------


def make_files(folder: Path) -> None:
    """Write x.npy and t.npy with ROWS rows, and table.parquet with the first PARQUET_ROWS."""
    t = np.empty(ROWS, np.int64)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (ROWS, COLUMNS))
    schema = pyarrow.schema(
        [(f"x{k}", pyarrow.float32()) for k in range(COLUMNS)] + [("t", pyarrow.int64())]
    )
    rng = np.random.default_rng(0)
    with parquet.ParquetWriter(folder / "table.parquet", schema, compression="snappy") as writer:
        for start in range(0, ROWS, GROUP_ROWS):
            rows = slice(start, start + GROUP_ROWS)
            part = rng.standard_normal((GROUP_ROWS, COLUMNS), dtype=np.float32)
            x[rows], t[rows] = part, part[:, :5].sum(axis=1) > 0
            if start < PARQUET_ROWS:
                columns = [*np.ascontiguousarray(part.T), t[rows]]
                arrays = [pyarrow.array(column) for column in columns]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    x.flush()
    np.save(folder / "t.npy", t)


# -- the ways of training ------------------------------------------------------------------------


def mapped(folder: Path) -> tuple[Any, ...]:
    """Pass a memory-mapped array to fit, which reads rows in random order."""
    return np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "t.npy")


def blocks(folder: Path) -> tuple[Any, ...]:
    """Train on the same file in blocks of consecutive rows."""
    return (bp.data.ArrayBlocks(folder / "x.npy", folder / "t.npy"),)


def table(folder: Path) -> tuple[Any, ...]:
    """Train on a Parquet file, row group by row group."""
    return (bp.data.ParquetBlocks(folder / "table.parquet", "t"),)


def in_memory(folder: Path) -> tuple[Any, ...]:
    """Train on the same rows as the Parquet file in memory, to compare speeds."""
    x, t = mapped(folder)
    return np.array(x[:PARQUET_ROWS]), t[:PARQUET_ROWS]


CASES = {"memory-mapped": mapped, "blocks": blocks, "parquet": table, "in memory": in_memory}


def measured(opened: Callable[[Path], tuple[Any, ...]], folder: Path) -> dict[str, float]:
    """Return the peaks of memory while the data is opened and trained on, above the start."""
    net = bp.Sequential(bp.Linear(64), bp.ReLU(), bp.Linear(2))
    model = bp.Model(net, COLUMNS, device="cpu", seed=0)
    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(1e-3)}
    warm = np.zeros((BATCH, COLUMNS), np.float32), np.zeros(BATCH, np.int64)
    bp.fit(model, *warm, batch_size=BATCH, **settings)
    for path in folder.iterdir():
        forget(path)
    before = memory()
    resource.setrlimit(
        resource.RLIMIT_DATA, (int(before["VmData"]) + LIMIT, resource.RLIM_INFINITY)
    )
    with Watch() as watch:
        started = time.perf_counter()
        data = bp.data.Batches(*opened(folder), batch_size=BATCH, seed=0)
        history = bp.fit(model, data, epochs=EPOCHS, metrics=[bp.Accuracy()], **settings)
        seconds = time.perf_counter() - started
    return {
        "own_peak_growth": watch.peak["RssAnon"] - before["RssAnon"],
        "mapped_peak_growth": watch.peak["RssFile"] - before["RssFile"],
        "rows_a_second": round(EPOCHS * len(data) * BATCH / seconds),
        "accuracy": history["accuracy"][-1],
    }


def memory() -> dict[str, int]:
    """Return the memory use of this process, in bytes, as reported by the system."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = (line.split() for line in lines if line.startswith(("RssAnon", "RssFile", "VmData")))
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in fields}


class Watch:
    """Samples memory inside the context and keeps the peaks."""

    def __init__(self) -> None:
        self.peak = memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *of: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.003):
            now = memory()
            self.peak = {name: max(value, now[name]) for name, value in self.peak.items()}


# -- reading alone -------------------------------------------------------------------------------


def forget(path: Path) -> None:
    """Ask the system to drop a file from its cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def cold_reading(path: Path) -> dict[str, int]:
    """Measure rows per second from an uncached file, one by one and in blocks."""
    order = np.random.default_rng(1).permutation(ROWS)[:COLD_ROWS]
    forget(path)
    x = np.load(path, mmap_mode="r")
    started = time.perf_counter()
    for start in range(0, COLD_ROWS, BATCH):
        x[order[start : start + BATCH]]
    one_by_one = COLD_ROWS / (time.perf_counter() - started)
    del x
    forget(path)
    data = bp.data.ArrayBlocks(path)
    started = time.perf_counter()
    read = np.random.default_rng(1).permutation(len(data.block_rows))[:100]
    rows = sum(len(data.read(int(block))[0]) for block in read)
    return {
        "one by one": round(one_by_one),
        "blocks": round(rows / (time.perf_counter() - started)),
    }


def said(case: str, result: dict[str, float]) -> str:
    return (
        f"{case:<14} own memory grew by {result['own_peak_growth'] / 1e6:7.1f} MB at most, "
        f"mapped pages by {result['mapped_peak_growth'] / 1e6:7.1f} MB; "
        f"{result['rows_a_second']:,} rows a second, accuracy {result['accuracy']:.4f}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
