"""Which rows are trained on, which are looked at on the way, which are kept for the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.random import host_generator
from bp_arrays.readers._dataset import Dataset
from bp_arrays.typing import HostArray

TEST_FRACTION = 0.2


class Split(NamedTuple):
    """Row numbers, ascending, and in words how the test rows were chosen."""

    train: HostArray
    validation: HostArray
    test: HostArray
    rule: str


def split(
    data: Dataset, *, test: float | None = None, validation: float = 0.0, seed: int = 0
) -> Split:
    """Divide the rows of a data set into three parts.

    Parameters
    ----------
    data : Dataset
    test : float, optional
        The share of the rows to keep for testing, 0 <= test < 1. By default what the source
        itself holds out, else 0.2.
    validation : float, default 0.0
        The share of the remaining rows to look at during training, 0 <= validation < 1.
    seed : int, default 0
        Draws the rows, except where the order is kept: there the last ones are the test rows.
        Each class, if there are classes, gives its share.

    Raises
    ------
    InputError
        If a share is out of its range, or leaves no row to train on.

    Examples
    --------
    >>> from bp_arrays.readers import read_digits
    >>> parts = split(read_digits(), validation=0.1)
    >>> [len(rows) for rows in parts[:3]]
    [1293, 144, 360]
    """
    for name, share in (("test", test), ("validation", validation)):
        if share is not None and not 0.0 <= share < 1.0:
            raise InputError(f"{name}: expected a share from 0 up to, but not, 1, got {share}")
    rows = np.arange(data.rows)
    if test is None and data.held_out is not None:
        held_out, rule = data.held_out, "the data's own held-out rows"
    else:
        count = _count(data.rows, TEST_FRACTION if test is None else test, "--test 0")
        if data.ordered:
            held_out, rule = rows[data.rows - count :], f"the last {count} rows, in order"
        else:
            held_out, rule = _draw(data, rows, count, seed, "test"), f"{count} rows at random"
    rest = np.setdiff1d(rows, held_out)
    count = _count(len(rest), validation, "--validation 0")
    looked_at = _draw(data, rest, count, seed, "validation")
    return Split(np.setdiff1d(rest, looked_at), looked_at, np.sort(held_out), rule)


def _count(rows: int, share: float, instead: str) -> int:
    """How many of the rows make up the share: one at least, unless the share is 0."""
    count = max(round(rows * share), 1) if share else 0
    if count >= rows:
        raise InputError(
            f"{rows} row{'s' * (rows != 1)} cannot be divided: expected at least one to train on "
            f"beside the others; give more data, or {instead}"
        )
    return count


def _draw(data: Dataset, rows: HostArray, count: int, seed: int, purpose: str) -> HostArray:
    """Rows at random; with classes every so-many-th of the rows in the order of their class."""
    order = rows[host_generator(seed, "split", purpose).permutation(len(rows))]
    if data.classes is not None and data.t is not None:
        order = order[np.argsort(data.t[order], kind="stable")]
    places = ((np.arange(count) + 0.5) * len(rows) / max(count, 1)).astype(np.int64)
    return np.sort(order[places])
