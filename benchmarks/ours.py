"""This library, and the matrix products alone as a lower bound."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any

import numpy as np

import bp_arrays as bp
from benchmarks.workloads import EPSILON, LEARNING_RATE, Epoch, HostArray, Workload


class Ended(Exception):
    """Ends the training run of `ours`."""


def ours(workload: Workload, device: str = "cpu", *, plain: bool = False) -> Epoch:
    """One long `bp.fit`, advanced by one epoch per turn.

    `fit` runs in a separate thread and requests the order of the rows of each epoch; between two
    turns it waits for that order. `epoch.end()` ends the thread, which BLAS may obey alone.
    """
    place = bp.device(device)
    model = _model(workload, place)
    optimizer = bp.Adam(LEARNING_RATE, epsilon=EPSILON)
    if place.is_writable:
        _compile_update(optimizer)
    x = workload.x if place.backend == "numpy" else place.asarray(workload.x)
    orders: SimpleQueue[HostArray | None] = SimpleQueue()
    losses: SimpleQueue[float | BaseException] = SimpleQueue()

    begun = threading.Event()

    class Report(bp.Callback):
        def on_start(self, run: Any) -> None:
            begun.set()

        def on_epoch_end(self, run: Any) -> None:
            losses.put(run.history["loss"][-1])

    def next_order(epoch: int) -> HostArray:
        order = orders.get()
        if order is None:
            raise Ended
        return order

    def train() -> None:
        try:
            bp.fit(
                model, x, workload.t, loss=bp.CrossEntropy(), optimizer=optimizer,
                batch_size=workload.batch, epochs=10**9, shuffle=next_order,
                callbacks=[Report()], compiled=not plain,
            )  # fmt: skip
        except Ended:
            pass
        except BaseException as error:  # told to the main thread, which raises it
            losses.put(error)
            begun.set()

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    begun.wait()

    def epoch(order: HostArray) -> float:
        orders.put(order)
        loss = losses.get()
        if isinstance(loss, BaseException):
            raise loss
        return loss

    def end() -> None:
        orders.put(None)
        thread.join()

    epoch.end = end  # type: ignore[attr-defined]
    return epoch


def short_fits(workload: Workload) -> Epoch:
    """One call of `bp.fit` for every epoch, as in a loop that decides after each."""
    model, optimizer = _model(workload, bp.device("cpu")), bp.Adam(LEARNING_RATE, epsilon=EPSILON)

    def epoch(order: HostArray) -> float:
        history = bp.fit(
            model, workload.x, workload.t, loss=bp.CrossEntropy(), optimizer=optimizer,
            batch_size=workload.batch, shuffle=lambda number: order,
        )  # fmt: skip
        return history["loss"][-1]

    return epoch


def _model(workload: Workload, place: bp.Device) -> bp.Model:
    model = bp.Model(network(workload.layers), workload.layers[0], device=place, seed=0)
    values = {}
    for k, (w, b) in enumerate(workload.weights):
        values |= {f"{2 * k}.weight": w, f"{2 * k}.bias": b}
    model.set_parameters(values)
    return model


def network(layers: tuple[int, ...]) -> bp.Layer:
    """Return Linear layers with ReLU between them."""
    parts: list[bp.Layer] = []
    for units in layers[1:-1]:
        parts += [bp.Linear(units), bp.ReLU()]
    return bp.Sequential(*parts, bp.Linear(layers[-1]))


def _compile_update(optimizer: Any) -> None:
    """Load Numba's loop at the start; a long training run has it after its first second."""
    from bp_arrays.execution import InPlaceUpdate, fast_numpy

    InPlaceUpdate(optimizer.update, 2, 3, True, "float32", fast_numpy).wait_for_compiler()


def matmuls(workload: Workload, device: str = "cpu") -> Epoch:
    """Only the matrix products of the steps: a lower bound for every implementation."""
    place = bp.device(device)
    xp: Any = np
    if place.backend == "cupy":
        import cupy as xp
    with place.activate():
        weights = [xp.asarray(w) for w, _ in workload.weights]
        deltas = [xp.ones((workload.batch, n), np.float32) for n in workload.layers[1:]]
        inputs = [xp.asarray(workload.x[: workload.batch]), *deltas[:-1]]
        forward = [xp.empty_like(d) for d in deltas]
        gradients = [xp.empty_like(w) for w in weights]

    def epoch(order: HostArray) -> float:
        with place.activate():
            for _ in range(workload.steps):
                for x, w, a in zip(inputs, weights, forward, strict=True):
                    xp.matmul(x, w, out=a)
                for k in range(len(weights) - 1, -1, -1):
                    xp.matmul(inputs[k].T, deltas[k], out=gradients[k])
                    if k:
                        xp.matmul(deltas[k], weights[k].T, out=forward[k - 1])
        place.synchronize()
        return float("nan")

    return epoch
