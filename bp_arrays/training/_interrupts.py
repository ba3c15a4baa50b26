"""Ctrl-C between two steps of a training instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interruptible:
    """While this is entered, Ctrl-C waits for `check`; pressed twice, it does not wait.

    Only where Python's own handler is in charge: in the main thread, and if nobody, such as a
    notebook, has put a handler of their own.
    """

    def __init__(self) -> None:
        self.pending = False
        self._installed = False

    def __enter__(self) -> Interruptible:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._remember)
            self._installed = True
        return self

    def __exit__(self, *of: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if of == (None, None, None):
            self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
