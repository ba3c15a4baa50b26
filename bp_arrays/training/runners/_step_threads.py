"""`StepThreads`: choose the number of BLAS threads while a runner trains."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bp_arrays.execution import ThreadChoice, blas_threads
from bp_arrays.training.runners._replayed_pass import EagerPass, ReplayedPass

logger = logging.getLogger("bp_arrays")


class StepThreads:
    """Time the steps with the largest product, and set the threads of BLAS by their choice.

    Nothing is set for a net whose products use one thread anyway.
    """

    def __init__(self) -> None:
        self._choice: ThreadChoice | None = None
        self._product = 0  # of the steps that are timed
        self._most: int | None = None  # the threads outside training
        self._chooses = self._timed = False
        self._set = 0
        self._started = 0.0

    @property
    def number(self) -> int | None:
        """The number chosen; None if BLAS was left alone."""
        return None if self._choice is None else self._choice.best

    @contextmanager
    def choosing(self, *, allowed: bool = True) -> Iterator[StepThreads]:
        """Return the context for `begin` and `end`, after which BLAS is as it was.

        Nothing is set unless it is allowed.
        """
        with blas_threads.choosing() as free:
            self._chooses = free and allowed
            self._most, self._set = None, 0
            try:
                yield self
            finally:
                self._chooses = False

    def begin(self, run: EagerPass | ReplayedPass) -> None:
        """Set the threads for a step."""
        self._timed = False
        if not self._chooses or not isinstance(run, ReplayedPass):
            return
        product = run.recording.largest_product
        if not product:
            return
        is_new = product > self._product
        if is_new or self._most is None:
            self._adopt(run)
        if self._choice is None:
            return
        if self._choice.threads != self._set:
            self._set = self._choice.threads
            if not blas_threads.use(self._set):
                self._leave_alone(run)
                return
        self._timed = product == self._product and not is_new  # the first may touch new memory
        self._started = time.perf_counter()

    def _leave_alone(self, run: ReplayedPass) -> None:
        """Choose no more until the end of the context: another thread sets the number."""
        self._chooses, self._choice, run.recording.thread_choice = False, None, None
        logger.info("BLAS keeps its number of threads: another thread of the program has set it")

    def end(self) -> None:
        """Record the time of the step."""
        if self._timed and self._choice is not None:
            self._choice.record(time.perf_counter() - self._started)

    def _adopt(self, run: ReplayedPass) -> None:
        """Continue with the choice for these steps, of this or an earlier training run."""
        if self._most is None:
            self._most = blas_threads.most()
        if self._most == 1:  # nothing to choose; what another training run has learned stays
            self._choice = None
            return
        recording = run.recording
        choice = recording.thread_choice
        if choice is None and recording.largest_product == self._product:
            choice = self._choice  # the same step, recorded again
        if choice is None or choice.most != self._most:
            choice = ThreadChoice(self._most)
        recording.thread_choice = self._choice = choice
        self._product = max(recording.largest_product, self._product)
