"""Check that the numbers of a data set are within the range of a dtype."""

from __future__ import annotations

import numpy as np

from bp_arrays.command_line._dtype_limits import limits_of
from bp_arrays.errors import DataError
from bp_arrays.inputs import pieces
from bp_arrays.readers import Dataset


def check_range(data: Dataset, dtype: str, advice: str) -> None:
    """Raise DataError, with row and column, if a feature or target is infinite in the dtype."""
    largest = limits_of(dtype).largest
    checked = [("a feature", data.x, data.feature_names)]
    if data.t is not None and data.classes is None:
        checked.append(("a target", np.where(np.isnan(data.t), 0.0, data.t), data.target_names))
    for what, values, names in checked:
        for start, part in pieces(values):
            if max(-float(part.min()), float(part.max())) <= largest:
                continue
            row, column = np.argwhere(np.abs(part.astype(np.float64)) > largest)[0]
            name = f"column {names[column]!r}" if names else f"feature {column}"
            raise DataError(
                f"{data.source}: {what} exceeds {largest:.3g}, the largest number in {dtype}, in "
                f"row {start + row}, {name} (counted from 0); {advice}"
            )
