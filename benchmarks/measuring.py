"""Interleaved measurement: in every round, each library trains an epoch, in one process."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from benchmarks.workloads import Epoch, Workload, shuffled


@dataclass
class Result:
    """Microseconds per step of each library in each round, and the losses of its epochs.

    `cores` is how many cores it had in each round: processor time divided by time.
    """

    workload: Workload
    times: dict[str, list[float]] = field(default_factory=dict)
    cores: dict[str, list[float]] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Return the median time per step, in microseconds."""
        return statistics.median(self.times[name])

    def ratio(self, name: str, to: str) -> float:
        """Return the median over the rounds of the ratio of two libraries' times."""
        pairs = zip(self.times[name], self.times[to], strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure(workload: Workload, contestants: dict[str, Epoch], *, rounds: int, warm: int) -> Result:
    """Measure `rounds` epochs of each library, after `warm` epochs that are not counted."""
    result = Result(workload)
    for name in contestants:
        result.times[name], result.cores[name], result.losses[name] = [], [], []
    for number in range(warm + rounds):
        order = shuffled(workload, number)
        for name, epoch in contestants.items():
            started, computed = time.perf_counter(), time.process_time()
            loss = epoch(order)
            seconds = time.perf_counter() - started
            cores = (time.process_time() - computed) / seconds
            result.losses[name].append(loss)
            if number >= warm:
                result.times[name].append(seconds / workload.steps * 1e6)
                result.cores[name].append(cores)
    return result


def disagreement(result: Result, name: str, reference: str) -> float:
    """Return the largest relative difference of the first epochs' losses.

    It is only rounding if the libraries do the same work."""
    pairs = zip(result.losses[name][:3], result.losses[reference][:3], strict=True)
    return max(abs(a - b) / abs(b) for a, b in pairs)
