"""Keys derived from a seed, the same on every machine and Python version."""

from __future__ import annotations

import hashlib
import json
import numbers
import operator

from bp_arrays.errors import InputError


def checked_seed(seed: int) -> int:
    """Return a seed as a Python int; any whole number >= 0, however large, is a seed.

    Parameters
    ----------
    seed : int
        Python or NumPy integer, >= 0.

    Raises
    ------
    InputError
        For a negative number, a float, a bool or anything else.
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise InputError(f"seed: expected a whole number >= 0, got {seed!r}")
    return operator.index(seed)


def derived_key(bits: int, seed: int, *path: str | int) -> int:
    """Derive a key of `bits` bits from a seed and a path that identifies its use.

    BLAKE2b over the JSON text of (seed, *path): unlike `hash()`, it does not change between
    processes, and two different paths never give the same text, so their keys are independent.

    Parameters
    ----------
    bits : int
        The width of the key, a multiple of 8 up to 512.
    seed : int
        Whole number >= 0.
    path : str or int
        Names and numbers that identify the use.

    Returns
    -------
    int
        In [0, 2**bits).

    Raises
    ------
    InputError
        If the seed is not a whole number >= 0, or a part of the path is neither str nor int.

    Examples
    --------
    >>> hex(derived_key(64, 0, "weights", "0.bias"))
    '0x488d850bc3a77727'
    """
    parts: list[str | int] = [checked_seed(seed)]
    for part in path:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, numbers.Integral) and not isinstance(part, bool):
            parts.append(operator.index(part))
        else:
            raise InputError(f"path: expected names and whole numbers, got {part!r}")
    text = json.dumps(parts, separators=(",", ":"))  # pure ASCII: the same bytes everywhere
    digest = hashlib.blake2b(text.encode("ascii"), digest_size=bits // 8).digest()
    return int.from_bytes(digest, "little")
