"""Split of a data set into training, validation and test rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.random import host_generator
from bp_arrays.readers._dataset import Dataset
from bp_arrays.typing import HostArray

TEST_FRACTION = 0.2


class Split(NamedTuple):
    """Row numbers of the three parts, ascending, and a description of the test rows."""

    train: HostArray
    validation: HostArray
    test: HostArray
    rule: str


def split(
    data: Dataset, *, test: float | None = None, validation: float = 0.0, seed: int = 0
) -> Split:
    """Split the rows of a data set into three parts, stratified by class.

    Parameters
    ----------
    data : Dataset
    test : float, optional
        The fraction of rows for testing, in [0, 1). By default the test rows of the source, or
        else 0.2.
    validation : float, default 0.0
        The fraction of the remaining rows for validation, in [0, 1).
    seed : int, default 0
        Seed of the random selection. The test rows of ordered data are the last ones.

    Raises
    ------
    InputError
        If a fraction is outside its range, or leaves no row for training.

    Examples
    --------
    >>> from bp_arrays.readers import read_digits
    >>> parts = split(read_digits(), validation=0.1)
    >>> [len(rows) for rows in parts[:3]]
    [1293, 144, 360]
    """
    for name, fraction in (("test", test), ("validation", validation)):
        if fraction is not None and not 0.0 <= fraction < 1.0:
            raise InputError(f"split({name}=): expected a fraction in [0, 1), got {fraction}")
    rows = np.arange(data.rows)
    if test is None and data.held_out is not None:
        test_rows, rule = data.held_out, "the data's own test rows"
    else:
        count = _count(data.rows, TEST_FRACTION if test is None else test, "--test 0")
        if data.ordered:
            test_rows, rule = rows[data.rows - count :], f"the last {count} rows, in order"
        else:
            test_rows, rule = _draw(data, rows, count, seed, "test"), f"{count} rows at random"
    rest = np.setdiff1d(rows, test_rows)
    count = _count(len(rest), validation, "--validation 0")
    validation_rows = _draw(data, rest, count, seed, "validation")
    return Split(np.setdiff1d(rest, validation_rows), validation_rows, np.sort(test_rows), rule)


def _count(rows: int, fraction: float, alternative: str) -> int:
    """Return the number of rows in a fraction of them: at least one, unless it is 0."""
    count = max(round(rows * fraction), 1) if fraction else 0
    if count >= rows:
        raise InputError(
            f"split: expected a row for training besides the {count} held out, got {rows} "
            f"row{'s' * (rows != 1)}; pass more data, or use {alternative}"
        )
    return count


def _draw(data: Dataset, rows: HostArray, count: int, seed: int, purpose: str) -> HostArray:
    """Draw rows at random; with classes, at equal distances in a random order by class."""
    order = rows[host_generator(seed, "split", purpose).permutation(len(rows))]
    if data.classes is not None and data.t is not None:
        order = order[np.argsort(data.t[order], kind="stable")]
    positions = ((np.arange(count) + 0.5) * len(rows) / max(count, 1)).astype(np.int64)
    return np.sort(order[positions])
