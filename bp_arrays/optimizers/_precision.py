"""Updates in float32 of parameters in half precision."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bp_arrays.kernels import narrowed, widened
from bp_arrays.typing import Array, Namespace

Update = Callable[..., tuple[Array, tuple[Array, ...]]]


def in_float32(update: Update) -> Update:
    """Decorate `Optimizer.update`: of θ and g in half precision, compute in float32.

    In float16 ε = 1e-8 is 0, and so is the mean of g² for g below 8e-3: the step would be 0/0 or
    g/0. Only the new θ is rounded to its dtype; the state stays in float32. For θ in float32 or
    float64 nothing changes.
    """

    @functools.wraps(update)
    def computed(
        self: Any, theta: Array, g: Array, state: Any, scalars: Any, xp: Namespace
    ) -> tuple[Array, tuple[Array, ...]]:
        wide = widened(theta, xp)
        if wide is theta:
            return update(self, theta, g, state, scalars, xp)
        new_theta, state = update(self, wide, widened(g, xp), state, scalars, xp)
        return narrowed(new_theta, theta.dtype, xp), state

    return computed
