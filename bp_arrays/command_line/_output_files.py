"""Check of output files before the work begins."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bp_arrays.errors import InputError


def check_outputs(outputs: Mapping[str, Path | None], *read: str) -> None:
    """Raise InputError unless every output file can be written.

    Parameters
    ----------
    outputs : mapping of option to Path or None
    *read : str
        The input as the user named it, one file or several with commas: never overwritten.
    """
    named = {name for names in read for name in (names, *names.split(",")) if name}
    inputs = {Path(name).resolve() for name in named}
    option_of: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        file = path.resolve()
        if file in inputs:
            raise InputError(f"{option} {path} would replace the input; name another file")
        if file in option_of:
            raise InputError(f"{option} and {option_of[file]} name the same file {path}")
        option_of[file] = option
        if not file.parent.is_dir():
            raise InputError(f"{option} {path}: no folder {file.parent}; create it first")
        if file.exists() and not file.is_file():
            raise InputError(f"{option} {path} is not a regular file; name another")
        try:
            tempfile.TemporaryFile(dir=file.parent).close()
        except OSError as error:
            raise InputError(
                f"{option} {path}: the folder {file.parent} is not writable, "
                f"{error.strerror}; choose another"
            ) from None
