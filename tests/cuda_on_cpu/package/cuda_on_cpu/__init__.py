"""CUDA's libraries, emulated on the CPU, loaded before anything asks for NVIDIA's.

Imported by `cuda_on_cpu.pth` whenever Python starts. CUDA_ON_CPU=0 switches it off.

    with cuda_on_cpu.counted() as counts:    # kernels, copies, waits ... of what is done inside
        ...
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOADED: list[ctypes.CDLL] = []


def load() -> None:
    """Load every library under its NVIDIA name: whoever asks for that name later gets it."""
    if LOADED or os.environ.get("CUDA_ON_CPU", "1") == "0":
        return
    os.environ["CUDA_PATH"] = str(HERE)  # the headers that kernels include
    # One cache per build: CuPy finds a kernel in its cache by source and options, and would load on
    # a GPU what was compiled here, or here what an older build compiled.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kernels = cache / "bp_arrays" / "cuda_on_cpu" / f"kernels-{(HERE / 'build').read_text()}"
    for variable, name in (("CUPY_CACHE_DIR", "cupy"), ("CUDA_ON_CPU_CACHE", "compiled")):
        if not os.environ.get(variable):
            os.environ[variable] = str(kernels / name)
    LOADED.append(ctypes.CDLL(str(HERE / "lib" / "libcuda_on_cpu.so"), ctypes.RTLD_GLOBAL))
    for path in sorted((HERE / "lib").glob("lib*.so.*")):
        LOADED.append(ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL))


def __getattr__(name: str) -> Any:
    """`counts` and `counted`, which no program needs at its start."""
    if name in ("counts", "counted", "Counts"):
        from cuda_on_cpu import _counts

        return getattr(_counts, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


load()
