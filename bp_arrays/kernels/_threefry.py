"""Threefry-2x32: a random function of a counter, in 32-bit integer arithmetic.

There is no state: number i of key k is a function of (k, i), so any number of them can be computed
at once, on any device, in any order. The rounds use addition, exclusive or and rotation only. They
are written for int32 because it is the only 32-bit type whose arithmetic (two's complement, silent
wrap-around) works on every array library; uint32 does not.

`random_bits` and `random_mask` are the draws of a stream, `random_mask_part` a part of one. Their
standard form is some 150 operations on arrays; on CuPy, where each would be a separate kernel, one
kernel computes the same bits.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.typing import Array, Namespace, Shape

Key = tuple[int, int]
"""Two words, Python ints taken modulo 2**32."""

HALVES = 2**16
"""The number of values of half a word."""

KEY_PARITY = 0x1BD11BDA
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # four rounds each, in turn


def threefry2x32(key: Key, x0: Array, x1: Array) -> tuple[Array, Array]:
    """Return two random 32-bit words for every counter (x0, x1), by 20 rounds with a key.

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
    # x0 and x1 are new arrays, so they are updated in place where the library can: for a million
    # words that is three times as fast on NumPy as a new array at every operation
    for group in range(1, 6):
        for distance in ROTATIONS[(group - 1) % 2]:
            x0 = x0 + x1
            x1 = rotated_left(x1, distance)
            x1 ^= x0
        x0 += signed(schedule[group % 3])
        x1 += signed(schedule[(group + 1) % 3] + group)
    return x0, x1


@Kernel
def random_bits(key: Key, count: int, step: Array, *, device: Any, xp: Namespace) -> Array:
    """Return random 32-bit words: the first words of the blocks of a step, then the second ones.

    Parameters
    ----------
    key : two int
    count : int
        The number of words, 0 <= count < 2**31.
    step : int32 array (1,)
        The second word of every counter; the first is the number of the block, from 0.
    device : object
        The native device for the creation functions of `xp` (None: the default).

    Returns
    -------
    int32 array (count,)
    """
    return xp.concat(_blocks(key, (count + 1) // 2, step, device, xp))[:count]


@Kernel
def random_mask(
    key: Key, shape: Shape, step: Array, threshold: int, *, device: Any, xp: Namespace
) -> Array:
    """Return booleans that are True with the probability threshold / 2**16.

    Each element has 16 random bits, a quarter of a block, and is True if they are below the
    threshold: the lower halves of the first words come first, then their upper halves, then those
    of the second words.

    Parameters
    ----------
    key : two int
    shape : tuple of int
        Fewer than 2**31 elements.
    step : int32 array (1,)
        The second word of every counter; the first is the number of the block, from 0.
    threshold : int
        1 to 2**16.
    device : object
        The native device for the creation functions of `xp` (None: the default).

    Returns
    -------
    bool array of `shape`
    """
    count = math.prod(shape)
    quarters = []
    for word in _blocks(key, (count + 3) // 4, step, device, xp):
        # the signed shift returns the upper half as a number in [-2**15, 2**15)
        quarters.append((word & (HALVES - 1)) < threshold)
        quarters.append((word >> 16) < threshold - HALVES // 2)
    return xp.reshape(xp.concat(quarters)[:count], shape)


@Kernel
def random_mask_part(
    key: Key,
    shape: Shape,
    start: Array,
    total: int,
    step: Array,
    threshold: int,
    *,
    device: Any,
    xp: Namespace,
) -> Array:
    """Return adjacent elements of the `random_mask` of `total` elements, as booleans of `shape`.

    Parameters
    ----------
    key : two int
    shape : tuple of int
        Of the part.
    start : int32 array (1,)
        The number of elements before the part.
    total : int
        The number of elements of the whole mask, fewer than 2**31.
    step, threshold, device
        As for `random_mask`.

    Returns
    -------
    bool array of `shape`
    """
    count = math.prod(shape)
    index = start + xp.arange(count, dtype=xp.int32, device=device)
    if 4 * count > total:  # the whole mask is cheaper, as every block has four of its elements
        whole = random_mask(key, (total,), step, threshold, device=device, xp=xp)
        return xp.reshape(xp.take(whole, index), shape)
    blocks = (total + 3) // 4
    quarter = index // blocks
    words = threefry2x32(key, index - quarter * blocks, xp.broadcast_to(step, (count,)))
    word = xp.where(quarter < 2, *words)
    lower, upper = (word & (HALVES - 1)) < threshold, (word >> 16) < threshold - HALVES // 2
    return xp.reshape(xp.where((quarter & 1) == 0, lower, upper), shape)


def _blocks(key: Key, blocks: int, step: Array, device: Any, xp: Namespace) -> tuple[Array, Array]:
    index = xp.arange(blocks, dtype=xp.int32, device=device)
    return threefry2x32(key, index, xp.broadcast_to(step, (blocks,)))


def rotated_left(x: Array, distance: int) -> Array:
    """Rotate the bits of an int32 array left by `distance`."""
    carried = x >> (32 - distance)
    carried &= (1 << distance) - 1  # the shift filled the upper bits with copies of the sign
    rotated = x << distance
    rotated |= carried
    return rotated


def signed(word: int) -> int:
    """Return the int32 with the bits of `word` modulo 2**32: array libraries check the range."""
    return (word + 2**31) % 2**32 - 2**31


# -- CuPy: one kernel --------------------------------------------------------------------------

CUDA_BLOCK = """
__device__ void threefry(unsigned k0, unsigned k1, unsigned& x0, unsigned& x1) {
    const unsigned schedule[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    x0 += k0;
    x1 += k1;
    #pragma unroll
    for (int group = 1; group <= 5; ++group) {
        #pragma unroll
        for (int round = 0; round < 4; ++round) {
            const int distance = rotations[(group - 1) % 2][round];
            x0 += x1;
            x1 = (x1 << distance) | (x1 >> (32 - distance));
            x1 ^= x0;
        }
        x0 += schedule[group % 3];
        x1 += schedule[(group + 1) % 3] + group;
    }
}
"""

CUDA_WORDS = """
unsigned x0 = i, x1 = step[0];
threefry(k0, k1, x0, x1);
const long long second = i + _ind.size();
words[i] = x0;
if (second < count) words[second] = x1;
"""

CUDA_MASK = """
unsigned x0 = i, x1 = step[0];
threefry(k0, k1, x0, x1);
const int halves[4] = {int(x0 & 0xffff), (int(x0) >> 16) + 0x8000,
                       int(x1 & 0xffff), (int(x1) >> 16) + 0x8000};
for (int quarter = 0; quarter < 4; ++quarter) {
    const long long place = i + quarter * static_cast<long long>(_ind.size());
    if (place < count) mask[place] = halves[quarter] < threshold;
}
"""


CUDA_MASK_PART = """
const long long index = i + start[0], blocks = (count + 3) / 4, quarter = index / blocks;
unsigned x0 = index - quarter * blocks, x1 = step[0];
threefry(k0, k1, x0, x1);
const unsigned word = quarter < 2 ? x0 : x1;
const int half = quarter & 1 ? (int(word) >> 16) + 0x8000 : int(word & 0xffff);
mask[i] = half < threshold;
"""


@functools.cache
def _cuda_kernel(arguments: str, result: str, body: str) -> Any:
    import cupy

    return cupy.ElementwiseKernel(
        f"uint32 k0, uint32 k1, raw int32 step, int64 count{arguments}",
        result,
        body,
        "bp_arrays_threefry",
        preamble=CUDA_BLOCK,
    )


@random_bits.native("cupy")
def _(key: Key, count: int, step: Array, *, device: Any, xp: Namespace) -> Array:
    words = xp.empty(count, dtype=xp.int32, device=device)
    if count:
        draw = _cuda_kernel("", "raw int32 words", CUDA_WORDS)
        draw(*_words_of(key), step, count, words, size=(count + 1) // 2)
    return words


@random_mask.native("cupy")
def _(key: Key, shape: Shape, step: Array, threshold: int, *, device: Any, xp: Namespace) -> Array:
    mask = xp.empty(shape, dtype=xp.bool, device=device)
    if count := math.prod(shape):
        draw = _cuda_kernel(", int32 threshold", "raw bool mask", CUDA_MASK)
        draw(*_words_of(key), step, count, threshold, mask, size=(count + 3) // 4)
    return mask


@random_mask_part.native("cupy")
def _(
    key: Key,
    shape: Shape,
    start: Array,
    total: int,
    step: Array,
    threshold: int,
    *,
    device: Any,
    xp: Namespace,
) -> Array:
    mask = xp.empty(shape, dtype=xp.bool, device=device)
    if count := math.prod(shape):
        arguments = ", int32 threshold, raw int32 start"
        draw = _cuda_kernel(arguments, "raw bool mask", CUDA_MASK_PART)
        draw(*_words_of(key), step, total, threshold, start, mask, size=count)
    return mask


def _words_of(key: Key) -> tuple[int, int]:
    return key[0] % 2**32, key[1] % 2**32
