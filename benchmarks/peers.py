"""The peers, each used as its documentation recommends; all of them gather their batches."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.workloads import EPSILON, LEARNING_RATE, Epoch, HostArray, Workload, batches


def uses_tf32() -> bool:
    """Return whether float32 products may be rounded to TF32: CuPy's setting, for every library."""
    return os.environ.get("CUPY_TF32", "0") == "1"


def torch_eager(workload: Workload, *, mode: str = "", device: str = "cpu") -> Epoch:
    """PyTorch with its fused Adam; `mode` is passed to torch.compile."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = uses_tf32()
    linears = []
    for w, b in workload.weights:
        linear = torch.nn.Linear(w.shape[0], w.shape[1])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        linears += [linear, torch.nn.ReLU()]
    net = torch.nn.Sequential(*linears[:-1]).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, eps=EPSILON, fused=True)
    f = torch.nn.functional
    x, t = torch.from_numpy(workload.x).to(device), torch.from_numpy(workload.t).to(device)

    def forward(xb: Any, tb: Any) -> Any:
        return f.cross_entropy(net(xb), tb)

    loss_of = torch.compile(forward, mode=mode) if mode else forward

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


def torch_compile(workload: Workload, *, device: str = "cpu") -> Epoch:
    """Compiled PyTorch: in the default mode or, on a GPU, in the mode that replays CUDA graphs."""
    mode = "default" if device == "cpu" else "reduce-overhead"
    return torch_eager(workload, mode=mode, device=device)


def jax_jit(workload: Workload, *, device: str = "cpu") -> Epoch:
    """JAX with the whole step, including Adam, under jax.jit with donated buffers.

    NumPy gathers the batches on the CPU, where it is faster; on a GPU, the step gathers them.
    """
    import jax
    import jax.numpy as jnp

    if device != "cpu":  # where JAX would round to TF32 unasked
        precision = "tensorfloat32" if uses_tf32() else "float32"
        jax.config.update("jax_default_matmul_precision", precision)
    there = jax.devices(device)[0]
    t_host = workload.t.astype(np.int32)

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
            lambda p, m, v: p - LEARNING_RATE * (m / c1) / (jnp.sqrt(v / c2) + EPSILON),
            params, m, v,
        )  # fmt: skip
        return params, m, v, k, value

    def gathering(params: Any, m: Any, v: Any, k: Any, x: Any, t: Any, rows: Any) -> Any:
        return step(params, m, v, k, x[rows], t[rows])

    donated = (0, 1, 2, 3)
    run, run_gathering = (jax.jit(f, donate_argnums=donated) for f in (step, gathering))
    with jax.default_device(there):
        params = jax.tree.map(jnp.array, workload.weights)
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
        state = [params, *zeros, jnp.zeros((), jnp.float32)]
        on_device = device != "cpu"
        x_there, t_there = (jnp.array(workload.x), jnp.array(t_host)) if on_device else (None, None)

    def epoch(order: HostArray) -> float:
        values = []
        with jax.default_device(there):
            if on_device:
                order = order.astype(np.int32)
                for start in range(0, len(order), workload.batch):
                    rows = order[start : start + workload.batch]
                    *state[:], value = run_gathering(*state, x_there, t_there, rows)
                    values.append(value)
            else:
                for x, t in batches(workload, order):
                    *state[:], value = run(*state, x, t.astype(np.int32))
                    values.append(value)
            return float(np.mean(jax.device_get(values)))

    return epoch


def scikit_learn(workload: Workload) -> Epoch:
    """scikit-learn's MLPClassifier, one call of partial_fit per batch."""
    from sklearn.neural_network import MLPClassifier

    classes = np.arange(workload.layers[-1])
    model = MLPClassifier(
        workload.layers[1:-1], batch_size=workload.batch, learning_rate_init=LEARNING_RATE,
        epsilon=EPSILON, alpha=0.0, shuffle=False, max_iter=1,
    )  # fmt: skip
    model.partial_fit(workload.x[: workload.batch], workload.t[: workload.batch], classes=classes)
    model.coefs_ = [w.copy() for w, _ in workload.weights]
    model.intercepts_ = [b.copy() for _, b in workload.weights]
    model._optimizer = type(model._optimizer)(
        model.coefs_ + model.intercepts_, LEARNING_RATE, epsilon=EPSILON
    )

    def epoch(order: HostArray) -> float:
        model.partial_fit(workload.x[order], workload.t[order])
        return float(model.loss_)

    return epoch


def thinc(workload: Workload) -> Epoch:
    """Thinc with its compiled operations for NumPy arrays and its fused Adam.

    Its loss object returns a different number from the loss it differentiates, so the
    cross-entropy is computed here from the probabilities.
    """
    from thinc.api import Adam, CategoricalCrossentropy, Relu, Softmax, chain

    layers = [Relu(n) for n in workload.layers[1:-1]] + [Softmax(workload.layers[-1])]
    net = chain(*layers) if len(layers) > 1 else layers[0]
    net.initialize(X=workload.x[:2], Y=np.eye(workload.layers[-1], dtype=np.float32)[:2])
    for layer, (w, b) in zip(layers, workload.weights, strict=True):
        layer.set_param("W", w.T.copy())
        layer.set_param("b", b.copy())
    optimizer = Adam(LEARNING_RATE, eps=EPSILON, L2=0.0, grad_clip=0.0, use_averages=False)
    loss = CategoricalCrossentropy()

    def epoch(order: HostArray) -> float:
        total = 0.0
        for x, t in batches(workload, order):
            p, backward = net.begin_update(x)
            backward(loss.get_grad(p, t))
            net.finish_update(optimizer)
            total -= float(np.mean(np.log(p[np.arange(len(t)), t])))
        return total / workload.steps

    return epoch
