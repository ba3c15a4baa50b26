"""`Spool`: rows appended piece by piece, in memory or, beyond a limit, in a temporary file."""

from __future__ import annotations

from typing import IO

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.typing import HostArray

SPOOL_BYTES = 2**30
"""Bytes beyond which the rows go to a temporary file, which is deleted with the array."""


class Spool:
    """A context manager that collects rows of numbers, appended piece by piece, into one array.

    Parameters
    ----------
    source : str
        Name of the data in messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._pieces: list[HostArray] = []
        self._bytes = self._rows = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, piece: HostArray) -> None:
        """Append the rows of an array (rows, columns); all pieces have one width and dtype.

        Raises
        ------
        DataError
            If the disk is full.
        """
        self._pieces.append(piece)
        self._dtype, self._width = piece.dtype, piece.shape[1:]
        self._bytes += piece.nbytes
        self._rows += len(piece)
        if self._bytes > SPOOL_BYTES:
            self._write()

    def array(self) -> HostArray:
        """Return all rows, in the order in which they were appended."""
        if self._file is None:
            return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)
        return np.memmap(self._file, self._dtype, "r", shape=(self._rows, *self._width))

    def _write(self) -> None:
        import tempfile  # which imports much, for a rare case

        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed on leaving)
            for piece in self._pieces:
                self._file.write(np.ascontiguousarray(piece).data)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self._source}: writing {self._bytes} bytes to a temporary file in "
                f"{tempfile.gettempdir()} failed: {error.strerror}; make room there, or set "
                "TMPDIR to another folder"
            ) from None
        self._pieces = []
