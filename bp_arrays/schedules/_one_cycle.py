"""The one-cycle schedule: a rise to a peak learning rate, then a long decay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bp_arrays.checks import check_integer, check_number
from bp_arrays.schedules._cosine import cosine_between
from bp_arrays.schedules._schedule import Schedule


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine from peak / start_divisor up to peak, then half a cosine down to the end.

    The end is peak / (start_divisor · end_divisor), reached at the last of `steps` updates.
    The curve and the defaults are those of torch.optim.lr_scheduler.OneCycleLR; in Smith's paper
    both parts are straight lines. Only the learning rate is cycled, not the momentum.

    Parameters
    ----------
    peak : float
        The highest learning rate, > 0.
    steps : int
        The number of updates of the whole cycle, >= 1.
    rise : float, default 0.3
        The fraction of the updates before the peak, in [0, 1).
    start_divisor : float, default 25.0
        The first rate is peak divided by this, >= 1.
    end_divisor : float, default 1e4
        The last rate is the first divided by this, >= 1.

    Raises
    ------
    InputError
        If a parameter is out of its range.

    Notes
    -----
    Smith, "A disciplined approach to neural network hyper-parameters", 2018, section 4.3.

    Examples
    --------
    >>> [round(OneCycle(1.0, steps=10, rise=0.3)(step), 3) for step in (0, 1, 2, 9)]
    [0.04, 0.52, 1.0, 0.0]
    """

    peak: float
    steps: int
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        check_number(self, "peak", above=0.0)
        check_integer(self, "steps", at_least=1)
        check_number(self, "rise", at_least=0.0, below=1.0)
        check_number(self, "start_divisor", at_least=1.0)
        check_number(self, "end_divisor", at_least=1.0)

    def __call__(self, step: int, monitored: Sequence[float] = ()) -> float:
        start = self.peak / self.start_divisor
        end = start / self.end_divisor
        top = self.rise * self.steps - 1.0  # the step of the peak, not always whole
        last = self.steps - 1.0
        if step < top:
            return cosine_between(start, self.peak, step / top)
        return cosine_between(self.peak, end, (step - top) / (last - top))
