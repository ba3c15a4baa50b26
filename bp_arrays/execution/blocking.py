"""Elementwise work on long vectors, in pieces that stay in the processor's cache.

NumPy makes a temporary array for every operation. For a long vector each is fresh memory, which
the operating system hands out page by page: that, not the arithmetic, is the cost of an
optimizer's update. In pieces the temporaries are small and reused. Every element goes through
the same operations, so the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bp_arrays.devices import Device

BLOCK = 8192
"""Elements a piece: a dozen temporaries of it fit into a cache of half a megabyte."""

Update = Callable[..., tuple[Any, tuple[Any, ...]]]


def block_update(update: Update, device: Device, *, elementwise: bool) -> Update:
    """An optimizer's update as this device runs it best.

    Parameters
    ----------
    update : function of (theta, g, state, scalars, xp) to (theta, state)
    device : Device
    elementwise : bool
        Whether element i of the result depends on no other element; if not, nothing is changed.
    """
    if device.backend != "numpy" or not elementwise:
        return update

    def in_blocks(theta: Any, g: Any, state: Any, scalars: Any, xp: Any) -> Any:
        if theta.shape[0] <= BLOCK:
            return update(theta, g, state, scalars, xp)
        new_theta = np.empty_like(theta)
        new_state = tuple(np.empty_like(vector) for vector in state)
        for start in range(0, theta.shape[0], BLOCK):
            here = slice(start, start + BLOCK)
            part = tuple(vector[here] for vector in state)
            new_theta[here], moved = update(theta[here], g[here], part, scalars, xp)
            for vector, values in zip(new_state, moved, strict=True):
                vector[here] = values
        return new_theta, new_state

    return in_blocks
