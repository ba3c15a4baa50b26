"""`ThreadChoice`: the number of BLAS threads, chosen by the time of training steps.

With too many threads a product waits for the slowest: on a machine whose cores are busy a step of
two threads can take ten times as long as one of one thread. Which number is right depends on the
net, the BLAS and what else runs, so it is measured: training begins with one thread, tries
half and twice the number now and then, and keeps what is faster.
"""

from __future__ import annotations

FEWEST_STEPS, SHORTEST = 3, 0.02
"""Steps, and seconds, over which the time of a step is averaged."""

SETTLING = 0.03
"""Seconds after a reduction that are not measured: OpenBLAS's threads spin for as long."""

FIRST_GAP, LONGEST_GAP = 0.04, 2.0
"""Seconds between two trials: the gap doubles with every one that fails."""

BUDGET = 0.02
"""The fraction of all time that trials of slower numbers may cost."""

GAIN = 0.95
"""How long a step may take, relative to one with fewer threads, to be worth more of them."""

DRIFT = 1.3
"""The change of a step's time after which another number may have become better."""


class ThreadChoice:
    """The number of threads for the next step, from the times of the steps before.

    Parameters
    ----------
    most : int
        The number of threads that BLAS would use by itself.

    Examples
    --------
    >>> choice = ThreadChoice(2)
    >>> for _ in range(200):  # steps that two threads make in 6 ms, one in 10 ms
    ...     choice.record(0.006 if choice.threads == 2 else 0.010)
    >>> choice.best
    2
    """

    def __init__(self, most: int) -> None:
        self.most, self.threads = most, 1
        self._usual = 1  # the number outside trials
        self._seconds: dict[int, float] = {}  # of a step, by number of threads, when last measured
        self._gap = FIRST_GAP
        self._since_trial = self._settling = self._passed = self._lost = 0.0
        self._upward = True  # the direction of the next trial
        self._count, self._sum = 0, 0.0

    @property
    def best(self) -> int:
        """The number that steps use outside trials."""
        return self._usual

    def record(self, seconds: float) -> None:
        """Add the time of a step made with `threads` threads, and choose for the next one."""
        self._passed += seconds
        if self._settling > 0.0:
            self._settling -= seconds
            return
        self._count += 1
        self._sum += seconds
        if self.threads != self._usual:
            self._judge_trial()
            return
        self._since_trial += seconds
        if self._count < FEWEST_STEPS or self._sum < SHORTEST:
            return
        self._judge_usual()

    def _judge_usual(self) -> None:
        """Note the time of a step; start a trial if one is due and affordable."""
        mean, before = self._sum / self._count, self._seconds.get(self._usual)
        self._seconds[self._usual] = mean
        self._count, self._sum = 0, 0.0
        if before is not None and not 1 / DRIFT < mean / before < DRIFT:
            self._gap = FIRST_GAP  # something else began or ended: what was measured is old
        affordable = self._lost <= BUDGET * self._passed
        if self._since_trial >= self._gap and affordable:
            self._try_other()

    def _try_other(self) -> None:
        fewer, more = (self._usual + 1) // 2, min(2 * self._usual, self.most)
        number = more if self._upward else fewer
        if number == self._usual:
            number = fewer if self._upward else more
        self._upward = not self._upward
        self._since_trial = 0.0
        if number != self._usual:
            self._switch(number)

    def _judge_trial(self) -> None:
        """End a trial once it is clear; keep the number tried if it is better."""
        usual = self._seconds[self._usual]
        lost = self._sum - self._count * usual
        hopeless = lost > max(2 * usual, SHORTEST / 4)
        if not hopeless and (self._count < FEWEST_STEPS or self._sum < SHORTEST):
            return
        mean = self._sum / self._count
        self._seconds[self.threads] = mean
        limit = GAIN if self.threads > self._usual else 1.0
        if mean < limit * usual:
            self._upward = self.threads > self._usual  # on in this direction
            self._usual, self._gap = self.threads, FIRST_GAP
            self._count, self._sum = 0, 0.0
        else:
            self._lost += max(lost, 0.0)
            self._gap = min(2 * self._gap, LONGEST_GAP)
            self._switch(self._usual)

    def _switch(self, number: int) -> None:
        self._settling = SETTLING if number < self.threads else 0.0
        self.threads = number
        self._count, self._sum = 0, 0.0
