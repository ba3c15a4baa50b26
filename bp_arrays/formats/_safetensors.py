"""Write and read model files: safetensors with a JSON header. No pickle, no code is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bp_arrays.errors import DataError, InputError
from bp_arrays.formats._checkpoint_file import PREFIX, TRAINING
from bp_arrays.formats._header import Header, array_checksum
from bp_arrays.typing import HostArray, Shape

ENTRY = "bp_arrays"
"""The only entry of the file's metadata: safetensors writes several in random order."""

HEADER_LIMIT = 8 * 2**20
"""The maximum bytes of a file's header; as Python objects it takes some twenty times that."""

FORMER_NAMES = {"scale": "deviation"}
"""The names of parameters in files written before 0.1.0."""


def encode(header: Header, arrays: Mapping[str, HostArray]) -> bytes:
    """Return a model file's bytes; equal headers and arrays give equal bytes.

    Raises
    ------
    InputError
        If a field of a custom layer is not a JSON value, or the header is too long.
    """
    from safetensors.numpy import save

    header = replace(header, checksums={name: array_checksum(a) for name, a in arrays.items()})
    content: bytes = save(dict(arrays), metadata={ENTRY: header.to_json()})
    if int.from_bytes(content[:8], "little") > HEADER_LIMIT:
        raise InputError(
            f"save: expected a description of at most {HEADER_LIMIT:,} bytes, got a longer one"
        )
    return content


class ModelFile:
    """An open model file: its header, and its arrays, which are read one by one.

    Parameters
    ----------
    header : Header
    file : the open file of safetensors
    """

    def __init__(self, header: Header, file: Any) -> None:
        self.header, self._file = header, file
        self._stored = set(file.keys())
        if TRAINING in (file.metadata() or {}):  # a checkpoint: opened as its model alone
            self._stored = {name for name in self._stored if not name.startswith(PREFIX)}

    def read(self, name: str) -> HostArray:
        """Return one array; call `check_arrays` first.

        Raises
        ------
        DataError
            If it differs from its checksum.
        """
        stored, checksums = self._stored_name(name), self.header.checksums
        array: HostArray = self._file.get_tensor(stored)
        if checksums is not None and checksums.get(stored) != array_checksum(array):
            raise DataError(f"{name} differs from its checksum; the file is damaged, use a copy")
        return array

    def check_arrays(self, expected: Mapping[str, tuple[Shape, tuple[str, ...]]]) -> None:
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
            raise DataError(
                f"expected the arrays of the architecture, {len(different)} name(s) differ: {some}"
            )
        for name, (shape, dtypes) in expected.items():
            array = self._file.get_slice(self._stored_name(name))
            stored_shape, stored = tuple(array.get_shape()), array.get_dtype()
            if stored_shape != shape or stored not in dtypes:
                raise DataError(
                    f"{name}: expected {' or '.join(dtypes)} of shape {shape}, got {stored} of "
                    f"shape {stored_shape}"
                )

    def _stored_name(self, name: str) -> str:
        """Return the name of a parameter in this file: "scale" was "deviation" before 0.1.0."""
        *path, leaf = name.split(".")
        former = ".".join((*path, FORMER_NAMES.get(leaf, leaf)))
        return former if name not in self._stored and former in self._stored else name


@contextmanager
def open_model_file(path: Path, classes: Mapping[str, type]) -> Iterator[ModelFile]:
    """Open a model file; a DataError raised inside the block is prefixed with its path.

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
                    "expected a model written by bp_arrays, got a safetensors file without an "
                    "architecture in its header"
                )
            yield ModelFile(Header.from_json(metadata[ENTRY], classes), file)
    except DataError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from None  # one line, always


def _opened(path: Path) -> Any:
    """Open a file with safetensors: parses the header, reads no array."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_LIMIT:
        raise DataError(
            f"not a readable safetensors file: expected a header of at most {HEADER_LIMIT:,} "
            f"bytes, got {length:,}"
        )
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise DataError(
            f"not a readable safetensors file (truncated or damaged?): {error!s:.200}"
        ) from None
