"""Threefry-2x32: a random function of a counter, in 32-bit integer arithmetic.

There is no state to carry along: number i of key k is a function of (k, i), so any number of
them can be computed at once, on any device, in any order. The rounds use addition, exclusive or
and rotation only. They are written for int32 because it is the one 32-bit type whose arithmetic
(two's complement, silent wrap-around) works on every array library; uint32 does not.
"""

from __future__ import annotations

from bp_arrays.typing import Array

KEY_PARITY = 0x1BD11BDA
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # four rounds each, in turn


def threefry2x32(key: tuple[int, int], x0: Array, x1: Array) -> tuple[Array, Array]:
    """Two random 32-bit words for every counter (x0, x1), by 20 rounds under a key.

    Parameters
    ----------
    key : tuple of two int
        Two words, Python ints taken modulo 2**32.
    x0, x1 : int32 arrays
        The two words of the counters, of one shape with at least one dimension; every
        different pair gives an unrelated result.

    Returns
    -------
    two int32 arrays
        Of that shape: the same bits as uint32 words would hold.

    Notes
    -----
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import numpy as np
    >>> zero = np.zeros(1, dtype=np.int32)
    >>> [hex(int(word[0]) % 2**32) for word in threefry2x32((0, 0), zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    k0, k1 = key
    schedule = (k0, k1, k0 ^ k1 ^ KEY_PARITY)
    x0 = x0 + signed(schedule[0])
    x1 = x1 + signed(schedule[1])
    # These two are new arrays, nobody else's: from here on, where the library can, in place. For
    # a million words that is three times as fast on NumPy as a new array at every operation.
    for group in range(1, 6):
        for distance in ROTATIONS[(group - 1) % 2]:
            x0 = x0 + x1
            x1 = rotated_left(x1, distance)
            x1 ^= x0
        x0 += signed(schedule[group % 3])
        x1 += signed(schedule[(group + 1) % 3] + group)
    return x0, x1


def rotated_left(x: Array, distance: int) -> Array:
    """The bits of an int32 array moved left by `distance`, those that fall out put in at right."""
    fallen = x >> (32 - distance)  # copies of the sign bit stand in front of what fell out:
    fallen &= (1 << distance) - 1  # they go
    turned = x << distance
    turned |= fallen
    return turned


def signed(word: int) -> int:
    """The int32 that has the bits of `word` modulo 2**32: array libraries check the range."""
    return (word + 2**31) % 2**32 - 2**31
