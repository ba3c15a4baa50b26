"""Cases of the layers of `recurrence`."""

from __future__ import annotations

from collections.abc import Iterator

from bp_arrays.testing._case import Case


def recurrence_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    yield from ()
