"""`Chain`: transforms of the gradient, then an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import argument_error
from bp_arrays.optimizers._average import EMA
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.optimizers._transforms import Transform
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True, init=False, repr=False)
class Chain(Optimizer):
    """Transforms applied to the gradient in order, then an optimizer.

    A chain is an optimizer itself, so it may be the last link of another chain.

    Parameters
    ----------
    links : Transform or Optimizer
        Any number of transforms, then one optimizer.

    Raises
    ------
    InputError
        If the last link is not an optimizer, or one before it is not a transform.

    Examples
    --------
    >>> from bp_arrays.optimizers import Adam, ClipByGlobalNorm
    >>> Chain(ClipByGlobalNorm(1.0), Adam(1e-3)).rate(0)
    0.001
    """

    transforms: tuple[Transform, ...]
    optimizer: Optimizer

    def __init__(self, *links: Transform | Optimizer) -> None:
        *transforms, optimizer = links or (None,)
        if not isinstance(optimizer, Optimizer):
            raise argument_error("Chain", "link", optimizer, "an optimizer as the last link")
        if isinstance(optimizer, EMA):
            expected = "an optimizer without averages; write EMA(Chain(...))"
            raise argument_error("Chain", "link", optimizer, expected)
        for link in transforms:
            if not isinstance(link, Transform):
                raise argument_error("Chain", "link", link, "transforms before the last link")
        object.__setattr__(self, "transforms", tuple(transforms))
        object.__setattr__(self, "optimizer", optimizer)
        object.__setattr__(self, "learning_rate", optimizer.learning_rate)

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, (*self.transforms, self.optimizer)))})"

    @property
    def elementwise(self) -> bool:
        return self.optimizer.elementwise and all(each.elementwise for each in self.transforms)

    def rate(self, step: int, monitored: Sequence[float] = ()) -> float:
        return self.optimizer.rate(step, monitored)

    def init(self, theta: Array, xp: Namespace) -> State:
        return self.optimizer.init(theta, xp)

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        return self.optimizer.scalars(step, eta)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        for transform in self.transforms:
            g = transform(g, theta, xp)
        return self.optimizer.update(theta, g, state, scalars, xp)
