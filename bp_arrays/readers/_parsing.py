"""Errors of parsers of other libraries on damaged files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from bp_arrays.errors import BpArraysError, DataError


@contextmanager
def parsing(name: object, kind: str) -> Iterator[None]:
    """Turn whatever a parser raises for a damaged file into a DataError of one line.

    No list of exceptions would be complete: NumPy's header parser raises errors of Python's
    tokenizer, zipfile those of each decompressor. So only the call of a parser belongs in the
    block, not the use of what it returns. Errors of the disk and of memory pass.
    """
    try:
        yield
    except (BpArraysError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk; but EINVAL is a seek to an offset that the damaged file names
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{name}: not a readable {kind} (truncated or damaged?): {reason}"
        ) from None
