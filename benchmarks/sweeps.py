"""How the time of a step grows with width, depth and batch size.

Each sweep is one straight line, time = fixed + slope · work, fitted by relative least squares:
the fixed cost of a step, and its deviation from proportional growth.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.contestants import FLOOR, OURS
from benchmarks.ours import matmuls, ours
from benchmarks.workloads import HostArray, Workload, shuffled

BARE = "array calls alone"
ROUNDS, EPOCH_SECONDS = 7, 0.15
DEEP = tuple((16,) * n + (10,) for n in (2, 4, 8, 16, 32))


@dataclass(frozen=True)
class Kind:
    """A way to make a network larger: the networks, and the measure of their work."""

    name: str
    unit: str
    layers: tuple[tuple[int, ...], ...]
    batches: tuple[int, ...]
    contestants: tuple[str, ...]

    def workloads(self) -> list[Workload]:
        return [Workload(n, b, 0) for n in self.layers for b in self.batches]

    def work(self, workload: Workload) -> float:
        """Return the quantity that the cost should be proportional to."""
        return len(workload.layers) - 1 if self.unit == "layer" else workload.operations / 1e6


SWEEPS = (
    Kind(
        "width",
        "million operations",
        tuple((n, n, n, 10) for n in (64, 128, 256, 512, 1024, 2048)),
        (128,),
        (OURS, FLOOR),
    ),
    Kind(
        "batch",
        "million operations",
        ((784, 256, 256, 10),),
        (16, 32, 64, 128, 256, 512, 1024, 2048),
        (OURS, FLOOR),
    ),
    Kind("depth", "layer", tuple((16,) * n + (10,) for n in (2, 4, 8, 16, 32)), (1,), (OURS, BARE)),
)


@dataclass
class Sweep:
    """The measured points of a sweep and the fitted line, for each library."""

    name: str
    unit: str
    work: list[float] = field(default_factory=list)
    microseconds: dict[str, list[float]] = field(default_factory=dict)
    fixed: dict[str, float] = field(default_factory=dict)
    slope: dict[str, float] = field(default_factory=dict)
    farthest: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}:"]
        for name, times in self.microseconds.items():
            points = ", ".join(f"{w:g}: {t:.1f}" for w, t in zip(self.work, times, strict=True))
            lines.append(
                f"  {name:<18} {self.fixed[name]:.1f} µs + {self.slope[name]:.3g} µs per "
                f"{self.unit}, points within {self.farthest[name]:.0%}   ({points})"
            )
        return "\n".join(lines)


def measure_sweep(kind: Kind, device: str) -> Sweep:
    """Measure all networks of a sweep, interleaving the libraries."""
    found = Sweep(kind.name, kind.unit)
    makers: dict[str, Callable[[Workload, str], Any]] = {
        OURS: ours, FLOOR: matmuls, BARE: array_calls,
    }  # fmt: skip
    for workload in kind.workloads():
        workload = _long_enough(workload)
        found.work.append(kind.work(workload))
        contestants = {name: makers[name](workload, device) for name in kind.contestants}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(2 + ROUNDS):
            order = shuffled(workload, number)
            for name, epoch in contestants.items():
                started = time.perf_counter()
                epoch(order)
                times[name].append((time.perf_counter() - started) / workload.steps * 1e6)
        for name, all_times in times.items():
            found.microseconds.setdefault(name, []).append(statistics.median(all_times[2:]))
    for name, measured in found.microseconds.items():
        fixed, slope = line_through(found.work, measured)
        found.fixed[name], found.slope[name] = fixed, slope
        found.farthest[name] = max(
            abs(fixed + slope * w - t) / t for w, t in zip(found.work, measured, strict=True)
        )
    return found


def line_through(work: list[float], times: list[float]) -> tuple[float, float]:
    """Return (fixed, slope) by least squares of the relative errors, both >= 0."""
    w, t = np.asarray(work), np.asarray(times)
    design = np.stack([1.0 / t, w / t], axis=1)
    (fixed, slope), *_ = np.linalg.lstsq(design, np.ones_like(t), rcond=None)
    if fixed < 0.0:
        fixed, slope = 0.0, float((w / t).sum() / ((w / t) ** 2).sum())
    return float(fixed), float(slope)


def array_calls(workload: Workload, device: str) -> Callable[[HostArray], float]:
    """The array operations of forward and backward, written out one after another."""
    import bp_arrays as bp

    place = bp.device(device)
    xp = place.xp
    if place.is_writable:
        from bp_arrays.execution import lean as xp
    weights = [(place.asarray(w), place.asarray(b)) for w, b in workload.weights]
    x = place.asarray(workload.x[: workload.batch])
    delta = place.asarray(np.ones((workload.batch, workload.layers[-1]), np.float32))

    def step() -> None:
        inputs, sums, h = [], [], x
        for w, b in weights:
            inputs.append(h)
            a = h @ w + b
            sums.append(a)
            h = xp.maximum(a, 0.0)
        d = delta
        for k in range(len(weights) - 1, -1, -1):
            inputs[k].T @ d
            xp.sum(d, axis=0)
            if k:
                d = xp.where(sums[k - 1] > 0.0, d @ weights[k][0].T, 0.0)

    def epoch(order: HostArray) -> float:
        with place.activate():
            for _ in range(workload.steps):
                step()
        place.synchronize()
        return float("nan")

    return epoch


def _long_enough(workload: Workload) -> Workload:
    """Return the network with a number of steps suited to 20 GFLOP/s, at most 1000."""
    seconds = workload.operations / 2e10 + 3e-5 * len(workload.layers)
    steps = max(3, min(1000, int(EPOCH_SECONDS / seconds)))
    return Workload(workload.layers, workload.batch, steps)
