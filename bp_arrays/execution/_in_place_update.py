"""An optimizer's update on NumPy, written over the vectors it is about.

A whole-array update makes a temporary array for every operation; for a long vector each is fresh
memory, which the operating system hands out page by page: that, not the arithmetic, is its cost.
Here the update runs over pieces that stay in the cache or, once Numba has compiled it, as one
loop. Every element goes through the same operations, so all three give the same bits.

What was θ before an update is left where its gradient was: a training can go back one step, and
no memory is needed for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bp_arrays.execution._formula import traced
from bp_arrays.execution._update_loop import LoopRequest, has_compiler, loop_request

BLOCK = 8192
"""Elements a piece: a dozen temporaries of it fit into a cache of half a megabyte."""

HostVector = np.ndarray[Any, Any]
Update = Callable[..., tuple[Any, tuple[Any, ...]]]
Vectors = tuple[HostVector, ...]


class InPlaceUpdate:
    """An update that writes over θ and the optimizer's state, and leaves the old θ in g.

    Parameters
    ----------
    update : function of (theta, g, state, scalars, xp) to (theta, state)
    states, scalars : int
        How many vectors and numbers it takes.
    elementwise : bool
        Whether element i of the result depends on no other element.
    dtype : str
    xp : namespace of NumPy
    compiled : bool, default True
        Whether a loop may be compiled.
    """

    def __init__(
        self,
        update: Update,
        states: int,
        scalars: int,
        elementwise: bool,
        dtype: str,
        xp: Any,
        compiled: bool = True,
    ) -> None:
        self.update, self.elementwise, self.xp = update, elementwise, xp
        self._request: LoopRequest | None = None
        if compiled and elementwise and has_compiler():
            # An optimizer of the user's own may do more than arithmetic, and refuse symbols in
            # any way: then there is no loop, and nothing else is different.
            with contextlib.suppress(Exception):
                self._request = loop_request(traced(update, states, scalars), dtype)

    def __call__(
        self, theta: HostVector, g: HostVector, state: Vectors, scalars: Sequence[float]
    ) -> None:
        """Update one stretch of the parameters: 1-d, contiguous, of equal length and dtype."""
        request = self._request
        if request is not None and request.loop is not None:
            request.loop(theta, g, *state, *scalars)
            return
        started = time.perf_counter()
        length = theta.shape[0]
        step = BLOCK if self.elementwise else max(length, 1)
        for start in range(0, length, step):
            here = slice(start, start + step)
            self._plain(theta[here], g[here], tuple(vector[here] for vector in state), scalars)
        if request is not None:
            request.spend(time.perf_counter() - started)

    def _plain(
        self, theta: HostVector, g: HostVector, state: Vectors, scalars: Sequence[float]
    ) -> None:
        moved, vectors = self.update(theta, g, state, scalars, self.xp)
        # Whoever returns a part of what was handed in must not see it written over.
        results = [a if a.base is None else a.copy() for a in (moved, *vectors)]
        g[...] = theta
        for vector, values in zip((theta, *state), results, strict=True):
            vector[...] = values

    def wait_for_compiler(self) -> bool:
        """Have the loop now, if there can be one; whether there is."""
        return self._request is not None and self._request.wait() is not None
