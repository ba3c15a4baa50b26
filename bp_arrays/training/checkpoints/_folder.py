"""`CheckpointFolder`: a folder of checkpoints, written by one process, read by any.

The order of checkpoints is that of their numbers of updates, which are their names: no clock is
asked. A file is complete as soon as it has its name.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bp_arrays.errors import DataError, InputError
from bp_arrays.files import PART, write_atomically
from bp_arrays.formats import CheckpointContent, LaterVersion, decode_checkpoint

logger = logging.getLogger("bp_arrays")

LOCK, BEST = ".lock", "best.safetensors"
_NAME = re.compile(r"step-(\d{12,})\.safetensors")

LOCKED = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
"""The errors of a lock that another process has; others come from file systems without locks."""

DAMAGE = {errno.EIO, errno.EISDIR, getattr(errno, "EUCLEAN", errno.EIO)}
"""The errors of a file whose content is lost. After others, such as a missing permission, too many
open files or a network that is down, the file may be intact."""

_in_use: set[tuple[int, str]] = set()
"""The folders that this process writes to: a lock of the system does not refuse its own process.
Each with the number of the process, as a forked one has a copy of this set."""

_acquiring = threading.Lock()


def checkpoints_in(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints of a folder as (number of updates, path), the oldest first."""
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def newest_intact(folder: Path, where: str) -> tuple[Path, CheckpointContent, list[Path]]:
    """Return the newest checkpoint that is intact, and the later ones, which are damaged.

    A file that the system does not let this process read is not taken for damaged: training would
    continue from an older one, and write over what it has not read.

    Raises
    ------
    InputError
        If there is no folder, or no checkpoint in it, or the folder or a checkpoint cannot be read.
    DataError
        If all are damaged, or the newest is of a later version.
    """
    try:
        found = _found(folder, where)
    except OSError as error:
        raise InputError(_unreadable(where, folder, error)) from None
    damaged: list[Path] = []
    errors: list[str] = []
    for _, path in reversed(found):
        try:
            content = decode_checkpoint(path)
        except LaterVersion:
            raise
        except (DataError, OSError) as error:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():
                continue  # the process that writes to the folder has removed it
            if isinstance(error, OSError) and not _is_damage(error, path):
                raise InputError(_unreadable(where, path, error)) from None
            damaged.append(path)
            errors.append(" ".join(str(error).split()))
            continue
        for message in errors:
            logger.warning("%s; training continues from the one before, %s", message, path.name)
        return path, content, damaged
    raise DataError(
        f"{where}: expected a checkpoint that is intact, got {len(damaged)} that are damaged, the "
        f"last of them {errors[0] if errors else 'removed'}; start again in another folder"
    )


def _found(folder: Path, where: str) -> list[tuple[int, Path]]:
    """Return the checkpoints of a folder; InputError if there are none."""
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise InputError(
            f"{where}: expected a folder of checkpoints, got {got}; pass the folder of "
            "checkpoint=bp.Checkpoint(folder)"
        )
    found = checkpoints_in(folder)
    if found:
        return found
    names = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
    if not names:
        got = "an empty folder"
    elif all(PART.fullmatch(name) for name in names):
        got = "only one that was not written to its end"
    else:
        got = f"other files, such as {names[0]:.60}"
    raise InputError(
        f"{where}: expected a folder with checkpoints, step-....safetensors, got {got}; leave "
        "out resume to start training"
    )


def _is_damage(error: OSError, path: Path) -> bool:
    """Return True if what a checkpoint contained is lost, whatever is done about the error."""
    return error.errno in DAMAGE or path.is_dir()  # on Windows, a folder is a missing permission


def _unreadable(where: str, path: Path, error: OSError) -> str:
    reason = error.strerror or " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        reason = "it is a link to a file that does not exist"
    return (
        f"{where}: expected checkpoints that can be read, {path} cannot be: {reason}; it is not "
        "taken for damaged: make it readable, or move it away to continue from an older one"
    )


class CheckpointFolder:
    """A folder that this process alone writes checkpoints to.

    Parameters
    ----------
    path : Path
    keep : int or None

    Raises
    ------
    InputError
        If the folder cannot be written to, or another process writes to it.
    """

    def __init__(self, path: Path, keep: int | None) -> None:
        self.path, self.keep = path, keep
        self._lock: IO[str] | None = None
        self._key: tuple[int, str] | None = None
        try:
            self._acquire()
            for leftover in self.path.iterdir():
                if PART.fullmatch(leftover.name):  # of a process that was killed
                    leftover.unlink(missing_ok=True)
        except OSError as error:
            self.close()
            raise InputError(
                f"Checkpoint({str(path)!r}): expected a folder to write to, got "
                f"{error.strerror or error}; name another folder"
            ) from None

    def write(self, step: int, content: bytes) -> Path:
        """Write a checkpoint, and remove the oldest ones beyond those to keep."""
        self._recreate()
        path = self.path / f"step-{step:012d}.safetensors"
        write_atomically(path, content)
        if self.keep is not None:
            files = [old for _, old in checkpoints_in(self.path) if not old.is_dir()]
            for old in files[: -self.keep]:
                if old != path:
                    old.unlink(missing_ok=True)
        return path

    def write_best(self, content: bytes) -> None:
        """Write the checkpoint of the best epoch."""
        self._recreate()
        write_atomically(self.path / BEST, content)

    def set_aside(self, damaged: list[Path]) -> None:
        """Rename damaged checkpoints, so that they are not counted among those to keep."""
        for path in damaged:
            if path.parent.resolve() == self.path.resolve():
                with suppress(OSError):
                    path.replace(path.with_name(f"{path.name}.damaged"))

    def close(self) -> None:
        """Let other processes write to the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._key is not None:
            _in_use.discard(self._key)
            self._key = None

    def _recreate(self) -> None:
        """Create and lock the folder again if it, or its lock, was deleted during training."""
        if self._lock is None or not _is_at(self._lock, self.path / LOCK):
            self.close()
            self._acquire()

    def _acquire(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        key = os.getpid(), os.path.realpath(self.path)
        with _acquiring:
            if key in _in_use:
                raise _in_use_error(self.path, "another call of fit in this process")
            lock = (self.path / LOCK).open("a+")
            try:
                _lock(lock)
            except OSError as error:
                if error.errno in LOCKED:
                    lock.seek(0)
                    owner = " ".join(lock.read(80).split()) or "another process"
                    lock.close()
                    raise _in_use_error(self.path, owner) from None
                logger.warning(
                    "%s: this file system has no locks (%s): let no other training run write "
                    "checkpoints to this folder",
                    self.path,
                    error.strerror or error,
                )
            self._lock, self._key = lock, key
            _in_use.add(key)
        with suppress(OSError):  # the disk may be full: the text is for messages only
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()


def check_unused(folder: Path, step: int) -> None:
    """Raise InputError if a folder has checkpoints of another training run.

    Parameters
    ----------
    folder : Path
    step : int
        The number of updates of this run so far: checkpoints up to it are its own.
    """
    existing = checkpoints_in(folder)
    if existing and existing[-1][0] > step:
        raise InputError(
            f"Checkpoint({str(folder)!r}): expected a folder without checkpoints of an earlier "
            f"run, got {existing[-1][1].name}; continue that run with resume={str(folder)!r}, or "
            "name another folder"
        )


def _in_use_error(path: Path, owner: str) -> InputError:
    return InputError(
        f"Checkpoint({str(path)!r}): expected a folder that no other training run writes to, "
        f"{owner} does; name another folder"
    )


def _lock(file: IO[str]) -> None:
    """Lock a file until it is closed or the process ends; OSError if another process has."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(2**20)  # not the text, which others read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # not flock: a child process would hold it after this one was killed
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(file: IO[str], path: Path) -> bool:
    """Return True if an open file is still the one of a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def closing_folder(folder: CheckpointFolder | None) -> Iterator[CheckpointFolder | None]:
    """Close the folder after the block, if there is one."""
    try:
        yield folder
    finally:
        if folder is not None:
            folder.close()
