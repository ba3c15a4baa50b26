"""Transforms of the gradient, applied before the update: their contract, clipping, weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import check_number
from bp_arrays.kernels import narrowed, widened
from bp_arrays.optimizers._optimizer import Scalars, State, zeros_like
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class Transform:
    """Base class of transforms, functions of the gradient that a `Chain` applies.

    One without state overrides `__call__`. One with state, such as a running mean of the gradient,
    overrides `update`, and says how many vectors its state has; fit, checkpoints and
    `training_state` keep them with those of the optimizer.

    Examples
    --------
    The gradient, centered by a running mean of it, which is corrected for its start at 0:

    >>> from dataclasses import dataclass
    >>> from typing import ClassVar
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> @dataclass(frozen=True)
    ... class Centered(bp.optimizers.Transform):
    ...     beta: float = 0.5
    ...     states: ClassVar[int] = 1
    ...
    ...     def scalars(self, step):
    ...         return (1.0 / (1.0 - self.beta**step),)
    ...
    ...     def update(self, g, theta, state, scalars, xp):
    ...         mean = self.beta * state[0] + (1.0 - self.beta) * g
    ...         return g - scalars[0] * mean, (mean,)
    >>> model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
    >>> optimizer = bp.Chain(Centered(), bp.SGD(0.1))
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=optimizer, epochs=2, batch_size=2)
    >>> len(model.training_state.vectors)
    1
    """

    elementwise: ClassVar[bool] = True
    """Whether element i of the result depends on element i of the arguments only."""
    states: ClassVar[int] = 0
    """The number of vectors of the state."""

    def init(self, theta: Array, xp: Namespace) -> State:
        """Return the state before the first update: by default zeros.

        Parameters
        ----------
        theta : array (parameters,)
            The flat vector of parameters.
        xp : namespace
            Its array namespace.

        Returns
        -------
        tuple of arrays (parameters,)
            `states` of them, in the dtype of theta, or float32 if that is half precision.
        """
        return tuple(zeros_like(theta, xp) for _ in range(self.states))

    def scalars(self, step: int) -> tuple[float, ...]:
        """Return the numbers of one update, computed in Python; by default none.

        Parameters
        ----------
        step : int
            The number of the update, counted from 1.
        """
        return ()

    def update(
        self, g: Array, theta: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        """Return the gradient to use instead of `g`, and the next state; a pure function.

        Parameters
        ----------
        g, theta : arrays (parameters,)
            The gradient and the parameters, of equal dtype; float32 in half precision.
        state : tuple of arrays
            As returned by `init` or the previous update.
        scalars : tuple
            As returned by `scalars`: Python floats, or 0-d arrays.
        xp : namespace
            Their array namespace.
        """
        return self(g, theta, xp), state

    def __call__(self, g: Array, theta: Array, xp: Namespace) -> Array:
        """Return the gradient to use instead of `g`; the arguments are not changed.

        Parameters
        ----------
        g, theta : arrays (parameters,)
            The gradient and the parameters, of equal dtype.
        xp : namespace
            Their array namespace.

        Returns
        -------
        array (parameters,)
            Of the same dtype.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class ClipByGlobalNorm(Transform):
    """Clipping by the global norm: g · min(1, max_norm / ‖g‖₂).

    The norm is that of the whole vector, so the direction does not change. It is computed in units
    of the largest element, and in float32 for half precision: squares would overflow in float32
    from 1e19 on, the norm itself near the largest number. A zero gradient stays zero; one with NaN
    or infinity becomes NaN throughout.

    Parameters
    ----------
    max_norm : float
        The largest norm after clipping, > 0.

    Raises
    ------
    InputError
        If max_norm is not finite and > 0.

    Notes
    -----
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks",
    ICML 2013, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> ClipByGlobalNorm(1.0)(np.asarray([3.0, 4.0]), np.zeros(2), np).tolist()
    [0.6000000000000001, 0.8]
    """

    max_norm: float

    elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number(self, "max_norm", above=0.0)

    def __call__(self, g: Array, theta: Array, xp: Namespace) -> Array:
        if g.shape[0] == 0:  # an empty array has no maximum
            return g
        wide = widened(g, xp)
        largest = xp.max(xp.abs(wide))
        root = xp.sqrt(xp.where(largest == 0.0, 1.0, largest))
        # two divisions, as JAX multiplies by the reciprocal, and takes that of 1e38 for 0
        h = wide / root / root
        norm = xp.maximum(xp.sqrt(xp.sum(h * h)), 1.0)  # in units of the largest element, so >= 1
        bound = self.max_norm / norm
        # NaN is not <= anything, so it is clipped, and NaN throughout
        return xp.where(largest <= bound, g, narrowed(h * bound, g.dtype, xp))


@dataclass(frozen=True)
class WeightDecay(Transform):
    """Weight decay: g + λ θ, the gradient with an L2 penalty λ/2 ‖θ‖² on the parameters.

    With plain SGD this is the same as shrinking θ; with Adam it is not (see AdamW). Every
    parameter is decayed, biases too.

    Parameters
    ----------
    decay : float
        λ >= 0.

    Raises
    ------
    InputError
        If the decay is not finite and >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> WeightDecay(0.5)(np.ones(2), np.asarray([0.0, 2.0]), np).tolist()
    [1.0, 2.0]
    """

    decay: float

    def __post_init__(self) -> None:
        check_number(self, "decay", at_least=0.0)

    def __call__(self, g: Array, theta: Array, xp: Namespace) -> Array:
        return g + self.decay * theta
