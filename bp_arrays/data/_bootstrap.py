"""`bootstrap_weights`: for each member of an ensemble a resample of the rows, as sample weights."""

from __future__ import annotations

import numpy as np

from bp_arrays.checks import as_integer
from bp_arrays.random import host_generator
from bp_arrays.typing import HostArray


def bootstrap_weights(rows: int, members: int, seed: int = 0) -> HostArray:
    """Return how often each row is in the bootstrap resample of each member of an ensemble.

    The counts are independent and Poisson(1), the limit of drawing as many rows with replacement.
    As `sample_weight` of `fit` with `EnsembleLoss` they make a member see the same resample in
    every epoch, whatever the order of the rows.

    Parameters
    ----------
    rows, members : int
    seed : int, default 0

    Returns
    -------
    array (rows, members), float32

    Raises
    ------
    InputError
        For a number of rows or members below 1, or a seed that is no whole number >= 0.

    Notes
    -----
    Oza, Russell, "Online Bagging and Boosting", 2001.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> weights = bp.data.bootstrap_weights(1000, 5)
    >>> weights.shape, 0.9 < float(weights.mean()) < 1.1
    ((1000, 5), True)
    """
    rows = as_integer("bootstrap_weights", "rows", rows, at_least=1)
    members = as_integer("bootstrap_weights", "members", members, at_least=1)
    counts = host_generator(seed, "bootstrap").poisson(1.0, (rows, members))
    return counts.astype(np.float32)
