"""The cost of a training step without a clock: operations requested of a CUDA device, counted.

The emulated device (tests/cuda_on_cpu) counts kernels, calls of cuBLAS, copies, waits, and every
call of the host. The numbers are exact and the same on every machine; they do not
include the time of each on a GPU. They do not depend on the width of layers, so narrow layers run.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

import bp_arrays as bp
from benchmarks.ours import network
from benchmarks.workloads import CPU, GPU, Workload

WAYS = ("captured", "eager")
DATA = ("on the device", "on the host")
WINDOW = 32
"""Steps between two looks at their losses."""

NARROW = {"units": 32, "rows": 16}
NETWORKS = tuple({workload.layers: workload for workload in (*CPU, *GPU)}.values())

WITHOUT_KERNEL = {
    "empty", "empty_like", "empty_strided", "as_strided", "view", "_unsafe_view", "t", "transpose",
    "permute", "expand", "detach", "detach_", "slice", "select", "squeeze", "unsqueeze", "reshape",
    "resize_", "resolve_conj", "resolve_neg", "lift_fresh", "result_type", "is_nonzero",
    "accumulate_grad",
}  # fmt: skip
"""PyTorch's operations that compute nothing: views, and memory for results."""

MADE_OF_OTHERS = {
    "linear", "matmul", "cross_entropy_loss", "log_softmax", "nll_loss", "nll_loss_nd", "ones_like",
    "zeros_like", "zeros", "zero_", "contiguous", "clone", "to", "_to_copy", "relu",
}  # fmt: skip
"""PyTorch's operations that only call others, which are counted instead."""


def missing() -> str:
    """Return why nothing can be counted here, or "" if it can."""
    if importlib.util.find_spec("cuda_on_cpu") is None:
        return "counts need the emulated CUDA device: sh tests/cuda_on_cpu/make_env.sh FOLDER"
    import cuda_on_cpu

    if not hasattr(cuda_on_cpu, "counts"):
        return "this emulated CUDA device does not count: make its environment again"
    return bp.device("cuda").availability().reason


def narrow(workload: Workload) -> Workload:
    """Return the network with narrow layers and small batches, for two windows of steps."""
    layers = tuple(min(units, NARROW["units"]) for units in workload.layers)
    return Workload(layers, min(workload.batch, NARROW["rows"]), 2 * WINDOW)


def counted_networks() -> Iterator[dict[str, Any]]:
    """Return the counts per step and per epoch by network, kind of run and location of the data."""
    for workload in NETWORKS:
        for way in WAYS:
            for data in DATA:
                counts = counted(narrow(workload), way, data)
                yield {"layers": list(workload.layers), "way": way, "data": data, **counts}


def counted(workload: Workload, way: str, data: str) -> dict[str, dict[str, int]]:
    """Return the counts of one step, of one check of `WINDOW` losses, and of one epoch."""
    one, two = (_epoch(workload, way, data, windows) for windows in (1, 2))
    costs: dict[str, dict[str, int]] = {"step": {}, "window": {}, "epoch": {}}
    for name in one:
        # Every step does the same work; a window adds less than one operation per step.
        step, window = divmod(two[name] - one[name], WINDOW)
        parts = {"step": step, "window": window, "epoch": one[name] - WINDOW * step - window}
        for part, number in parts.items():
            if number:
                costs[part][name] = number
    return costs


def _epoch(workload: Workload, way: str, data: str, windows: int) -> dict[str, int]:
    """Count a warm epoch of this many windows."""
    import cuda_on_cpu

    class Reads(bp.Callback):
        counts: Any = None
        difference: Any = None

        def on_epoch_end(self, run: Any) -> None:
            before, self.counts = self.counts, cuda_on_cpu.counts()
            if before is not None:
                self.difference = self.counts - before

    rows = workload.batch * WINDOW * windows
    device = bp.device("cuda")
    model = bp.Model(network(workload.layers), workload.layers[0], device=device, seed=0)
    x = workload.x[:rows]
    reads = Reads()
    with nullified("nvmath") if way == "eager" else nullified():
        history = bp.fit(
            model, device.asarray(x) if data == "on the device" else x, workload.t[:rows],
            loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-3), batch_size=workload.batch, epochs=4,
            callbacks=[reads],
        )  # fmt: skip
    if history.compiled_by != ("CUDA graph" if way == "captured" else ""):
        raise RuntimeError(f"{way}: {history.compiled_by!r}, {history.not_compiled}")
    return asdict(reads.difference)


@contextmanager
def nullified(*modules: str) -> Iterator[None]:
    """Make these modules appear not to be installed inside the context."""
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    try:
        sys.modules.update(dict.fromkeys(modules, None))  # type: ignore[arg-type]
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(before)


def counted_by_torch() -> Iterator[dict[str, Any]]:
    """Count the computing operations of PyTorch's step, in a trace on the CPU; needs no GPU."""
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.peers import torch_eager

    for workload in NETWORKS:
        few = narrow(workload)
        epoch, order = torch_eager(few), np.arange(few.batch * few.steps)
        epoch(order)
        totals = []
        for steps in (few.steps // 2, few.steps):
            with profile(activities=[ProfilerActivity.CPU]) as trace:
                epoch(order[: few.batch * steps])
            roots = [event for event in trace.events() if event.cpu_parent is None]
            totals.append(sum(map(_operations, roots)))
        step = (totals[1] - totals[0]) / (few.steps - few.steps // 2)
        yield {"layers": list(workload.layers), "operations": round(step)}


def _operations(event: Any) -> int:
    """Return the number of computing operations within this one."""
    library, _, name = event.name.partition("::")
    if library == "aten" and name in WITHOUT_KERNEL:
        return 0
    if library != "aten" or name in MADE_OF_OTHERS:
        return sum(map(_operations, event.cpu_children))
    return 1
