"""Write files atomically."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

PART = re.compile(r"\.[0-9a-f]{16}\.part")
"""The names of files that are not complete yet."""


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file; an existing one is replaced at the very end, so a failure leaves it as it was.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to, or the path is a folder.
    """
    path = Path(os.path.realpath(path))  # the target of a symbolic link is replaced, not the link
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write")
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_folder(folder: Path) -> None:
    """Flush a folder to the disk, so that a renamed file is found after a loss of power."""
    if os.name != "posix":  # Windows cannot open a folder
        return
    with suppress(OSError):  # some network file systems cannot, and a folder may be write-only
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
