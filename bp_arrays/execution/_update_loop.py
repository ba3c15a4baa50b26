"""Formulas as compiled loops on the CPU, by Numba where it is installed.

Compiling takes about a second, a loop that was compiled before is read back from the disk in a
third of that. A short training must not pay for it: the loop is asked for only once the plain
update has cost as much, and is compiled by a second thread, while the training goes on. Since the
loop gives the same bits, nobody can tell from the numbers when it took over.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bp_arrays.execution._formula import Formula

logger = logging.getLogger("bp_arrays")

Loop = Callable[..., None]

SOURCE = '''\
"""Written by bp_arrays: one pass over the elements of an optimizer's update."""
from numpy import {dtype} as T, sqrt


def update({parameters}):
    {once}
    for i in range(theta.size):
        {each}
'''


WORTH_COMPILING = 1.0
"""Seconds of plain updates after which a loop is compiled: about what that costs."""


class LoopRequest:
    """A loop that may be there one day: `loop` is None until then, and if it cannot be."""

    def __init__(self, formula: Formula, dtype: str) -> None:
        self.loop: Loop | None = None
        self._formula, self._dtype = formula, dtype
        self._thread: threading.Thread | None = None
        self._spent = 0.0

    def spend(self, seconds: float) -> None:
        """Count what the update costs without the loop."""
        self._spent += seconds
        if self._spent > WORTH_COMPILING:
            self.start()

    def start(self) -> None:
        """Have it compiled behind the caller's back; does nothing when called again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._compile, daemon=True)
            self._thread.start()

    def wait(self) -> Loop | None:
        """The loop, as soon as it is there."""
        self.start()
        assert self._thread is not None
        self._thread.join()
        return self.loop

    def _compile(self) -> None:
        try:
            self.loop = compiled_loop(self._formula, self._dtype)
        except Exception as error:  # a compiler's failure must not end a training that runs
            logger.warning("Numba cannot compile an update, NumPy goes on: %s", error)


_requests: dict[tuple[str, str], LoopRequest] = {}


def loop_request(formula: Formula, dtype: str) -> LoopRequest:
    """The request for a formula: one in a process, whatever number of trainings use it."""
    return _requests.setdefault((source_of(formula, dtype), dtype), LoopRequest(formula, dtype))


def has_compiler() -> bool:
    """Whether Numba is installed; it is not imported."""
    return importlib.util.find_spec("numba") is not None


def source_of(formula: Formula, dtype: str) -> str:
    """The formula as a Python function that writes its results over its inputs.

    θ before the update is left in g, whose numbers nobody needs any more.
    """
    states = formula.arrays[2:]
    each = [f"{name}_i = {name}[i]" for name in formula.arrays]
    each += [*formula.each, "g[i] = theta_i"]
    each += [
        f"{name}[i] = {result}"
        for name, result in zip(["theta", *states], formula.results, strict=True)
    ]
    return SOURCE.format(
        dtype=dtype,
        parameters=", ".join([*formula.arrays, *formula.scalars]),
        once="\n    ".join(formula.once or ["pass"]),
        each="\n        ".join(each),
    )


def compiled_loop(formula: Formula, dtype: str) -> Loop:
    """The loop over (theta, g, state..., scalars...), compiled now or read from the disk."""
    import numba

    module, cached = _module(source_of(formula, dtype))
    array, number = numba.types.Array(getattr(numba, dtype), 1, "C"), numba.float64
    signature = numba.void(*[array] * len(formula.arrays), *[number] * len(formula.scalars))
    # Divisions by zero give infinity, as in NumPy; no operation may be reordered or merged.
    compiler = numba.njit(signature, error_model="numpy", fastmath=False, cache=cached)
    loop: Loop = compiler(module.update)
    return loop


def _module(text: str) -> tuple[ModuleType, bool]:
    """The source as a module, and whether it is in a file that Numba can keep machine code by."""
    name = f"bp_arrays_update_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = cache_folder() / f"{name}.py"
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    sys.modules[name] = module  # where the machine code, read back, looks for its function
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        if not path.exists():
            part.write_text(text, encoding="utf-8")
            part.replace(path)
    except OSError:  # a home that cannot be written: compiled anew in each process
        logger.debug("no cache for compiled updates in %s", path.parent)
    return module, path.exists()


def cache_folder() -> Path:
    """Where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = str(Path.home() / "Library" / "Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "bp_arrays"
