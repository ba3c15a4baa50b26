"""`Stream`: the random numbers of one forward pass, computed on the device."""

from __future__ import annotations

import math
import numbers
import operator
from typing import NamedTuple

from bp_arrays.checks import argument_error, as_number
from bp_arrays.kernels import random_bits, random_mask, random_mask_part
from bp_arrays.random._seeds import checked_seed, derived_key
from bp_arrays.typing import Array, Namespace, Shape

LEVELS = 2**16
LIMIT = 2**31


class BatchPart(NamedTuple):
    """The rows of a pass as adjacent rows of a larger batch, whose random numbers it draws.

    Parameters
    ----------
    first : int32 array (1,)
        The number of rows of the batch before the part.
    rows, total : int
        The number of rows of the part, and of the whole batch.
    """

    first: Array
    rows: int
    total: int


class Stream:
    """Random draws of one training step: a function of (seed, step, number of the draw).

    The seed and the number of the draw form the key; the step and the index of the element form
    the counter. So a layer needs no identity and no state: the first layer that draws uses draw 0,
    the next draw 1, and the same step repeated, on any device, draws the same bits.

    Parameters
    ----------
    xp : namespace
        The namespace of the arrays to draw.
    device : object
        The native device for the creation functions of `xp` (None: the default).
    seed : int
        Whole number >= 0, of any size.
    step : int or 0-d integer array, default 0
        The number of the update, in [0, 2**31). Inside a compiled step it must be an array
        argument: a Python int is a constant to the compiler, so that every step would reuse the
        mask of the first.
    part : BatchPart, optional
        The batch of which the pass computes a part: `keep_mask` then returns the rows of the part
        from the mask of the whole batch, wherever the first axis counts rows (or their positions,
        row by row). `bits` draws the same words for every part.

    Raises
    ------
    InputError
        If the seed is not a whole number >= 0 or the step is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> mask, keep = Stream(np, None, seed=0, step=7).keep_mask((2, 4), rate=0.5)
    >>> mask.shape, keep
    ((2, 4), 0.5)
    """

    def __init__(
        self,
        xp: Namespace,
        device: object,
        seed: int,
        step: int | Array = 0,
        part: BatchPart | None = None,
    ) -> None:
        self.xp = xp
        self.part = part
        self.device = device
        self.seed = checked_seed(seed)
        self.restart(step)

    def restart(self, step: int | Array) -> None:
        """Start another step: the next draw is its first.

        Raises
        ------
        InputError
            If the step is out of range.
        """
        if isinstance(step, numbers.Integral) and not 0 <= operator.index(step) < LIMIT:
            raise argument_error("Stream", "step", step, "0 <= step < 2**31")
        self._step = step
        self._draws = 0

    def bits(self, count: int) -> Array:
        """Draw `count` random 32-bit words, the next draw of the pass.

        Parameters
        ----------
        count : int
            The number of words, 0 <= count < 2**31.

        Returns
        -------
        int32 array (count,)
            Every bit pattern equally likely.

        Raises
        ------
        InputError
            If the count is out of range: the counter has 31 bits.

        Examples
        --------
        >>> import numpy as np
        >>> Stream(np, None, seed=0).bits(2).tolist()
        [1603149255, -1625596554]
        """
        key = self._next_key(count)
        return random_bits(key, count, self._step_as_array(), device=self.device, xp=self.xp)

    def keep_mask(self, shape: Shape, rate: float) -> tuple[Array, float]:
        """Draw the mask of the elements that dropout keeps, the next draw of the pass.

        Each element has 16 random bits, a quarter of a Threefry block, and is kept if they are
        below keep_probability * 2**16. The probability is therefore rounded to a multiple of
        2**-16 (and is at least 2**-16): divide by the value returned, not by 1 - rate, for an
        exact expectation.

        Parameters
        ----------
        shape : tuple of int
            Shape of the mask, fewer than 2**31 elements.
        rate : float
            The probability that an element is dropped, in [0, 1).

        Returns
        -------
        mask : bool array of `shape`
            True where the element is kept.
        keep_probability : float
            The probability of True, a multiple of 2**-16.

        Raises
        ------
        InputError
            If the rate is not in [0, 1) or the mask has 2**31 elements or more.
        """
        rate = as_number("keep_mask", "rate", rate, at_least=0.0, below=1.0)
        threshold = max(1, round((1.0 - rate) * LEVELS))
        count, part = math.prod(shape), self.part
        step, where = self._step_as_array(), {"device": self.device, "xp": self.xp}
        if part is None or not shape or shape[0] % part.rows:
            mask = random_mask(self._next_key(count), shape, step, threshold, **where)
        else:
            row = count // part.rows
            total, start = row * part.total, part.first * row
            key = self._next_key(total)
            mask = random_mask_part(key, shape, start, total, step, threshold, **where)
        return mask, threshold / LEVELS

    def _next_key(self, count: int) -> tuple[int, int]:
        """Return the key of the next draw, of `count` numbers."""
        if not 0 <= count < LIMIT:
            raise argument_error("Stream", "count", count, "0 <= count < 2**31 numbers per draw")
        key = derived_key(64, self.seed, "stream", self._draws)
        self._draws += 1
        return key % 2**32, key >> 32

    def _step_as_array(self) -> Array:
        xp, step = self.xp, self._step
        if isinstance(step, numbers.Integral):
            return xp.full((1,), operator.index(step), dtype=xp.int32, device=self.device)
        return xp.reshape(xp.astype(step, xp.int32), (1,))
