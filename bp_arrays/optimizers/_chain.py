"""`Chain`: transforms of the gradient, then an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import argument_error
from bp_arrays.errors import InputError
from bp_arrays.optimizers._average import EMA
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.optimizers._transforms import Transform
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True, init=False, repr=False)
class Chain(Optimizer):
    """Transforms applied to the gradient in order, then an optimizer.

    A chain is an optimizer itself, so it may be the last link of another chain. Its state is that
    of each transform in order, then that of the optimizer; for custom transforms see
    [`Transform`][bp_arrays.optimizers.Transform].

    Parameters
    ----------
    links : Transform or Optimizer
        Any number of transforms, then one optimizer.

    Raises
    ------
    InputError
        If the last link is not an optimizer, or one before it is not a transform, or does not
        define what a transform does.

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
            _check(link)
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
        vectors: list[Array] = []
        for transform in self.transforms:
            state = transform.init(theta, xp)
            if len(state) != transform.states:
                name = type(transform).__name__
                raise InputError(
                    f"{name}.init: expected {transform.states} arrays, as {name}.states says, got "
                    f"{len(state)}; set the number `states` in the class"
                )
            vectors += state
        return (*vectors, *self.optimizer.init(theta, xp))

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        numbers = [number for each in self.transforms for number in each.scalars(step)]
        return (*numbers, *self.optimizer.scalars(step, eta))

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        vectors: list[Array] = []
        for transform in self.transforms:
            own, state = state[: transform.states], state[transform.states :]
            count = len(transform.scalars(1))
            numbers, scalars = scalars[:count], scalars[count:]
            g, own = transform.update(g, theta, own, numbers, xp)
            vectors += own
        theta, state = self.optimizer.update(theta, g, state, scalars, xp)
        return theta, (*vectors, *state)


def _check(link: Transform) -> None:
    """Raise InputError for a transform that overrides neither `update` nor `__call__`."""
    kind = type(link)
    if kind.update is Transform.update and kind.__call__ is Transform.__call__:
        expected = "a transform that defines update, or __call__ if it has no state"
        raise argument_error("Chain", "link", link, expected)
    if kind.states and kind.update is Transform.update:
        expected = "a transform with states that defines update"
        raise argument_error("Chain", "link", link, expected)
