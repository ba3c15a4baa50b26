"""Context managers for log messages: print warnings on stderr, or collect records."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bp_arrays.command_line._main import TERMINATED


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Print the library's warnings, such as of a damaged checkpoint, like the other messages."""
    logger, handler = logging.getLogger("bp_arrays"), logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("bp-arrays: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    except SystemExit as ended:
        if ended.code == TERMINATED:
            print("bp-arrays: terminated after saving a checkpoint", file=sys.stderr)
        raise
    finally:
        logger.removeHandler(handler)


@contextmanager
def captured_log() -> Iterator[list[logging.LogRecord]]:
    """Collect the library's log records, such as the device that "auto" stands for."""
    logger = logging.getLogger("bp_arrays")
    records: list[logging.LogRecord] = []
    handler, level = logging.Handler(), logger.level
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
