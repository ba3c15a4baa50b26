"""Who trains: this library and its peers, each in the way its documentation recommends.

A contestant is made for a workload, and `epoch(order)` trains one epoch on the rows in that order
and returns the loss of its last batch. Gathering the batches is part of everyone's work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.workloads import LEARNING_RATE, HostArray, Workload

Epoch = Callable[[HostArray], float]


def batches(workload: Workload, order: HostArray) -> Iterator[tuple[HostArray, HostArray]]:
    """The rows of each step, gathered by NumPy."""
    for start in range(0, len(order), workload.batch):
        rows = order[start : start + workload.batch]
        yield workload.x[rows], workload.t[rows]


def ours(workload: Workload, device: str = "cpu") -> Epoch:
    """`bp.fit`, with the order of the rows taken from outside."""
    import bp_arrays as bp

    hidden: list[bp.Layer] = []
    for units in workload.layers[1:-1]:
        hidden += [bp.Linear(units), bp.ReLU()]
    net = bp.Sequential(*hidden, bp.Linear(workload.layers[-1]))
    model = bp.Model(net, workload.layers[0], device=device, seed=0)
    values = {}
    for k, (w, b) in enumerate(workload.weights):
        values |= {f"{2 * k}.weight": w, f"{2 * k}.bias": b}
    model.set_parameters(values)
    optimizer, loss = bp.Adam(LEARNING_RATE), bp.CrossEntropy()
    _compile_update(optimizer)

    def epoch(order: HostArray) -> float:
        with ordered(order):
            history = bp.fit(
                model, workload.x, workload.t, loss=loss, optimizer=optimizer,
                batch_size=workload.batch,
            )  # fmt: skip
        return history["loss"][-1]

    return epoch


def _compile_update(optimizer: Any) -> None:
    """Have Numba's loop from the start, as a long training has it after its first second."""
    from bp_arrays.execution import InPlaceUpdate, lean

    InPlaceUpdate(optimizer.update, 2, 3, True, "float32", lean).wait_for_compiler()


class ordered:
    """While entered, `fit` shuffles its rows into this order instead of one of its own."""

    def __init__(self, order: HostArray) -> None:
        self.order = order

    def __enter__(self) -> None:
        import sys

        self.module = sys.modules["bp_arrays.training.fit"]
        self.kept = self.module.host_generator  # type: ignore[attr-defined]
        self.module.host_generator = lambda *path: self  # type: ignore[attr-defined]

    def permutation(self, rows: int) -> HostArray:
        return self.order.copy()

    def __exit__(self, *of: Any) -> None:
        self.module.host_generator = self.kept  # type: ignore[attr-defined]


def matmuls(workload: Workload) -> Epoch:
    """The matrix products of the steps and nothing else: what no implementation can go below."""
    weights = [w for w, _ in workload.weights]
    sizes = workload.layers[1:]
    deltas = [np.ones((workload.batch, n), np.float32) for n in sizes]
    inputs = [workload.x[: workload.batch], *deltas[:-1]]
    forward = [np.empty_like(d) for d in deltas]
    gradients = [np.empty_like(w) for w in weights]

    def epoch(order: HostArray) -> float:
        for _ in range(workload.steps):
            for x, w, a in zip(inputs, weights, forward, strict=True):
                np.matmul(x, w, out=a)
            for k in range(len(weights) - 1, -1, -1):
                np.matmul(inputs[k].T, deltas[k], out=gradients[k])
                if k:
                    np.matmul(deltas[k], weights[k].T, out=forward[k - 1])
        return float("nan")

    return epoch


def torch_eager(workload: Workload, *, compiled: str = "", device: str = "cpu") -> Epoch:
    """PyTorch with its fused Adam; `compiled` is a mode of torch.compile."""
    import torch

    linears = []
    for w, b in workload.weights:
        linear = torch.nn.Linear(w.shape[0], w.shape[1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        linears += [linear, torch.nn.ReLU()]
    net = torch.nn.Sequential(*linears[:-1]).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    f = torch.nn.functional
    x, t = torch.from_numpy(workload.x).to(device), torch.from_numpy(workload.t).to(device)

    def forward(xb: Any, tb: Any) -> Any:
        return f.cross_entropy(net(xb), tb)

    loss_of = torch.compile(forward, mode=compiled) if compiled else forward

    def epoch(order: HostArray) -> float:
        rows = torch.from_numpy(order).to(device)
        total = torch.zeros((), device=device)
        for start in range(0, len(order), workload.batch):
            part = rows[start : start + workload.batch]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(x[part], t[part])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return float(total) / workload.steps

    return epoch


def torch_compile(workload: Workload) -> Epoch:
    """PyTorch with torch.compile in its default mode."""
    return torch_eager(workload, compiled="default")


def jax_jit(workload: Workload) -> Epoch:
    """JAX: the whole step under jax.jit with donated buffers, Adam written out."""
    import jax
    import jax.numpy as jnp

    def loss_of(params: Any, x: Any, t: Any) -> Any:
        for w, b in params[:-1]:
            x = jnp.maximum(x @ w + b, 0.0)
        w, b = params[-1]
        log_p = jax.nn.log_softmax(x @ w + b)
        return -jnp.mean(jnp.take_along_axis(log_p, t[:, None], axis=1))

    def step(params: Any, m: Any, v: Any, k: Any, x: Any, t: Any) -> Any:
        value, g = jax.value_and_grad(loss_of)(params, x, t)
        k = k + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9**k, 1 - 0.999**k
        params = jax.tree.map(
            lambda p, m, v: p - LEARNING_RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v
        )
        return params, m, v, k, value

    run = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    params = jax.tree.map(jnp.array, workload.weights)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.float32)]

    def epoch(order: HostArray) -> float:
        values = []
        for x, t in batches(workload, order):
            *state[:], value = run(*state, x, t.astype(np.int32))
            values.append(value)
        return float(np.mean([float(value) for value in values]))

    return epoch


def scikit_learn(workload: Workload) -> Epoch:
    """scikit-learn's MLPClassifier, one epoch of partial_fit at a time, in its batches."""
    from sklearn.neural_network import MLPClassifier

    classes = np.arange(workload.layers[-1])
    model = MLPClassifier(
        workload.layers[1:-1], batch_size=workload.batch, learning_rate_init=LEARNING_RATE,
        alpha=0.0, shuffle=False, max_iter=1,
    )  # fmt: skip
    model.partial_fit(workload.x[: workload.batch], workload.t[: workload.batch], classes=classes)
    model.coefs_ = [w.copy() for w, _ in workload.weights]
    model.intercepts_ = [b.copy() for _, b in workload.weights]
    model._optimizer = type(model._optimizer)(model.coefs_ + model.intercepts_, LEARNING_RATE)

    def epoch(order: HostArray) -> float:
        model.partial_fit(workload.x[order], workload.t[order])
        return float(model.loss_)

    return epoch


CPU_CONTESTANTS: dict[str, Callable[[Workload], Epoch]] = {
    "bp_arrays": ours,
    "matmuls alone": matmuls,
    "PyTorch": torch_eager,
    "torch.compile": torch_compile,
    "jax.jit": jax_jit,
    "scikit-learn": scikit_learn,
}
NEEDS = {"PyTorch": "torch", "torch.compile": "torch", "jax.jit": "jax", "scikit-learn": "sklearn"}


def available(name: str) -> str:
    """Why a contestant cannot take part, "" if it can."""
    import importlib.util
    import shutil

    package = NEEDS.get(name)
    if package and importlib.util.find_spec(package) is None:
        return f"{package} is not installed"
    if name == "torch.compile" and not (shutil.which("g++") or os.environ.get("CXX")):
        return "torch.compile needs a C++ compiler"
    return ""
