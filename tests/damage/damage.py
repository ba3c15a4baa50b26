"""Change a few bytes of a valid file many times over, and see what its reader says."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bp_arrays.errors import BpArraysError
from tests.damage.samples import Sample

SLOW = 1.0
"""Seconds that reading a small file may take, however it is damaged."""


@dataclass
class Outcome:
    """How often a reader refused damaged files in one line, how often it read them, and the rest.

    Parameters
    ----------
    reader : str
    refused, read : int
    others : list of str
        The number of each file that ended in another way, with the exception or the seconds.
    """

    reader: str
    refused: int = 0
    read: int = 0
    others: list[str] = field(default_factory=list)


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies: 1 to 8 bytes changed, inserted or cut out, or the end cut off.

    Number k depends on the seed and k alone, so that it can be made again.
    """
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        size, start = int(rng.integers(1, 9)), int(rng.integers(len(content)))
        match rng.integers(4):
            case 0:  # anywhere, not side by side
                damaged = bytearray(content)
                for position in rng.integers(len(content), size=size):
                    damaged[position] = int(rng.integers(256))
                yield bytes(damaged)
            case 1:
                yield content[:start] + rng.bytes(size) + content[start:]
            case 2:
                yield content[:start] + content[start + size :]
            case _:
                yield content[:start]


def read_damaged(sample: Sample, count: int, seed: int, folder: Path) -> Outcome:
    """Read damaged copies of a file; warnings count as exceptions."""
    outcome = Outcome(sample.reader)
    path = folder / sample.name
    for k, content in enumerate(mutations(sample.content, count, seed)):
        path.unlink(missing_ok=True)  # to write over a file makes some disks wait
        path.write_bytes(content)
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                sample.read(path)
            outcome.read += 1
        except BpArraysError as error:
            if "\n" in str(error):
                outcome.others.append(f"file {k}: a message of several lines: {error!r:.200}")
            else:
                outcome.refused += 1
        except Exception as error:
            outcome.others.append(f"file {k}: {type(error).__name__}: {error!s:.200}")
        seconds = time.perf_counter() - started
        if seconds > SLOW:
            outcome.others.append(f"file {k}: {seconds:.1f} s")
    return outcome
