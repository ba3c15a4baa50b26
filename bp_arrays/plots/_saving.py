"""Pictures as files: the kind from the end of the name, whole or not at all."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError, MissingExtraError
from bp_arrays.files import write_atomically

KINDS = ("png", "pdf", "svg", "jpg", "jpeg", "webp")

DPI = 150
"""Dots per inch of pictures made of dots."""


def new_picture(width: float, height: float) -> Any:
    """An empty `Picture` of so many inches.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f'a picture needs Matplotlib ({error}): pip install "bp_arrays[plot]"'
        ) from None
    from bp_arrays.plots._picture import Picture

    return Picture(width, height)


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise unless a picture can be drawn into a file of this name.

    Raises
    ------
    MissingExtraError
        If Matplotlib is not installed.
    InputError
        If the end of the name is no kind of picture, or there is no such folder.
    """
    new_picture(1.0, 1.0)
    path = Path(path)
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise InputError(f"{path}: cannot draw a picture of kind {kind!r}; use .png, .pdf or .svg")
    if not path.resolve().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.resolve().parent}; create it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")


def save_picture(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file; after a failure an old file is what it was.

    Raises
    ------
    InputError
        As `check_picture`.
    OSError
        If the folder cannot be written to.
    """
    check_picture(path)
    content = io.BytesIO()
    figure.savefig(content, format=Path(path).suffix[1:].lower(), dpi=DPI)
    write_atomically(Path(path).resolve(), content.getvalue())
