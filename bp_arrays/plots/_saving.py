"""Write figures to files, in the format of the suffix."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.files import write_atomically

FORMATS = ("png", "pdf", "svg", "jpg", "jpeg", "webp")

DPI = 150
"""Dots per inch of bitmap formats."""


def new_picture(width: float, height: float) -> Any:
    """Create an empty `Picture` of this size in inches.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    """
    require_extra("plot")
    from bp_arrays.plots._picture import Picture

    return Picture(width, height)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise unless a figure can be written to this path.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        If the suffix is not an image format, or the folder does not exist.
    """
    new_picture(1.0, 1.0)
    path = Path(path)
    suffix = path.suffix[1:].lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: expected an image format, got {suffix!r}; use .png, .pdf or .svg"
        )
    if not path.resolve().parent.is_dir():
        raise InputError(f"{path}: no folder {path.resolve().parent}; create it first")
    if path.is_dir():
        raise InputError(f"{path}: expected a file, got a folder; name a file in it")


def save_picture(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file; if that fails, an existing file is unchanged.

    Raises
    ------
    InputError
        As for `check_picture`.
    OSError
        If the folder is not writable.
    """
    check_picture(path)
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:].lower(), dpi=DPI)
    write_atomically(Path(path).resolve(), content.getvalue())
