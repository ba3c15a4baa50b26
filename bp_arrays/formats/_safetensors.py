"""Write and read model files: safetensors, with a JSON header. No pickle, no code is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._header import Header
from bp_arrays.typing import HostArray, Shape

ENTRY = "bp_arrays"
"""The only entry of the file's metadata: safetensors writes several in random order."""

HEADER_LIMIT = 8 * 2**20
"""Bytes a file's header may have. As Python objects it takes some twenty times that."""

FORMER_NAMES = {"scale": "deviation"}
"""What parameters were named in files written before 0.1.0."""


def encode(header: Header, arrays: Mapping[str, HostArray]) -> bytes:
    """Return a model file's bytes; equal headers and arrays give equal bytes.

    Raises
    ------
    InputError
        If a custom layer holds what JSON cannot keep, or the header is too long.
    """
    from safetensors.numpy import save

    content: bytes = save(dict(arrays), metadata={ENTRY: header.to_json()})
    if int.from_bytes(content[:8], "little") > HEADER_LIMIT:
        raise InputError(
            f"this model's description is longer than the {HEADER_LIMIT:,} bytes of a model file"
        )
    return content


class ModelFile:
    """An open model file: its header, and its arrays, which are read one by one.

    Parameters
    ----------
    header : Header
    file : safetensors' own view of the file
    """

    def __init__(self, header: Header, file: Any) -> None:
        self.header, self._file = header, file
        self._stored = set(file.keys())

    def read(self, name: str) -> HostArray:
        """Return one array; `check_arrays` says whether it is there."""
        array: HostArray = self._file.get_tensor(self._stored_name(name))
        return array

    def check_arrays(self, expected: Mapping[str, tuple[Shape, str]]) -> None:
        """Compare names, shapes and dtypes with what is expected, before any array is read.

        Raises
        ------
        DataError
            Naming the arrays that differ.
        """
        names = {self._stored_name(name) for name in expected}
        if names != self._stored:
            different = sorted(names ^ self._stored)
            some = ", ".join(name[:60] for name in different[:3])
            raise DataError(f"arrays and architecture differ at {len(different)} name(s): {some}")
        for name, (shape, dtype) in expected.items():
            array = self._file.get_slice(self._stored_name(name))
            stored_shape, stored = tuple(array.get_shape()), array.get_dtype()
            if stored_shape != shape or stored != dtype:
                raise DataError(
                    f"{name} should be {dtype} of shape {shape}, but is {stored} of shape "
                    f"{stored_shape}"
                )

    def _stored_name(self, name: str) -> str:
        """The name that a parameter has in this file: Standardize's scale was "deviation" once."""
        *path, leaf = name.split(".")
        former = ".".join((*path, FORMER_NAMES.get(leaf, leaf)))
        return former if name not in self._stored and former in self._stored else name


@contextmanager
def open_model_file(path: Path, classes: Mapping[str, type]) -> Iterator[ModelFile]:
    """Open a model file; a DataError raised inside the block gets the file's name.

    Parameters
    ----------
    path : Path
    classes : mapping of str to type
        Custom layer classes by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is truncated, damaged, not a model of this library, or of a later version.
    """
    try:
        with _opened(path) as file:
            metadata = file.metadata() or {}
            if ENTRY not in metadata:
                raise DataError(
                    "a safetensors file, but not a model written by bp_arrays: its header lacks "
                    "the architecture"
                )
            yield ModelFile(Header.from_json(metadata[ENTRY], classes), file)
    except DataError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None  # one line, always


def _opened(path: Path) -> Any:
    """The file as safetensors sees it: header parsed, arrays not yet read."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        raise DataError(
            f"not a readable safetensors file: it claims a header of {length:,} bytes, a model's "
            f"has {HEADER_LIMIT:,} at most"
        )
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise DataError(
            f"not a readable safetensors file (truncated or damaged?): {error!s:.200}"
        ) from None
