"""Random numbers on the host: initial weights and the order of the samples."""

from __future__ import annotations

import numpy as np

from bp_arrays.random._seeds import derived_key


def host_generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return a NumPy generator for one use of a seed, independent of every other use.

    Philox is counter-based, so the key determines the sequence: two paths give two unrelated
    sequences, and what one part of a model draws does not depend on what was drawn before.
    The bits of Philox are fixed for good; NumPy's distributions on top of them (normal,
    permutation) are stable in practice but may change with a NumPy release (NEP 19).

    Parameters
    ----------
    seed : int
        Whole number >= 0, of any size.
    path : str or int
        Names and numbers that identify the use, such as ("weights", "0.weight").

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    InputError
        If the seed is not a whole number >= 0.

    Notes
    -----
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> host_generator(0, "shuffle", 1).permutation(5).tolist()
    [0, 2, 3, 1, 4]
    """
    return np.random.Generator(np.random.Philox(key=derived_key(128, seed, *path)))
