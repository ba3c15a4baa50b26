"""Dynamic loss scaling: gradients of a net in float16 within the range of its numbers.

float16 ends at 65504, and below 6e-5 it loses digits; many errors δ are smaller. So the loss is
multiplied by a scale s before it is differentiated, and the gradients are divided by it afterwards,
in float32. s is as large as the gradients allow:

    a gradient overflows:           the step is skipped, s ← s / 2
    2,000 steps without overflow:   s ← 2 s

All of it is computed on the device, so that no step waits for the host. The state is one array in
float32: the scale, the number of steps since it was last changed, the number of skipped steps, and
that before the present epoch.

Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bp_arrays.trees import Tree, map_tree
from bp_arrays.typing import Array, Namespace

FIRST_SCALE, LARGEST_SCALE = 2.0**16, 2.0**24

SMALLEST_SCALE = 2.0**-14
"""The smallest normal number of float16: with this scale even the error δ = 1 is one."""

STEPS_PER_DOUBLING = 2000

NUMBERS = 4
"""The length of the state."""


def scales_loss(compute_dtype: str | None) -> bool:
    """Return True if training scales the loss of a model with this compute dtype."""
    return compute_dtype == "float16"


class ScaledUpdate(NamedTuple):
    """The results of an update that may have been skipped.

    Parameters
    ----------
    arrays : tree of arrays
        After the update, or before it if it was skipped.
    scaling : array (4,)
    loss : 0-d array
        NaN, which stops training, if the gradients overflow even with the smallest scale.
    """

    arrays: Tree
    scaling: Array
    loss: Array


def first_scaling(device: Any, xp: Namespace) -> Array:
    """Return the state before the first step; `device` is the device object of the namespace."""
    return xp.asarray((FIRST_SCALE, 0.0, 0.0, 0.0), dtype=xp.float32, device=device)


def scaled_update(
    g: Array, before: Tree, after: Tree, scaling: Array, loss: Array, xp: Namespace
) -> ScaledUpdate:
    """Return the arrays after an update, or before it if the gradient is not finite.

    Parameters
    ----------
    g : array (parameters,)
        The gradient, divided by the scale.
    before, after : trees of arrays
        All that the step changes: parameters, their state, the optimizer's vectors.
    scaling : array (4,)
    loss : 0-d array
    """
    is_good = xp.all(xp.isfinite(g))
    scale, steps, skipped, earlier = (scaling[k, ...] for k in range(NUMBERS))
    steps = xp.where(is_good, steps + 1.0, 0.0 * steps)
    is_due = steps >= STEPS_PER_DOUBLING
    larger = xp.where(scale < LARGEST_SCALE, 2.0 * scale, scale)
    smaller = xp.where(scale > SMALLEST_SCALE, 0.5 * scale, scale)
    is_last = xp.logical_and(xp.logical_not(is_good), scale <= SMALLEST_SCALE)
    numbers = [
        xp.where(is_good, xp.where(is_due, larger, scale), smaller),
        xp.where(is_due, 0.0 * steps, steps),
        xp.where(is_good, skipped, skipped + 1.0),
        earlier,
    ]
    return ScaledUpdate(
        map_tree(lambda a, b: b if a is b else xp.where(is_good, b, a), before, after),
        xp.stack(numbers),
        xp.where(is_last, math.nan * loss, loss),
    )


def new_epoch(scaling: Array, xp: Namespace) -> Array:
    """Return the state at the beginning of an epoch, whose skipped steps are counted from 0."""
    return xp.concat([scaling[:3], scaling[2:3]])
