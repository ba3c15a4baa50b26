"""`InPlaceUpdate`: an optimizer's update on NumPy that overwrites its vectors.

A whole-array update allocates a temporary array for every operation; for a long vector each is
fresh memory, which the operating system maps page by page: that, not the arithmetic, is its cost.
Here the update runs over blocks that stay in the cache or, once Numba has compiled it, as one
loop. Every element goes through the same operations, so all three compute the same bits.

The update keeps the old θ in g: training can go back one step without additional memory.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bp_arrays.execution._formula import DTYPES, traced
from bp_arrays.execution._update_loop import LoopRequest, has_compiler, loop_request

BLOCK = 8192
"""Elements per block: a dozen temporaries of this size fit into a cache of half a megabyte."""

HostVector = np.ndarray[Any, Any]
Update = Callable[..., tuple[Any, tuple[Any, ...]]]
Vectors = tuple[HostVector, ...]


class InPlaceUpdate:
    """An update that overwrites θ and the optimizer's state, and leaves the old θ in g.

    `steps_to_come`, if it is known, tells whether a loop is worth compiling.

    Parameters
    ----------
    update : function of (theta, g, state, scalars, xp) to (theta, state)
    states, scalars : int
        The numbers of its state vectors and scalars.
    elementwise : bool
        Whether element i of the result depends on element i of the arguments only.
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
        self.steps_to_come = 0
        self._request: LoopRequest | None = None
        if compiled and elementwise and dtype in DTYPES and has_compiler():
            # a custom optimizer may do more than arithmetic, and raise anything for symbols: then
            # there is no loop, and the update runs on arrays
            with contextlib.suppress(Exception):
                self._request = loop_request(traced(update, states, scalars), dtype)

    def __call__(
        self, theta: HostVector, g: HostVector, state: Vectors, scalars: Sequence[float]
    ) -> None:
        """Update vectors in place: 1-d, contiguous, of equal length and dtype."""
        request = self._request
        if request is not None and request.loop is not None:
            request.loop(theta, g, *state, *scalars)
            return
        started = time.perf_counter()
        length = theta.shape[0]
        step = BLOCK if self.elementwise else max(length, 1)
        for start in range(0, length, step):
            block = slice(start, start + step)
            vectors = tuple(vector[block] for vector in state)
            self._update_block(theta[block], g[block], vectors, scalars)
        if request is not None:
            request.spend(time.perf_counter() - started, self.steps_to_come)

    def _update_block(
        self, theta: HostVector, g: HostVector, state: Vectors, scalars: Sequence[float]
    ) -> None:
        new_theta, vectors = self.update(theta, g, state, scalars, self.xp)
        # `update` may return views of its arguments: copy before overwriting them
        results = [a if a.base is None else a.copy() for a in (new_theta, *vectors)]
        g[...] = theta
        for vector, values in zip((theta, *state), results, strict=True):
            vector[...] = values

    def wait_for_compiler(self) -> bool:
        """Wait until the loop is compiled; return False if there is none."""
        return self._request is not None and self._request.wait() is not None
