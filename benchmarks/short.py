"""Repeated short training runs: one call of `fit` for every epoch, against the peers' loops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import bp_arrays as bp
from benchmarks.contestants import OURS, unavailable
from benchmarks.measuring import disagreement, measure
from benchmarks.ours import network, short_fits
from benchmarks.peers import jax_jit, scikit_learn, torch_eager
from benchmarks.workloads import CPU, Epoch, Workload

STEPS = (1000, 2000, 100, 30, 2)
"""Of one call, for each net: about a tenth of a second on two cores."""

PEERS: dict[str, Callable[[Workload], Epoch]] = {
    "PyTorch": torch_eager,
    "jax.jit": jax_jit,
    "scikit-learn": scikit_learn,
}


@dataclass
class Short:
    """The time of short training runs of one net, per step.

    Parameters
    ----------
    name : str
    first, second, later : float
        Microseconds of the first call, of the second, and the median of the others.
    long : float
        Microseconds in one long call.
    ratio : dict of float
        The median of the time of a later call divided by that of each peer.
    apart : dict of float
        How far the losses are from each peer's.
    """

    name: str
    first: float
    second: float
    later: float
    long: float
    ratio: dict[str, float]
    apart: dict[str, float]

    def entry(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def measure_short(rounds: int, only: str) -> Iterator[Short]:
    """Measure each net whose name contains a word, libraries in turns."""
    peers = {name: make for name, make in PEERS.items() if not unavailable(name, "cpu")}
    for workload, steps in zip(CPU, STEPS, strict=True):
        if only not in workload.name:
            continue
        short = replace(workload, steps=steps)
        contestants = {OURS: short_fits(short)}
        contestants |= {name: make(short) for name, make in peers.items()}
        result = measure(short, contestants, rounds=rounds + 2, warm=0)
        first, second, *later = result.times[OURS]
        ratio = {
            name: statistics.median(
                a / b for a, b in zip(later, result.times[name][2:], strict=True)
            )
            for name in peers
        }
        apart = {name: disagreement(result, name, OURS) for name in peers}
        yield Short(
            short.name, first, second, statistics.median(later), _long(short, 4), ratio, apart
        )


def _long(workload: Workload, epochs: int) -> float:
    """Return the microseconds per step of one call, without its first epoch."""
    model = bp.Model(network(workload.layers), workload.layers[0], device="cpu", seed=0)
    ends: list[float] = []

    class Clock(bp.Callback):
        def on_epoch_end(self, run: Any) -> None:
            ends.append(time.perf_counter())

    bp.fit(
        model, workload.x, workload.t, loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-4),
        batch_size=workload.batch, epochs=epochs + 1, callbacks=[Clock()],
    )  # fmt: skip
    return float(np.median(np.diff(ends))) / workload.steps * 1e6


def short_table(rows: list[Short]) -> str:
    """Return the table of README.md."""
    peers = list(rows[0].ratio) if rows else []
    lines = [
        "| net, batch | first call | second | later | one long call | later / "
        + " | later / ".join(peers)
        + " | / best peer |",
        "| --- |" + " --- |" * (5 + len(peers)),
    ]
    for row in rows:
        ratios = list(row.ratio.values())
        times = (row.first, row.second, row.later, row.long)
        cells = [row.name, *(f"{t:.0f} µs" for t in times), *(f"{r:.2f}" for r in ratios)]
        cells.append(f"**{max(ratios, default=float('nan')):.2f}**")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
