"""Recognize an array library's error for lack of memory, and say what to try."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bp_arrays.devices._backend import one_line
from bp_arrays.devices._device import Device
from bp_arrays.errors import BpArraysError, OutOfMemoryError

_CLASS = "OutOfMemoryError"
"""The name of the class in CuPy, a MemoryError, and in PyTorch, a RuntimeError."""

# PyTorch on a CPU, and XLA, have no class of their own
_MESSAGE = re.compile(
    r"RESOURCE_EXHAUSTED|DefaultCPUAllocator|[Oo]ut of memory|can't allocate memory"
)
_AMOUNT = re.compile(
    r"allocat\w*(?: buffer of size| memory for)?\s+([\d.,]+\s*(?:[KMGT]i?B|bytes))"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of any library says that memory is exhausted.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."))
    True
    """
    if isinstance(error, MemoryError) or type(error).__name__ == _CLASS:
        return True
    return isinstance(error, RuntimeError) and bool(_MESSAGE.search(str(error)))


def amount_asked_for(error: BaseException) -> str:
    """Return the size of the allocation that failed, as the library writes it, or "".

    >>> amount_asked_for(MemoryError("Unable to allocate 559. GiB for an array"))
    '559 GiB'
    """
    match = _AMOUNT.search(str(error))
    return re.sub(r"\.(?=\s|$)", "", match[1]) if match else ""


@contextmanager
def memory_advice(
    where: str,
    device: Device,
    rows: int | None,
    kept: str,
    smaller: str = "a smaller batch_size",
) -> Iterator[None]:
    """Raise an `OutOfMemoryError` with the size of the batch for any library's own error.

    Parameters
    ----------
    where : str
        The function that the user called.
    rows : int, optional
        Rows per batch.
    kept : str
        What the caller still has, as a sentence.
    smaller : str
        How to compute fewer rows at once.
    """
    try:
        yield
    except BpArraysError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # the frames of the failed step hold its arrays as long as somebody holds the error
        traceback.clear_frames(error.__traceback__)
        size = amount_asked_for(error)
        batch = "" if rows is None else f" with batches of {rows} rows"
        raise OutOfMemoryError(
            f"{where}: out of memory on {str(device)!r}{batch}"
            + (f", {size} were asked for" if size else "")
            + f": use {smaller}, a smaller net or dtype='float32'. {kept} "
            f"({one_line(error)})"
        ) from error
