"""Compile in a second thread, when that is worth its cost."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

COMPILING, LOADING, IMPORTING = 1.0, 0.02, 0.4
"""Seconds to compile a loop, to load a compiled one from disk, and to import Numba before."""

FIRST_STEPS, CERTAINTY = 5, 4.0
"""Steps after which the time of those to come is estimated, and how many times the cost it must
be: a training run may stop early."""

running_threads: set[threading.Thread] = set()
exiting = threading.Event()


@atexit.register
def _stop() -> None:
    """Let threads end the loop that they compile: LLVM must not run while the process ends."""
    exiting.set()
    for thread in list(running_threads):
        thread.join()


def started(work: Callable[[], None]) -> threading.Thread:
    """Run `work` in a second thread, and return the thread; RuntimeError if there is none."""

    def run() -> None:
        try:
            work()
        finally:
            running_threads.discard(thread)

    thread = threading.Thread(target=run, daemon=True)
    running_threads.add(thread)  # before it runs, because it removes itself
    try:
        thread.start()
    except RuntimeError:
        running_threads.discard(thread)
        raise
    return thread


def numba_module() -> Any:
    """Import Numba, and keep it from replacing `sys.stdout` while it compiles.

    With colorama installed it does so whenever it words an error, and it tries many types that end
    in one: what the program prints meanwhile would be lost.
    """
    import numba
    from numba.core import errors

    if numba.config.COLOR_SCHEME == "no_color" and hasattr(errors, "ColorShell"):
        errors.ColorShell = nullcontext
    return numba


def cost_of_loops(on_disk: int, missing: int) -> float:
    """Return the seconds until loops are ready, of which some are compiled already."""
    importing = 0.0 if "numba" in sys.modules else IMPORTING
    return importing + LOADING * on_disk + COMPILING * missing


class Outlay:
    """The time that steps have taken without compiled loops.

    What is compiled pays off once as much time has passed as compiling costs: whatever comes, at
    most twice the time of the better way is spent. If many more steps are to come, it pays off
    at once.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._steps = 0

    def add(self, seconds: float) -> None:
        """Add the time of one step."""
        self.seconds += seconds
        self._steps += 1

    def exceeds(self, cost: float, steps_to_come: int = 0) -> bool:
        """Return True if compiling for `cost` seconds is worth it."""
        if self.seconds > cost:
            return True
        if self._steps < FIRST_STEPS:
            return False
        return self.seconds / self._steps * steps_to_come > CERTAINTY * cost
