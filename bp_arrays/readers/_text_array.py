"""Arrays of text, as NumPy's files hold them."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.typing import HostArray

Locator = Callable[[int], str]
"""Describe the location of a row for messages: "data.csv, line 7, column 'age'"."""


def texts_of_array(values: HostArray, describe_location: Locator) -> list[str]:
    """Return an array of text (rows,) or (rows, 1) as a list; bytes are UTF-8.

    Raises
    ------
    DataError
        For another shape; with the row, for bytes in another encoding, and for text that cannot
        be written to a file.
    """
    if values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)):
        raise DataError(
            f"{describe_location(0)}: expected texts of shape (rows,), one class per row, got "
            f"{values.shape}"
        )
    texts = []
    for row, is_text in enumerate(_are_characters(values)):
        try:
            if not is_text:
                raise ValueError("numbers beyond the last character of Unicode")
            [value] = values[row : row + 1].ravel().tolist()
            text = value.decode() if isinstance(value, bytes) else value
            text.encode()  # fails for half of a surrogate pair, which no file can hold
        except ValueError as error:
            raise DataError(
                f"{describe_location(row)}: expected text in UTF-8, got {error}; save the names "
                "as text, not as bytes in another encoding"
            ) from None
        texts.append(text)
    return texts


def _are_characters(values: HostArray) -> HostArray:
    """Return which rows are texts of characters; Python crashes on others, of a damaged file."""
    if values.dtype.kind == "S" or not values.nbytes:
        return np.ones(len(values), bool)
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(-1)
    codes = native.view(np.uint32).reshape(len(values), -1)
    return np.asarray(np.all(codes <= sys.maxunicode, axis=1))
