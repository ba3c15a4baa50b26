"""What a report was measured with: machine, versions, commit, and the source of the maths."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CHECKED_ROOMS = (
    "activations",
    "data",
    "devices",
    "execution",
    "initializers",
    "inputs",
    "kernels",
    "layers",
    "losses",
    "model",
    "optimizers",
    "random",
    "schedules",
    "training",
)
"""The rooms whose results depend on the device."""

DISTRIBUTIONS = (
    "bp_arrays",
    "numpy",
    "array-api-compat",
    "array-api-strict",
    "cupy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "torch",
    "jax",
    "numba",
)


@cache
def source_hash() -> str:
    """A digest of the source of the rooms whose results a check is about, line ends aside."""
    digest = hashlib.sha256()
    for room in CHECKED_ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
            digest.update(path.read_text(encoding="utf-8").encode())
    return digest.hexdigest()[:16]


def commit() -> str:
    """The commit of the repository this runs from, "+changes" if files differ from it; "" if
    there is no repository."""
    head = _git("rev-parse", "HEAD")
    return head + ("+changes" if head and _git("status", "--porcelain", "-uno") else "")


def versions() -> dict[str, str]:
    """The versions of Python and of every package that takes part."""
    found = {"python": platform.python_version()}
    for package in DISTRIBUTIONS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Operating system, kind of processor and number of cores."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _git(*words: str) -> str:
    # An installed package is in a folder of others, whose repository, if any, is not this one.
    if PACKAGE.parent.name.endswith("-packages") or not (PACKAGE.parent / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *words], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
