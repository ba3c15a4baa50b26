"""`Interruptible`: Ctrl-C takes effect between two training steps, not within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a process that ended because it was asked to, as in a shell."""


class Interruptible:
    """A context manager in which Ctrl-C takes effect in `check`; pressed twice, at once.

    It applies only in the main thread, and only if Python's own handler is installed, not a
    custom one such as a notebook's.

    Parameters
    ----------
    terminable : bool, default False
        Whether SIGTERM is deferred too, to save a checkpoint first; it then ends the process by
        SystemExit. Only where it would have killed the process.
    """

    def __init__(self, *, terminable: bool = False) -> None:
        self.pending: int = 0  # the signal that has not taken effect yet
        self._terminable = terminable
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            self._replace(signal.SIGINT, signal.default_int_handler)
            if self._terminable:
                self._replace(signal.SIGTERM, signal.SIG_DFL)
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former = {}
        if exc_info == (None, None, None):
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, SystemExit after SIGTERM."""
        if self.pending:
            number, self.pending = self.pending, 0
            _raise(number)

    def _replace(self, number: int, expected: Any) -> None:
        if signal.getsignal(number) is expected:
            self._former[number] = signal.signal(number, self._remember)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.pending:
            _raise(signum)
        self.pending = signum


def _raise(number: int) -> None:
    if number == signal.SIGTERM:
        raise SystemExit(TERMINATED)
    raise KeyboardInterrupt
