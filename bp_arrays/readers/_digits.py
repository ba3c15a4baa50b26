"""Built-in data set of 1,797 handwritten digits of 8×8 pixels (see README.md in this folder)."""

from __future__ import annotations

from importlib import resources

import numpy as np

from bp_arrays.readers._dataset import Dataset


def read_digits() -> Dataset:
    """Read the digits: pixels 0 to 16, classes "0" to "9", 360 of the rows for testing.

    Notes
    -----
    Optical Recognition of Handwritten Digits, E. Alpaydin, C. Kaynak, UCI Machine Learning
    Repository, 1998, CC BY 4.0.

    Examples
    --------
    >>> digits = read_digits()
    >>> digits.x.shape, int(digits.x.max()), len(digits.held_out)
    ((1797, 64), 16, 360)
    """
    file = resources.files("bp_arrays.readers").joinpath("digits.npz")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return Dataset(
            x=arrays["x"],
            t=arrays["t"].astype(np.int64),
            classes=tuple("0123456789"),
            feature_names=(),
            target_names=("digit",),
            source="digits (UCI, Alpaydin and Kaynak, CC BY 4.0)",
            held_out=arrays["held_out"].astype(np.int64),
            one_unit=True,
            image_shape=(8, 8, 1),
        )
