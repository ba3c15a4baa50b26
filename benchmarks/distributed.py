"""Two processes: what sharing a batch adds to a step, against PyTorch's DDP over gloo.

Started by `python -m benchmarks distributed`, which runs this file under mpiexec. In each process,
epochs of four contestants take turns: this library and PyTorch, each alone on its half of the batch
and together with the other process. A step is one of `fit`, and the loop that one would write for
PyTorch; both on one thread per process, with Adam.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import bp_arrays as bp

NETS = {"64-128-64-10": ((64, 128, 64, 10), 64), "784-512-512-10": ((784, 512, 512, 10), 64)}
"""The sizes of the layers, and the rows of the whole batch."""
STEPS = 60
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL")}


def start(rounds: int) -> list[dict[str, Any]]:
    """Run this file in two processes; return the times of each net."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [str(mpiexec) if mpiexec.exists() else "mpiexec", "-n", "2", sys.executable]
    done = subprocess.run(
        [*command, "-m", "benchmarks.distributed", str(rounds), str(port)],
        env={**os.environ, **THREADS}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"mpiexec failed: {done.stderr[-2000:]}")
    results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Return the lines of the results."""
    lines = []
    for entry in results:
        lines.append(f"{entry['net']} ({entry['parameters']:,} parameters, {entry['rows']} rows)")
        for name, times in entry["microseconds"].items():
            lines.append(
                f"  {name:<10} alone {times['alone']:8.1f} µs, together {times['together']:8.1f} "
                f"µs per step, difference {times['together'] - times['alone']:8.1f} µs"
            )
        lines.append(
            f"  all-reduce alone {entry['all_reduce']:8.1f} µs; ratio of steps together "
            f"{entry['ratio']:.2f}, of differences {entry['difference_ratio']:.2f}; losses "
            f"{entry['losses_apart']:.0e} apart"
        )
    return "\n".join(lines)


def work(rounds: int, port: int) -> None:
    """Measure in one of the processes; the first one prints the results as JSON."""
    import torch
    import torch.distributed as dist

    group = bp.MPI(timeout=120.0)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=group.rank, world_size=group.size
    )
    results = [measured(net, rounds, group) for net in NETS]
    if group.rank == 0:
        print(json.dumps(results), flush=True)
    dist.destroy_process_group()


def measured(net: str, rounds: int, group: bp.MPI) -> dict[str, Any]:
    """Return the medians of one net, of the slower process in each round."""
    sizes, rows = NETS[net]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows * STEPS, sizes[0])).astype(np.float32)
    t = rng.integers(0, sizes[-1], rows * STEPS)
    half = slice(len(x) // 2 * group.rank, len(x) // 2 * (group.rank + 1))
    contestants = {
        ("bp_arrays", "alone"): ours(sizes, x[half], t[half], rows // 2, None),
        ("bp_arrays", "together"): ours(sizes, x, t, rows, group),
        ("torch DDP", "alone"): theirs(sizes, x[half], t[half], rows // 2, slice(None), False),
        ("torch DDP", "together"): theirs(sizes, x, t, rows, share(rows, group), True),
    }
    times: dict[Any, list[float]] = {name: [] for name in contestants}
    losses = {}
    for turn in range(rounds + 2):
        for name, epoch in contestants.items():
            group.gather(None)  # both start together
            started = time.perf_counter()
            losses[name] = epoch()
            seconds = max(group.gather(time.perf_counter() - started))
            if turn > 1:
                times[name].append(seconds / STEPS * 1e6)
    microseconds: dict[str, dict[str, float]] = {}
    for (name, kind), values in times.items():
        microseconds.setdefault(name, {})[kind] = round(median(values), 1)
    ours_, theirs_ = microseconds["bp_arrays"], microseconds["torch DDP"]
    parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    apart = abs(losses["bp_arrays", "together"] - losses["torch DDP", "together"])
    return {
        "net": net, "parameters": parameters, "rows": rows, "microseconds": microseconds,
        "all_reduce": all_reduce(parameters, group),
        "ratio": round(ours_["together"] / theirs_["together"], 3),
        "difference_ratio": round(
            (ours_["together"] - ours_["alone"]) / (theirs_["together"] - theirs_["alone"]), 3
        ),
        "losses_apart": apart,
    }  # fmt: skip


def share(rows: int, group: bp.MPI) -> slice:
    return slice(rows * group.rank // group.size, rows * (group.rank + 1) // group.size)


def ours(sizes: Any, x: Any, t: Any, rows: int, group: Any) -> Any:
    """Return a function that trains one epoch, by the loop of `fit`; it returns the loss."""
    layers: list[Any] = [bp.Linear(sizes[1])]
    for size in sizes[2:]:
        layers += [bp.ReLU(), bp.Linear(size)]
    model = bp.Model(bp.Sequential(*layers), sizes[0], device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(1e-3), "shuffle": False}
    inner = EpochByEpoch(lambda callback: bp.fit(
        model, x, t, batch_size=rows, epochs=10**6, callbacks=[callback], distributed=group,
        **options,
    ))  # fmt: skip
    return inner.epoch


class EpochByEpoch(bp.Callback):
    """A training run in a second thread, which trains one epoch whenever `epoch` is called."""

    def __init__(self, train: Any) -> None:
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.loss = 0.0
        threading.Thread(target=lambda: train(self), daemon=True).start()
        self.wait()  # until it has checked its data: only one thread may use the group

    def on_start(self, run: Any) -> None:
        self.done.release()
        self.go.acquire()

    def on_epoch_end(self, run: Any) -> None:
        self.loss = run.history["loss"][-1]
        self.done.release()
        self.go.acquire()

    def epoch(self) -> float:
        self.go.release()
        self.wait()
        return self.loss

    def wait(self) -> None:
        if not self.done.acquire(timeout=120.0):
            raise SystemExit("the training run in the second thread has stopped")


def theirs(sizes: Any, x: Any, t: Any, rows: int, part: slice, together: bool) -> Any:
    """Return a function that trains one epoch with PyTorch; it returns the loss."""
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    layers: list[Any] = [bp.Linear(sizes[1])]
    for size in sizes[2:]:
        layers += [bp.ReLU(), bp.Linear(size)]
    start = bp.Model(bp.Sequential(*layers), sizes[0], device="cpu", seed=0)
    model: Any = start.to_torch()
    if together:
        model = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss_of = nn.CrossEntropyLoss()
    x, t = torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(t))

    def epoch() -> float:
        total = 0.0
        for first in range(0, len(x), rows):
            optimizer.zero_grad()
            loss = loss_of(model(x[first : first + rows][part]), t[first : first + rows][part])
            loss.backward()
            optimizer.step()
            total += loss.item()
        value = torch.tensor([total / STEPS])
        if together:
            torch.distributed.all_reduce(value)
            value /= torch.distributed.get_world_size()
        return value.item()

    return epoch


def all_reduce(size: int, group: bp.MPI) -> float:
    """Return the median time of the sum of a vector alone, in microseconds."""
    sent, received = np.ones(size, np.float32), np.empty(size, np.float32)
    times = []
    for _ in range(200):
        started = time.perf_counter()
        group.sum_into(sent, received)
        times.append(time.perf_counter() - started)
    return round(median(times) * 1e6, 1)


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]))
