"""Standard output and standard error that can be written to, whatever the process started with."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO


class _WriteOnly(io.TextIOBase):
    """A text stream over an object with nothing but `write`, which `sys.stdout` may be."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text)
        return len(text)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Provide `sys.stdout` and `sys.stderr` that are open, until the block ends.

    A process without a console, or started with `>&-`, has None or a closed stream: what is
    printed is discarded then. Characters of messages that a stream cannot encode are escaped; for
    data there is `write_utf8`.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(_writable(sys.stdout, stack)))
        stack.enter_context(redirect_stderr(_writable(sys.stderr, stack)))
        yield


def _writable(stream: Any, stack: ExitStack) -> TextIO:
    if stream is None or getattr(stream, "closed", False):
        # opening it also occupies descriptor 1 or 2, which the next file opened would otherwise get
        return stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
    if not (hasattr(stream, "flush") and hasattr(stream, "isatty")):
        return _WriteOnly(stream)  # type: ignore[return-value]
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream  # type: ignore[no-any-return]


def write_utf8(text: str) -> None:
    """Write data to standard output in UTF-8, whatever its encoding: an escape would change it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
    else:  # a stream of characters
        sys.stdout.write(text)


def discard_unwritten() -> None:
    """Discard what a standard stream cannot write, so that Python does not fail on it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError):  # a stream without a descriptor has nothing to flush at exit
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
