"""Files to be written: looked at before the work begins, put in place whole at its end."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from bp_arrays.errors import InputError


def check_outputs(outputs: Mapping[str, Path | None], *read: str) -> None:
    """Raise InputError unless every file can be written when the time comes.

    Parameters
    ----------
    outputs : mapping from option to Path or None
    *read : str
        What the user named as input, a file or several with commas: no output may replace it.
    """
    named = {name for names in read for name in (names, *names.split(",")) if name}
    inputs = {Path(name).resolve() for name in named}
    taken: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        place = path.resolve()
        if place in inputs:
            raise InputError(f"{option} {path} would replace the input; name another file")
        if place in taken:
            raise InputError(f"{option} and {taken[place]} name the same file {path}")
        taken[place] = option
        if not place.parent.is_dir():
            raise InputError(f"{option} {path}: there is no folder {place.parent}; create it first")
        if place.exists() and not place.is_file():
            raise InputError(f"{option} {path} is not an ordinary file; name another")
        try:
            tempfile.TemporaryFile(dir=place.parent).close()
        except OSError as error:
            raise InputError(
                f"{option} {path}: the folder {place.parent} cannot be written to, "
                f"{error.strerror}; choose another"
            ) from None
