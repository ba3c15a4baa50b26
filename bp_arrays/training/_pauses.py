"""`Pauses`: what happens between two training steps, and where an epoch continues.

A runner asks `is_due` after each step, or after each window of steps, which costs some tens of
nanoseconds; only if it is, the runner brings the model up to date and calls `pause`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from bp_arrays.data import Batch, BatchIterator, Feed, fingerprint
from bp_arrays.errors import InputError
from bp_arrays.training._evaluate import Sums
from bp_arrays.training._interrupts import Interruptible


class Closeable(Protocol):
    """What can be closed, such as an iterator."""

    def close(self) -> None: ...


class Pauses:
    """The pauses of one epoch without checkpoints: for Ctrl-C.

    Parameters
    ----------
    interrupts : Interruptible

    Attributes
    ----------
    start : int
        The number of batches of the epoch to leave out: an earlier run has trained on them.
    sums : Sums or None
        The sums of these batches, on the host.
    seconds : float
        The time that these batches took.
    measures : bool
        Whether steps may run in another way of rounding because it was measured to be faster.
    next_step, next_time : float
        The number of updates, and the monotonic time, at which the next pause is due.
    """

    def __init__(self, interrupts: Interruptible) -> None:
        self.interrupts = interrupts
        self.start = 0
        self.sums: Sums | None = None
        self.last_batch: str | None = None
        self.next_step = self.next_time = math.inf
        self.timed = False
        self.seconds = 0.0
        self.measures = True

    def begin_epoch(self, order: Any) -> None:
        """Begin an epoch, with the order of the rows that a function of the user chose, if any."""

    def in_validation(self) -> None:
        """Do what is due between two batches of the validation data."""

    def end_epoch(self, *, last: bool) -> None:
        """Do what is due after the callbacks of an epoch."""
        self.start, self.sums, self.last_batch, self.seconds = 0, None, None, 0.0

    def begin(self, sums: Callable[[], Sums | None]) -> None:
        """Begin an epoch; `sums` returns those of its batches so far."""

    def is_due(self, step: int) -> bool:
        """Return whether to pause after this number of updates."""
        return bool(
            step >= self.next_step
            or self.interrupts.pending
            or (self.timed and time.monotonic() >= self.next_time)
        )

    def steps_left(self, step: int) -> float:
        """Return the number of steps until the next pause that is due by their number."""
        return max(1, self.next_step - step)

    def pause(self, batch: Batch | None = None) -> None:
        """Do what is due after a step, on this batch; the model is up to date.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            After Ctrl-C, or SIGTERM.
        """
        self.interrupts.check()

    def batches(self, feed: Feed, batch_size: int, order: Any) -> BatchIterator:
        """Return the batches of the epoch that are left.

        Raises
        ------
        InputError
            If an iterable yields other batches than before the interruption.
        """
        if not self.compares(feed):
            return feed.epoch(batch_size, order, self.start)
        batches = feed.epoch(batch_size, order, self.start - 1)
        self.compare(next(iter(batches), None), batches)
        return batches

    def compares(self, feed: Feed) -> bool:
        """Return whether the last batch before the interruption is to be compared with today's."""
        return not feed.repeats and self.last_batch is not None

    def compare(self, last: Batch | None, batches: Closeable) -> None:
        """Close the batches and raise InputError unless the last one was the last one before."""
        if last is None or batch_fingerprint(last) != self.last_batch:
            batches.close()
            raise InputError(
                f"resume: expected an iterable that yields the same batches again, got another "
                f"batch of update {self.start} than before the interruption; save checkpoints at "
                'the ends of epochs, every="1 epoch", or make its order repeatable'
            )


def batch_fingerprint(batch: Batch) -> str:
    """Return a text that is the same for the same batch on any device."""
    return fingerprint(tuple(batch))
