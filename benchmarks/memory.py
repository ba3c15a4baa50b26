"""Memory used by training, measured in a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.workloads import Workload

PROGRAM = """
import json, resource, sys
import numpy as np
import bp_arrays as bp

layers, batch, rows = json.loads(sys.argv[1])
x = np.ones((rows, layers[0]), np.float32)
t = np.zeros(rows, np.int64)
hidden = [part for n in layers[1:-1] for part in (bp.Linear(n), bp.ReLU())]
model = bp.Model(bp.Sequential(*hidden, bp.Linear(layers[-1])), layers[0], device="cpu")

# Building the model has a peak of its own, which hides later growth: measure from the memory in
# use while the model exists.
def in_use():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

import threading, time
peak, done = 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, in_use())
        time.sleep(0.0005)

before = in_use() - 4 * model.parameter_count
watcher = threading.Thread(target=watch)
watcher.start()
bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-3), batch_size=batch, epochs=2)
done = True
watcher.join()
print(peak - before)
"""


@dataclass(frozen=True)
class MemoryUse:
    """The peak of training in bytes, and the expected size.

    The expectation is four vectors of the length of the parameters (weights, gradients, two
    moments), the activations, and two batches."""

    name: str
    parameters: int
    peak: int
    needed: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.peak / 1e6:.1f} MB at the peak of training, "
            f"{self.peak / (4 * self.parameters):.2f} times the parameters; "
            f"four times, activations and two batches are {self.needed / 1e6:.1f} MB"
        )


def measure_memory(workload: Workload) -> MemoryUse:
    """Measure the peak resident memory while `fit` runs, above the use without the model."""
    rows = 4 * workload.batch
    arguments = json.dumps([workload.layers, workload.batch, rows])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments], capture_output=True, text=True, check=True
    )
    activations = 3 * sum(workload.layers[1:]) * workload.batch
    batches = 2 * workload.layers[0] * workload.batch
    needed = 4 * (4 * workload.parameters + activations + batches)
    return MemoryUse(workload.name, workload.parameters, int(done.stdout), needed)
