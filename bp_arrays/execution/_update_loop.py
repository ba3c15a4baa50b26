"""Compile formulas to loops on the CPU, by Numba if it is installed.

Compiling takes about a second, loading a compiled loop from disk little more than the import of
Numba. A short training run must not pay for it: the loop is requested when updates on arrays have
cost as much, or will, and is compiled by a second thread while training continues. The loop
computes the same bits, so results do not depend on when it takes over.
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

from bp_arrays.execution._background import Outlay, cost_of_loops, exiting, numba_module, started
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


class LoopRequest:
    """The request for a compiled loop: `loop` is None until it is compiled, or if it cannot be."""

    def __init__(self, formula: Formula, dtype: str) -> None:
        self.loop: Loop | None = None
        self._formula, self._dtype = formula, dtype
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._outlay = Outlay()
        self._on_disk: bool | None = None
        self._ended = False  # whether there is no thread to compile, and never will be

    def spend(self, seconds: float, steps_to_come: int = 0) -> None:
        """Add the time of an update without the loop; compile when it is worth it."""
        if self._ended or self._thread is not None:
            return
        if self._on_disk is None:
            self._on_disk = is_on_disk(source_of(self._formula, self._dtype), "update")
        self._outlay.add(seconds)
        if self._outlay.exceeds(cost_of_loops(self._on_disk, not self._on_disk), steps_to_come):
            self.start()

    def start(self) -> None:
        """Start to compile in a second thread; does nothing if called again."""
        with self._lock:
            if self._thread is None and not self._ended:
                try:
                    self._thread = started(self._compile)
                except RuntimeError as error:  # the system has no more threads
                    logger.info("no thread to compile an update, NumPy continues: %s", error)
                    self._ended = True

    def wait(self) -> Loop | None:
        """Wait for the loop and return it; None if it cannot be compiled."""
        self.start()
        if self._thread is not None:
            self._thread.join()
        return self.loop

    def _compile(self) -> None:
        try:
            self.loop = compiled_loop(self._formula, self._dtype)
        except Exception as error:  # a failure of the compiler must not stop training
            if not exiting.is_set():
                logger.warning("Numba cannot compile an update, NumPy continues: %s", error)


_requests: dict[tuple[str, str], LoopRequest] = {}


def loop_request(formula: Formula, dtype: str) -> LoopRequest:
    """Return the request for a formula; one per process, shared by all training runs."""
    return _requests.setdefault((source_of(formula, dtype), dtype), LoopRequest(formula, dtype))


def has_compiler() -> bool:
    """Return True if Numba is installed; it is not imported."""
    return importlib.util.find_spec("numba") is not None


def source_of(formula: Formula, dtype: str) -> str:
    """Return the formula as a Python function that overwrites its inputs with its results.

    The old θ is left in g, which is not needed after the update.
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
    """Return the loop over (theta, g, state..., scalars...), compiled or loaded from disk."""
    numba = numba_module()
    if exiting.is_set():
        raise RuntimeError("the process ends")
    module, cached = module_of(source_of(formula, dtype))
    array, number = numba.types.Array(getattr(numba, dtype), 1, "C"), numba.float64
    signature = numba.void(*[array] * len(formula.arrays), *[number] * len(formula.scalars))
    # as in NumPy: division by zero is infinity, and no operations are reordered or fused
    compiler = numba.njit(signature, error_model="numpy", fastmath=False, cache=cached)
    loop: Loop = compiler(module.update)
    return loop


def module_of(text: str, kind: str = "update") -> tuple[ModuleType, bool]:
    """Return the source as a module, and whether it has a file, which Numba's cache requires."""
    name = _module_name(text, kind)
    path = cache_folder() / f"{name}.py"
    module = ModuleType(name)
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    sys.modules[name] = module  # cached machine code looks up its function by this name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        if not path.exists():
            part.write_text(text, encoding="utf-8")
            part.replace(path)
    except OSError:  # a home directory that is read-only: compile again in each process
        logger.debug("no cache for compiled updates in %s", path.parent)
    return module, path.exists()


def is_on_disk(text: str, kind: str) -> bool:
    """Return True if Numba's cache has the compiled code of a source, for some processor."""
    folder = cache_folder() / "__pycache__"
    return any(folder.glob(f"{_module_name(text, kind)}.*.nbi"))


def _module_name(text: str, kind: str) -> str:
    return f"bp_arrays_{kind}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def cache_folder() -> Path:
    """Return the cache folder of this library for the current user."""
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        root = str(Path.home() / "Library" / "Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "bp_arrays"
