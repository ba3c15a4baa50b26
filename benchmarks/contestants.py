"""The libraries measured on this machine, and the reasons why others cannot run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial

import bp_arrays as bp
from benchmarks.ours import matmuls, ours
from benchmarks.peers import jax_jit, scikit_learn, thinc, torch_compile, torch_eager
from benchmarks.workloads import Epoch, Workload

OURS, FLOOR = "bp_arrays", "matmuls alone"
PLAIN = "bp_arrays, no graph"

Contestants = dict[str, Callable[[Workload], Epoch]]

CPU: Contestants = {
    OURS: ours,
    FLOOR: matmuls,
    "PyTorch": torch_eager,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
    "scikit-learn": scikit_learn,
    "Thinc": thinc,
}
GPU: Contestants = {
    OURS: partial(ours, device="cuda"),
    PLAIN: partial(ours, device="cuda", plain=True),
    FLOOR: partial(matmuls, device="cuda"),
    "PyTorch": partial(torch_eager, device="cuda"),
    "torch.compile": partial(torch_compile, device="cuda"),
    "jax.jit": partial(jax_jit, device="cuda"),
}
CONTESTANTS = {"cpu": CPU, "gpu": GPU}

PACKAGES = {
    "PyTorch": "torch",
    "torch.compile": "torch",
    "jax.jit": "jax",
    "scikit-learn": "sklearn",
    "Thinc": "thinc",
}
DEVICES = {"PyTorch": "torch:cuda", "torch.compile": "torch:cuda", "jax.jit": "jax:cuda"}
"""The device of ours that tells whether a peer can use the GPU; CuPy's for the others."""


def unavailable(name: str, machine: str) -> str:
    """Return why a library cannot run here, or "" if it can."""
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    if name == "torch.compile" and not (shutil.which("g++") or os.environ.get("CXX")):
        return "torch.compile needs a C++ compiler"
    if machine == "gpu":
        return bp.device(DEVICES.get(name, "cuda")).availability().reason
    return ""
