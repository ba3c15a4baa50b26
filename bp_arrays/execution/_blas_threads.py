"""`BlasThreads`: the number of threads of NumPy's BLAS, which is one for the whole process.

BLAS libraries have no number of threads for each caller: what is set here holds for NumPy in all
threads of the program until it is restored. So it is set around training steps only, never
around callbacks or validation, and by one training run at a time. The last bits of a product may
depend on it, because BLAS sums long rows in other parts: a number that the user has set is kept.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.execution._instructions import Instruction, Slot

logger = logging.getLogger("bp_arrays")

ONE_THREAD, ONE_THREAD_VECTOR = 2**18, 9216
"""Multiplications up to which OpenBLAS itself uses one thread: products of matrices, and of a
matrix and a vector."""


VARIABLES = (
    "BLIS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
"""Variables by which a user sets the number of threads, which is then kept: the last bits of a
product may depend on it."""


class BlasThreads:
    """The setting of NumPy's BLAS; a single thread if threadpoolctl does not know the library."""

    def __init__(self) -> None:
        self._libraries: list[Any] | None = None
        self._original: list[int] | None = None  # while another number is set
        self._in_use = threading.Lock()

    @contextmanager
    def choosing(self) -> Iterator[bool]:
        """Return a context in which `use` may be called; it restores the setting at its end.

        The value is False while another training run chooses: then the setting is left alone.
        """
        if not self._in_use.acquire(blocking=False):
            yield False
            return
        try:
            yield True
        finally:
            original, self._original = self._original, None
            for library, number in zip(self._libraries or (), original or (), strict=False):
                library.set_num_threads(number)
            self._in_use.release()

    def most(self) -> int:
        """Return the number of threads that is set, 1 if none can be; before the first `use`."""
        return max(self._current(), default=1)

    def use(self, number: int) -> bool:
        """Use this number of threads until the end of the context `choosing`.

        Return False if it cannot be set: threadpoolctl lets one thread of the program at a time
        set the number, the first that did and has not ended, and ignores the others.
        """
        if self._original is None:
            self._original = self._current()
        for library in self._libraries or ():
            library.set_num_threads(number)
        return all(current == number for current in self._current())

    def _current(self) -> list[int]:
        if self._libraries is None:
            self._libraries = _numpy_blas()
        return [library.get_num_threads() or 1 for library in self._libraries]


def _numpy_blas() -> list[Any]:
    """Return threadpoolctl's controls of the BLAS that NumPy uses; none if the user has set it."""
    chosen = [name for name in VARIABLES if name in os.environ]
    if chosen:
        logger.info("BLAS keeps its number of threads, set by %s", ", ".join(chosen))
        return []
    try:
        from threadpoolctl import ThreadpoolController

        controls = ThreadpoolController().lib_controllers
    except Exception as error:  # a library that it cannot read must not stop training
        logger.info("BLAS keeps its number of threads: %s", error)
        return []
    blas = [control for control in controls if control.user_api == "blas"]
    bundled = [control for control in blas if _is_bundled(control.filepath)]
    return bundled or blas


def _is_bundled(path: str) -> bool:
    """Return True for a library in a folder of NumPy's wheel, such as numpy.libs."""
    return any(part.startswith(np.__name__) for part in Path(path).parts)


def largest_product(steps: Iterable[Instruction]) -> int:
    """Return the multiplications of the largest matrix product that may use several threads."""
    sizes = [0]
    for step in steps:
        if step.function not in (np.dot, np.matmul):
            continue
        a, b = (x.shape if isinstance(x, Slot) else np.shape(x) for x in step.operands[:2])
        size = math.prod(a[-2:]) * (b[-1] if len(b) > 1 else 1)
        is_vector = len(a) < 2 or len(b) < 2 or a[-2] == 1 or b[-1] == 1
        if size > (ONE_THREAD_VECTOR if is_vector else ONE_THREAD):
            sizes.append(size)
    return max(sizes)


blas_threads = BlasThreads()
"""The setting of this process."""
