"""Transforms of the gradient, applied before the update: clipping and weight decay."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from bp_arrays.checks import check_number
from bp_arrays.kernels import narrowed, widened
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class Transform(ABC):
    """Base class of transforms: functions of the gradient and the parameters, without state."""

    elementwise: ClassVar[bool] = True
    """Whether element i of the result depends on element i of the arguments only."""

    @abstractmethod
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
