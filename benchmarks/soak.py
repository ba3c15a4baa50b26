"""Long and large: does a process that trains for hours keep its memory and its speed?

`soak` repeats training, prediction, saving and loading, and reports resident memory and the time
per step with their slopes. `stream` trains on samples that are generated as they are read.
`measure_large` measures the peak memory of a large net against what its parameters need.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bp_arrays as bp
from bp_arrays.typing import HostArray

Batch = tuple[HostArray, HostArray]
FEATURES, HIDDEN, CLASSES, ROWS = 20, 64, 5, 64
MIB = 2**20


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize()


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the least-squares line."""
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 0.0


@dataclass(frozen=True)
class Soak:
    """The rounds of a soak: seconds since its start, resident bytes, seconds per step."""

    at: list[float]
    memory: list[float]
    step: list[float]

    @property
    def _half(self) -> int:
        """The first half warms up: caches, the allocator's pools."""
        return len(self.at) // 2

    @property
    def bytes_per_hour(self) -> float:
        """The slope of the resident memory over the second half."""
        return 3600 * slope(self.at[self._half :], self.memory[self._half :])

    @property
    def growth(self) -> float:
        """The memory of the last tenth less that at half time, in bytes."""
        tenth = max(len(self.at) // 10, 1)
        half = self.memory[self._half : self._half + tenth]
        return float(np.median(self.memory[-tenth:]) - np.median(half))

    @property
    def slowdown_per_hour(self) -> float:
        """The slope of the time per step, relative to its median."""
        seconds = slope(self.at[self._half :], self.step[self._half :])
        return 3600 * seconds / float(np.median(self.step))

    def __str__(self) -> str:
        memory = [f"{value / MIB:.1f}" for value in self.memory]
        return (
            f"{len(self.at)} rounds in {self.at[-1]:.0f} s: resident memory {memory[0]} MiB in "
            f"round 1, {memory[self._half]} at half time, {memory[-1]} in the last; slope of the "
            f"second half {self.bytes_per_hour / MIB:+.2f} MiB per hour; step "
            f"{1e6 * np.median(self.step):.1f} µs (median), slope "
            f"{100 * self.slowdown_per_hour:+.1f} % per hour"
        )


def soak(minutes: float, device: str = "cpu") -> Soak:
    """Train, predict, save and load until the time is over; one line per minute."""
    result = Soak([], [], [])
    x = np.random.default_rng(0).normal(size=(40 * ROWS, FEATURES)).astype("float32")
    t = np.argmax(x[:, :CLASSES], axis=1)
    started = said = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model = new_model(device)
        optimizer = bp.Adam(1e-3)
        while (now := time.perf_counter()) - started < 60 * minutes or len(result.at) < 4:
            before = time.perf_counter()
            bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=optimizer, batch_size=ROWS)
            seconds = (time.perf_counter() - before) / (len(x) // ROWS)
            model.predict(x)
            model.save(path, training_state=True)
            model = bp.load(path, device=device)
            optimizer = model.training_state.optimizer
            gc.collect()
            result.at.append(time.perf_counter() - started)
            result.memory.append(resident())
            result.step.append(seconds)
            if now - said > 60:
                said = now
                print(f"  {result}", flush=True)
    return result


def new_model(device: str = "cpu") -> bp.Model:
    net = bp.Sequential(bp.Linear(HIDDEN), bp.Tanh(), bp.Dropout(0.1), bp.Linear(CLASSES))
    return bp.Model(net, FEATURES, device=device, seed=0)


@dataclass(frozen=True)
class Stream:
    """An iterable of `samples` in batches, generated as they are read."""

    samples: int
    rows: int = 1000

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng(0)
        for _ in range(self.samples // self.rows):
            x = rng.random((self.rows, FEATURES), dtype=np.float32)
            yield x, np.argmax(x[:, :CLASSES], axis=1)


def stream(samples: int) -> dict[str, float]:
    """Train on a stream; return the growth of memory over its second half, and the speed."""
    model, settings = new_model(), {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(1e-3)}
    batches = Stream(samples)
    half, memory = samples // batches.rows // 2, []

    class Watched:
        def __iter__(self) -> Iterator[Batch]:
            for number, batch in enumerate(batches):
                if number >= half and number % 10 == 0:
                    memory.append(resident())
                yield batch

    started = time.perf_counter()
    history = bp.fit(model, Watched(), **settings)
    seconds = time.perf_counter() - started
    return {
        "samples": samples,
        "growth_mib": round((max(memory) - memory[0]) / MIB, 2),
        "samples_per_second": round(samples / seconds),
        "loss": history["loss"][-1],
    }


def without_compiler(call: str) -> Any:
    """Return what a call of this module measures in a process without the extra `fast`.

    Its compiler takes some 100 MiB at a time that depends on the machine.
    """
    program = (
        "import json, sys; sys.modules['numba'] = None; from benchmarks import soak; "
        f"print(json.dumps(soak.{call}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


LARGE = """
import json, resource, sys, threading, time
sys.modules["numba"] = None  # its compiler takes some 40 MiB, once
import numpy as np, bp_arrays as bp
width, rows, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def built(width):
    net = bp.Sequential(bp.Linear(width), bp.Tanh(), bp.Linear(width), bp.Tanh(), bp.Linear(10))
    return bp.Model(net, 100, device="cpu", seed=0)
def fit(model, rows):
    x, t = np.ones((2 * rows, 100), "float32"), np.zeros(2 * rows, int)
    bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=getattr(bp, name)(1e-4), batch_size=rows)
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
def watch():
    global peak
    while watching:
        peak = max(peak, resident())
        time.sleep(0.001)
fit(built(8), 4)  # code, caches and libraries
before, peak, watching = resident(), 0, True
threading.Thread(target=watch, daemon=True).start()
model = built(width)
building, peak = peak - before, 0
fit(model, rows)
watching = False
print(json.dumps([model.parameter_count, building, peak - before]))
"""

VECTORS = {"SGD": 0, "RMSProp": 1, "Adam": 2}
"""Vectors of the state of each optimizer."""


@dataclass(frozen=True)
class Large:
    """Peak memory of building and of training a net, above that of a tiny one, in bytes.

    A model is built on the host, where each layer is drawn in float64 before it is rounded.
    """

    optimizer: str
    parameters: int
    building: int
    peak: int
    needed: int

    def __str__(self) -> str:
        vectors = 2 + VECTORS[self.optimizer]
        return (
            f"{self.optimizer}: {self.parameters:,} parameters, {self.building / MIB:.0f} MiB "
            f"while it is built, {self.peak / MIB:.0f} MiB while it trains; "
            f"{vectors} vectors (weights, gradients, state) and activations are "
            f"{self.needed / MIB:.0f} MiB: {self.peak / self.needed:.2f} times"
        )


def measure_large(parameters: int, optimizer: str = "Adam", rows: int = 64) -> Large:
    """Build and train a net of some number of parameters in a process of its own."""
    width = max(int((parameters + 3600) ** 0.5) - 56, 8)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(width), str(rows), optimizer],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, building, peak = json.loads(done.stdout)
    activations = 6 * rows * width + 2 * rows * 110
    return Large(
        optimizer, count, building, peak, 4 * ((2 + VECTORS[optimizer]) * count + activations)
    )


def trained_digest(seed: int) -> str:
    """Return a digest of the parameters after a short training run."""
    import hashlib

    x = np.random.default_rng(seed).normal(size=(256, FEATURES)).astype("float32")
    model = new_model()
    bp.fit(
        model, x, np.argmax(x[:, :CLASSES], axis=1), loss=bp.CrossEntropy(),
        optimizer=bp.Adam(1e-3), epochs=2, seed=seed,
    )  # fmt: skip
    return hashlib.sha256(np.asarray(model.vector).tobytes()).hexdigest()


def in_parallel(count: int = 4) -> dict[str, Any]:
    """Train alone, in threads, and in forked and spawned processes; return the digests of each."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

    seeds = range(count)
    digests: dict[str, Any] = {"alone": [trained_digest(seed) for seed in seeds]}
    with ThreadPoolExecutor(count) as pool:
        digests["threads"] = list(pool.map(trained_digest, seeds))
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(2, mp_context=context) as processes:
            digests[method] = list(processes.map(trained_digest, seeds))
    return digests


def report_large() -> bool:
    """Print the stream, the large nets, and whether parallel training gives the same bits."""
    print(f"stream: {without_compiler('stream(10_000_000)')}", flush=True)
    for optimizer in VECTORS:
        print(measure_large(50_000_000, optimizer), flush=True)
    digests = in_parallel()
    same = all(found == digests["alone"] for found in digests.values())
    print(f"{', '.join(digests)}: {'the same bits' if same else f'NOT the same: {digests}'}")
    return same
