"""Files compressed with gzip or zip, recognized by their first bytes."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from bp_arrays.errors import DataError
from bp_arrays.readers._parsing import parsing

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
"""The first bytes of a zip archive, and of an empty one."""


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a gzip file, or a zip archive of one file, is unpacked.

    Raises
    ------
    DataError
        If the file is truncated or damaged, also while it is read; if the archive holds no file
        or several, or wants a password.
    """
    with ExitStack() as stack:
        raw = stack.enter_context(path.open("rb"))
        magic = raw.read(4)
        raw.seek(0)
        if magic.startswith(GZIP_MAGIC):
            # a GzipFile and a ZipExtFile read like a BinaryIO, but are none to the type checker
            inner = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
            yield _checked(path, inner, "gzip file")
        elif magic.startswith(ZIP_MAGIC):
            with parsing(path, "zip archive"):
                archive = stack.enter_context(zipfile.ZipFile(raw))
                member = stack.enter_context(archive.open(_only_member(path, archive)))
            yield _checked(path, cast(BinaryIO, member), "zip archive")
        else:
            yield raw


def zipped_name(path: Path) -> str:
    """Return the name of the only file in a zip archive; DataError as for `unpacked`."""
    with path.open("rb") as raw, parsing(path, "zip archive"), zipfile.ZipFile(raw) as archive:
        return _only_member(path, archive).filename


def _only_member(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [
        member
        for member in archive.infolist()
        # macOS adds a folder __MACOSX and hidden files
        if not member.is_dir()
        and not member.filename.startswith("__MACOSX/")
        and not PurePosixPath(member.filename).name.startswith(".")
    ]
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:5])
        raise DataError(
            f"{path}: expected a zip archive of one file, got {names or 'none'}; unpack it and "
            "name one"
        )
    if members[0].flag_bits & 1:
        raise DataError(f"{path}: expected a zip archive without a password; unpack it")
    return members[0]


class _CheckedReader(io.RawIOBase):
    """A decompressed stream whose errors are a DataError."""

    def __init__(self, path: Path, stream: BinaryIO, kind: str) -> None:
        self._path, self._stream, self._kind = path, stream, kind

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        with parsing(self._path, self._kind):
            return self._stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with parsing(self._path, self._kind):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _checked(path: Path, stream: BinaryIO, kind: str) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_CheckedReader(path, stream, kind), 2**16))
