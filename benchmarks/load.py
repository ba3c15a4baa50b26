"""Training beside busy processes: this library against the peers, and against one BLAS thread."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from threadpoolctl import ThreadpoolController

from benchmarks.contestants import OURS, unavailable
from benchmarks.measuring import measure
from benchmarks.ours import ours
from benchmarks.peers import jax_jit, torch_eager
from benchmarks.workloads import CPU, Epoch, HostArray, Workload
from bp_arrays.training.runners._reuse import recordings

BUSY = (0, 1, 2, 4)
"""Numbers of busy processes."""

STEPS = (1000, 2000, 100, 40, 2)
"""Of one turn, for each net: a turn must outlast the time slices of the processes."""

COMPUTE = """
import os
parent = os.getppid()
while os.getppid() == parent:  # ends with the benchmark, however that ends
    for _ in range(10**6):
        pass
"""

ONE_THREAD = "bp_arrays, one thread"

PEERS: dict[str, Callable[[Workload], Epoch]] = {"PyTorch": torch_eager, "jax.jit": jax_jit}


def one_thread(workload: Workload) -> Epoch:
    """This library while BLAS is limited to one thread, so that there is nothing to choose."""
    train = ours(workload)

    def epoch(order: HostArray) -> float:
        with one_blas_thread():
            return train(order)

    epoch.end = train.end  # type: ignore[attr-defined]
    return epoch


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, whichever thread of the program sets its number.

    threadpoolctl's own limits are ignored while another thread, here that of the other training
    run, has set the number.
    """
    controls = ThreadpoolController().select(user_api="blas").lib_controllers
    setters = [getattr(c, "_real_set_num_threads", c.set_num_threads) for c in controls]
    before = [control.get_num_threads() for control in controls]
    try:
        for set_number in setters:
            set_number(1)
        assert all(control.get_num_threads() == 1 for control in controls)
        yield
    finally:
        for set_number, number in zip(setters, before, strict=True):
            set_number(number)


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep so many processes computing."""
    command = [sys.executable, "-c", COMPUTE]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def wait_for_loops() -> None:
    """Wait until the loops of all recorded steps are compiled, as the peers' compilers have ended.

    A second thread compiles; beside busy processes that would outlast the measurement.
    """
    for recording in recordings.values():
        recording.fused.wait()


@dataclass
class Load:
    """One net beside one number of busy processes.

    Parameters
    ----------
    name : str
    busy : int
    microseconds : dict of float
        Per step, the median of each contestant.
    ratio : dict of float
        The median of this library's time divided by each other's.
    cores : dict of float
        How many cores each contestant had, of those that all processes want: its processor time
        divided by its time.
    """

    name: str
    busy: int
    microseconds: dict[str, float]
    ratio: dict[str, float]
    cores: dict[str, float]

    def entry(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def measure_load(rounds: int, only: str) -> Iterator[Load]:
    """Measure each net whose name contains a word, libraries in turns, with each load."""
    peers = {name: make for name, make in PEERS.items() if not unavailable(name, "cpu")}
    for workload, steps in zip(CPU, STEPS, strict=True):
        if only not in workload.name:
            continue
        turn = replace(workload, steps=steps)
        makers: dict[str, Callable[[Workload], Epoch]] = {OURS: ours, ONE_THREAD: one_thread}
        contestants = {name: make(turn) for name, make in (makers | peers).items()}
        measure(turn, contestants, rounds=1, warm=0)
        wait_for_loops()
        for busy in BUSY:
            with busy_processes(busy):
                result = measure(turn, contestants, rounds=rounds, warm=1)
            yield Load(
                turn.name,
                busy,
                {name: round(result.median(name), 1) for name in contestants},
                {name: result.ratio(OURS, name) for name in contestants if name != OURS},
                {name: round(statistics.median(result.cores[name]), 2) for name in contestants},
            )
        for name in makers:
            contestants[name].end()  # type: ignore[attr-defined]


def load_table(rows: list[Load]) -> str:
    """Return the table of README.md."""
    names = [name for name in rows[0].ratio if name != ONE_THREAD] if rows else []
    lines = [
        "| net, batch | busy processes | per step | / one thread | / "
        + " | / ".join(names)
        + f" | / best peer | cores of {OURS} | of "
        + " | of ".join(names)
        + " |",
        "| --- |" + " --- |" * (5 + 2 * len(names)),
    ]
    for row in rows:
        ratios = [row.ratio[name] for name in names]
        cells = [row.name, str(row.busy), f"{row.microseconds[OURS]:.0f} µs"]
        cells += [f"{row.ratio[ONE_THREAD]:.2f}", *(f"{r:.2f}" for r in ratios)]
        cells.append(f"**{max(ratios, default=float('nan')):.2f}**")
        cells += [f"{row.cores[name]:.2f}" for name in (OURS, *names)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def worst(rows: list[Load]) -> str:
    """Return the largest ratios of all rows, in one line."""
    alone = max(row.ratio[ONE_THREAD] for row in rows)
    peers = [r for row in rows for name, r in row.ratio.items() if name != ONE_THREAD]
    median = statistics.median(row.ratio[ONE_THREAD] for row in rows)
    best = f", the best peer {max(peers):.2f}" if peers else ""
    return f"at most: one thread {alone:.2f} (median {median:.2f}){best}"
