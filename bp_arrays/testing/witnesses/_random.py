"""Random streams in Python integers: Threefry-2x32 as in its paper, and the layout of its words."""

from __future__ import annotations

import hashlib

import numpy as np

from bp_arrays.testing.witnesses._witness import HostArrays
from bp_arrays.typing import HostArray

WORD = 2**32
ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)

KNOWN_ANSWERS = (
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
)
"""(counter, key, words) of threefry2x32 with 20 rounds, from the vectors of Random123, whose
authors are those of the paper."""


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Return the two words of one counter.

    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 3.3.
    """
    keys = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + keys[0]) % WORD, (counter[1] + keys[1]) % WORD
    for round_ in range(20):
        x = (x + y) % WORD
        distance = ROTATIONS[round_ % 8]
        y = (y << distance | y >> 32 - distance) % WORD ^ x
        if round_ % 4 == 3:
            injected = round_ // 4 + 1
            x = (x + keys[injected % 3]) % WORD
            y = (y + keys[(injected + 1) % 3] + injected) % WORD
    return x, y


def stream_key(seed: int, draw: int) -> tuple[int, int]:
    """Return the key of a draw: BLAKE2b of the text [seed,"stream",draw], in two words."""
    text = f'[{seed},"stream",{draw}]'.encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def stream_words(seed: int, step: int, draw: int, blocks: int) -> list[int]:
    """Return the first words of the blocks of a draw, then the second ones."""
    key = stream_key(seed, draw)
    words = [threefry(key, (block, step)) for block in range(blocks)]
    return [first for first, _ in words] + [second for _, second in words]


def keep_words(
    seed: int, step: int, draw: int, count: int, rate: float
) -> tuple[list[bool], float]:
    """Return which elements a mask keeps, and the probability that it keeps one.

    16 bits decide on one element, as in the stream's contract: the lower ones of all words, then
    the upper ones, which are read as a signed number and so start at −2**15.
    """
    threshold = round((1.0 - rate) * 2**16)
    blocks = -(-count // 4)
    words = stream_words(seed, step, draw, blocks)
    halves: list[int] = []
    for part in (words[:blocks], words[blocks:]):
        halves += [word % 2**16 for word in part] + [(word >> 16) ^ 2**15 for word in part]
    return [half < threshold for half in halves[:count]], threshold / 2**16


def mask_values(seed: int, step: int, rate: float, inputs: HostArrays) -> HostArrays:
    """Return the first two masks of a step."""
    first, _ = keep_words(seed, step, 0, 7 * 31, rate)
    second, _ = keep_words(seed, step, 1, 3, rate)
    return {"first mask": np.reshape(first, (7, 31)), "second mask": np.reshape(second, (1, 3))}


def bits_values(seed: int, step: int, count: int, inputs: HostArrays) -> HostArrays:
    """Return the first two draws of words of a step."""

    def draw(number: int) -> HostArray:
        words = stream_words(seed, step, number, (count + 1) // 2)[:count]
        return np.array(words, np.uint32).view(np.int32)

    return {"first draw": draw(0), "second draw": draw(1)}


def counters() -> HostArrays:
    """Return the counters of the known answers."""
    words = [np.array(counter, np.uint32).view(np.int32) for counter, _, _ in KNOWN_ANSWERS]
    return {f"counter {k}": pair for k, pair in enumerate(words)}


def known_answers(inputs: HostArrays, results: HostArrays) -> HostArrays:
    """Return the words that the authors of Threefry publish for their counters and keys."""
    words = [np.array(answer, np.uint32).view(np.int32) for _, _, answer in KNOWN_ANSWERS]
    return {f"vector {k}": pair for k, pair in enumerate(words)}
