"""The machine a benchmark ran on, and settings of it that slow down NumPy."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any

from bp_arrays.testing import _provenance as provenance

SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables by which somebody has OpenBLAS compute for another processor than it finds."""

LIMITING = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


PEERS = ("scikit-learn", "thinc", "nvmath-python")
"""Packages that take part here and nowhere else."""


def surroundings() -> dict[str, Any]:
    """Return what a result depends on besides the code."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        pools: list[dict[str, Any]] = []
    else:
        pools = [
            {
                key: pool[key]
                for key in ("internal_api", "version", "architecture", "num_threads")
                if key in pool
            }
            for pool in threadpool_info()
        ]
    return {
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "processor": _processor(),
        "versions": {**provenance.versions(), **_peers()},
        "threads": pools,
        "variables": {name: os.environ[name] for name in SLOWING + LIMITING if name in os.environ},
    }


def warnings() -> list[str]:
    """Return a line for each variable that slows down NumPy."""
    lines = [
        f"WARNING: {name}={os.environ[name]} is set: OpenBLAS does not use the kernels it would "
        "choose for this processor, and NumPy may be slower than it can be"
        for name in SLOWING
        if name in os.environ
    ]
    lines += [
        f"WARNING: {name}={os.environ[name]} is set: libraries that obey it use so many threads, "
        "others use all cores"
        for name in LIMITING
        if name in os.environ
    ]
    return lines


def _peers() -> dict[str, str]:
    found = {}
    for package in PEERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line[:10] == "model name"), "")
