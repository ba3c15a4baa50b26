"""A loop over time: each step takes the state that the step before returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bp_arrays.kernels._kernel import Kernel
from bp_arrays.trees import Tree, leaves, map_tree
from bp_arrays.typing import Namespace

Step = Callable[[Tree, Tree, Tree], tuple[Tree, Tree, Tree]]
"""(state, x at one time, what was kept at that time) -> (new state, y at that time, to keep)."""


@Kernel
def scan(
    step: Step,
    state: Tree,
    xs: Tree,
    *,
    kept: Any = None,
    reverse: bool = False,
    xp: Namespace,
) -> tuple[Tree, Tree, Any]:
    """Run a step for each time, from the first to the last or in reverse.

    Parameters
    ----------
    step : function of (state, x, kept) to (state, y, kept)
        A pure function of arrays. The new state has the shapes and dtypes of the old one.
    state : tree of arrays
        The state before the first step.
    xs : tree of arrays (batch, time, ...)
        The step gets their part (batch, ...) at its time.
    kept : optional
        What an earlier scan of the same number of times kept; the step gets what was kept at its
        time, without it None.
    reverse : bool, default False
        Whether to go from the last time to the first.
    xp : namespace of the arrays

    Returns
    -------
    state : tree of arrays
        The state after the last step.
    ys : tree of arrays (batch, time, ...)
        The outputs y (batch, ...), each at its time.
    kept : object
        What the steps kept, for a later scan: not copied into one array.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([[1.0, 2.0, 3.0]])
    >>> total, sums, _ = scan(lambda s, x, _: (s + x, s + x, None), np.zeros(1), x, xp=np)
    >>> total.tolist(), sums.tolist()
    ([6.0], [[1.0, 3.0, 6.0]])
    """
    count = len(kept) if kept is not None else next(leaves(xs)).shape[1]
    ys, to_keep = [], []
    for t in reversed(range(count)) if reverse else range(count):
        state, y, keep = step(state, _at(xs, t), None if kept is None else kept[t])
        ys.append(y)
        to_keep.append(keep)
    if reverse:
        ys.reverse()
        to_keep.reverse()
    return state, map_tree(lambda *each: xp.stack(each, axis=1), *ys), to_keep


def _at(xs: Tree, t: int) -> Tree:
    return map_tree(lambda x: x[:, t, ...], xs)


@scan.native("jax")
def _(
    step: Step,
    state: Tree,
    xs: Tree,
    *,
    kept: Any = None,
    reverse: bool = False,
    xp: Namespace,
) -> tuple[Tree, Tree, Any]:
    """In a compiled computation a loop of XLA: unrolled, its compile time grows with its square.

    Outside of one, a step is a new function at each call, for which the loop would be compiled.
    """
    import jax

    is_traced = any(isinstance(x, jax.core.Tracer) for x in leaves((state, xs)))
    if isinstance(kept, list) or (kept is None and not is_traced):
        looped: tuple[Tree, Tree, Any] = scan.standard(
            step, state, xs, kept=kept, reverse=reverse, xp=xp
        )
        return looped

    def body(state: Tree, each: tuple[Tree, Tree]) -> tuple[Tree, tuple[Tree, Tree]]:
        state, y, keep = step(state, *each)
        return state, (y, keep)

    times = map_tree(lambda x: xp.moveaxis(x, 1, 0), xs), kept
    state, (ys, to_keep) = jax.lax.scan(body, state, times, reverse=reverse)
    return state, map_tree(lambda y: xp.moveaxis(y, 0, 1), ys), to_keep
