"""Layers for images, sequences and text against PyTorch and JAX, on a number of threads of a CPU.

Whole training steps of three nets, and single layers forward and backward. Contestants take turns
in one process. The table shows the medians of their times and our time divided by each peer's: on
one thread the time of the processor, which other programs hardly move, on more the time on the
clock.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import bp_arrays as bp
from bp_arrays.execution import (
    Arena,
    FusedSteps,
    Program,
    StepRecorder,
    compiled,
    fast_numpy,
)
from bp_arrays.layers import Context
from bp_arrays.trees import leaves

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables that set the number of threads; a process reads them when it starts."""
OURS, FLOOR, TORCH, JAX = "bp_arrays", "products alone", "PyTorch", "jax.jit"
COMPILED = "torch.compile"
BLOCK_SECONDS = 0.1
"""How long a contestant runs before it is the next one's turn."""

Step = Callable[[], Any]
Product = tuple[int, tuple[int, ...]]
"""How often, and (rows, inner, columns), perhaps after the size of a batch."""


@dataclass(frozen=True)
class Row:
    """A net or a layer, and the functions that build a step of it for each contestant.

    `ours` takes the name of the device.
    """

    name: str
    needs: tuple[str, ...]
    ours: Callable[[str], Step]
    torch: Callable[..., Step] | None = None
    jax: Callable[[], Step] | None = None
    products: tuple[Product, ...] = ()
    compiled: Callable[[], Step] | None = None

    def missing(self) -> list[str]:
        """Return the names of layers that this version does not have."""
        return [name for name in self.needs if not hasattr(bp, name)]

    def contestants(self, device: str) -> dict[str, Step]:
        """Return a step of each contestant that can run here.

        On the device of a peer, that peer is the only one: the arrays are its own.
        """
        steps = {OURS: self.ours(device)}
        library = device.split(":")[0]
        if self.products and library == "cpu":
            steps[FLOOR] = products_alone(self.products)
        compiler = shutil.which("g++") or os.environ.get("CXX")
        peers = (
            (TORCH, "torch", self.torch),
            (COMPILED, "torch", self.compiled if compiler else None),
            (JAX, "jax", self.jax),
        )
        for name, package, build in peers:
            takes_part = build is not None and library in ("cpu", package)
            if takes_part and importlib.util.find_spec(package) is not None:
                steps[name] = build()
        return steps


@dataclass
class Times:
    """Milliseconds per step of each contestant, one for each round."""

    name: str
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Return the median time of a step, in milliseconds."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str) -> float:
        """Return the median over the rounds of our time divided by that of another."""
        pairs = zip(self.rounds[OURS], self.rounds[name], strict=True)
        return statistics.median(ours / other for ours, other in pairs)

    def entry(self) -> dict[str, Any]:
        """Return the values as numbers and text."""
        others = [name for name in self.rounds if name != OURS]
        return {
            "name": self.name,
            "milliseconds": {name: round(self.median(name), 4) for name in self.rounds},
            "ratio": {name: round(self.ratio(name), 3) for name in others},
        }


def run_with_threads(arguments: list[str], number: int) -> int | None:
    """Run the benchmark in a process with so many threads; None if this one is it."""
    eigen = "true" if number > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={number}"
    wanted = {**dict.fromkeys(THREADS, str(number)), "XLA_FLAGS": flags}
    if all(os.environ.get(name) == value for name, value in wanted.items()):
        return None
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, env={**os.environ, **wanted}, check=False).returncode


def threads() -> int:
    """Return the number of threads of this process."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def measure_layers(rounds: int, only: str = "", device: str = "cpu") -> Any:
    """Yield the times of each row whose name contains `only`, or why it cannot be measured."""
    for row in rows():
        if only not in row.name:
            continue
        if missing := row.missing():
            yield f"NOT RUN  {row.name}: bp_arrays has no {', '.join(missing)}"
        else:
            yield measure(row.name, row.contestants(device), rounds)


def measure(name: str, steps: dict[str, Step], rounds: int) -> Times:
    """Measure the contestants in turn, after runs that compile and warm up."""
    times, counts = Times(name), {}
    clock = time.process_time if threads() == 1 else time.perf_counter
    for contestant, step in steps.items():
        for _ in range(3):
            step()
        started = clock()
        step()
        counts[contestant] = max(1, int(BLOCK_SECONDS / (clock() - started + 1e-6)))
        times.rounds[contestant] = []
    for _ in range(rounds):
        for contestant, step in steps.items():
            started = clock()
            for _ in range(counts[contestant]):
                step()
            seconds = (clock() - started) / counts[contestant]
            times.rounds[contestant].append(seconds * 1e3)
    return times


# -- contestants -------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def numbers(*shape: int) -> Any:
    """Return random numbers in float32."""
    return RNG.normal(size=shape).astype(np.float32)


def products_alone(products: tuple[Product, ...]) -> Step:
    """Return the matrix products of a step, with results written into memory of their own."""
    calls = []
    for count, (*batch, rows, inner, columns) in products:
        a, b = numbers(*batch, rows, inner), numbers(*batch, inner, columns)
        out = np.empty((*batch, rows, columns), np.float32)
        calls += [(np.matmul if batch else np.dot, a, b, out)] * count

    def step() -> None:
        for product, a, b, out in calls:
            product(a, b, out=out)

    return step


def training_step(net: Any, inputs: Any, x: Any, t: Any, device: str) -> Step:
    """Return a step of this library: forward, backward, and Adam."""
    model = bp.Model(net, inputs, device=device, dtype="float32", seed=0)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-3))
    if device != "cpu":
        x, t = (model.device.asarray(array) for array in (x, t))
        return lambda: float(trainer.step(x, t))
    trainer.step(x, t)
    runner: Any = trainer.runner
    for recorded in runner.recorded.values():
        recorded.fused.wait()  # as the peers' compilers have ended before they are measured
    runner.update.wait_for_compiler()
    return lambda: trainer.step(x, t)


def layer_step(layer: Any, shape: tuple[int, ...], x: Any, device: str) -> Step:
    """Return a layer's forward and backward without an update: as training runs them."""
    model = bp.Model(layer, model_input(shape, x), device=device, dtype="float32", seed=0)
    if device != "cpu":
        return _layer_on(model, x)
    recorder = StepRecorder()
    params = {name: np.array(value) for name, value in model.parameters.items()}
    memory = {name: recorder.memory(w.shape, w.dtype) for name, w in params.items()}
    tree = nested(memory)
    argument = recorder.memory(x.shape, x.dtype)  # as of the layer before
    context = Context(fast_numpy, device="cpu", training=True)
    y, backward = layer.forward(tree, argument, context)
    delta = recorder.memory(y.shape, y.dtype)
    dx, gradients = backward(delta)
    results = [y.slot, *(part.slot for part in leaves(gradients))]
    results += [] if dx is None else [dx.slot]
    slots: dict[str, Any] = {
        "arguments": [],
        "bound": [array.slot for array in (argument, delta, *memory.values())],
        "results": results,
        "written": [],
        "arena": Arena(),
    }
    program = Program(recorder.instructions, [], **slots)
    fused = FusedSteps(program.steps, [], results)
    fused.wait()
    if fused.steps is not None:
        program = Program(*fused.steps, **slots)
    bound = {memory[name].slot.name: w for name, w in params.items()}
    program.bind({argument.slot.name: x, delta.slot.name: numbers(*y.shape), **bound})
    return program.forward


def _layer_on(model: Any, x: Any) -> Step:
    """Return the forward and backward of a model's layer on a device other than NumPy."""
    device = model.device
    context = Context(device.xp, device=device.native, training=True)

    def both(params: Any, x: Any, delta: Any) -> Any:
        y, backward = model.layer.forward(nested(params), x, context)
        return y, backward(delta)

    run = compiled(both, device)
    params, x = dict(model.parameters), device.asarray(x)
    shape = model.predict(device.to_numpy(x)).shape
    delta = device.asarray(numbers(*shape))

    def step() -> Any:
        with device.activate():
            results = run(params, x, delta)
        device.synchronize()
        return results

    return step


def nested(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return arrays with dotted names as the tree that a layer takes."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = array
    return tree


def model_input(shape: tuple[int, ...], x: Any) -> Any:
    """Return the specification of an input of this shape."""
    return bp.InputSpec(shape, "index") if x.dtype.kind == "i" else shape


def torch_training(net: Any, x: Any, t: Any, compiled: bool) -> Step:
    """Return a step of PyTorch with its fused Adam; perhaps through torch.compile."""
    import torch

    torch.set_num_threads(threads())
    run = torch.compile(net) if compiled else net
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        y = run(x)
        torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), t.reshape(-1)).backward()
        optimizer.step()

    return step


def torch_layer(layer: Any, x: Any, *, output: Callable[[Any], Any] = lambda y: y) -> Step:
    """Return a layer's forward and backward in PyTorch, with the gradient of its input."""
    import torch

    torch.set_num_threads(threads())
    if x.is_floating_point():
        x.requires_grad_(True)
    with torch.no_grad():
        error = torch.randn_like(output(layer(x)))

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        output(layer(x)).backward(error)

    return step


def jax_training(forward: Callable[..., Any], params: Any, x: Any, t: Any) -> Step:
    """Return a step of JAX: gradients and Adam under one jit, with donated buffers."""
    import jax
    import jax.numpy as jnp

    def loss_of(params: Any) -> Any:
        y = forward(params, x)
        log_p = jax.nn.log_softmax(y.reshape(-1, y.shape[-1]))
        return -jnp.mean(jnp.take_along_axis(log_p, t.reshape(-1, 1), axis=1))

    def update(params: Any, m: Any, v: Any, k: Any) -> Any:
        value, g = jax.value_and_grad(loss_of)(params)
        k = k + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        c1, c2 = 1 - 0.9**k, 1 - 0.999**k
        params = jax.tree.map(
            lambda p, m, v: p - 1e-3 * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v
        )
        return params, m, v, k, value

    run = jax.jit(update, donate_argnums=(0, 1, 2, 3))
    params = jax.tree.map(jnp.array, params)
    state = [params, *(jax.tree.map(jnp.zeros_like, params) for _ in range(2)), jnp.zeros(())]

    def step() -> None:
        *state[:], value = run(*state)
        value.block_until_ready()

    return step


def jax_layer(forward: Callable[..., Any], params: Any, x: Any) -> Step:
    """Return a layer's forward and backward in JAX, with the gradient of a float input."""
    import jax
    import jax.numpy as jnp

    params, x = jax.tree.map(jnp.array, params), jnp.array(x)
    of_x = jnp.issubdtype(x.dtype, jnp.floating)
    error = jnp.array(numbers(*jax.eval_shape(forward, params, x).shape))

    def both(params: Any, x: Any, error: Any) -> Any:
        if of_x:
            y, backward = jax.vjp(forward, params, x)
        else:
            y, backward = jax.vjp(lambda p: forward(p, x), params)
        return y, backward(error)

    run = jax.jit(both)
    return lambda: jax.block_until_ready(run(params, x, error))


# -- char-GPT ----------------------------------------------------------------------------------

LAYERS, HEADS, WIDTH, TIME, BATCH, WORDS = 4, 4, 128, 64, 12, 65
TOKENS = RNG.integers(0, WORDS, (BATCH, TIME))
NEXT = RNG.integers(0, WORDS, (BATCH, TIME))


def gpt(device: str) -> Step:
    def block() -> list[Any]:
        attention = bp.MultiHeadAttention(HEADS, causal=True, bias=False)
        hidden = bp.Linear(4 * WIDTH, bias=False)
        return [
            bp.Residual(bp.LayerNorm(bias=False), attention),
            bp.Residual(bp.LayerNorm(bias=False), hidden, bp.GELU(), bp.Linear(WIDTH, bias=False)),
        ]

    blocks = [layer for _ in range(LAYERS) for layer in block()]
    net = bp.Sequential(
        bp.Embedding(WORDS, WIDTH),
        bp.LearnedPositions(TIME),
        *blocks,
        bp.LayerNorm(bias=False),
        bp.Linear(WORDS, bias=False),
    )
    return training_step(net, bp.InputSpec((TIME,), "index", size=WORDS), TOKENS, NEXT, device)


def gpt_torch(*, compiled: bool = False) -> Step:
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n1, self.n2 = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)
            self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
            self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            x = x + self.out(torch_attention(self.qkv(self.n1(x))))
            hidden = nn.functional.gelu(self.wide(self.n2(x)), approximate="tanh")
            return x + self.narrow(hidden)

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(TIME, WIDTH)
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(WIDTH, bias=False)
            self.head = nn.Linear(WIDTH, WORDS, bias=False)

        def forward(self, x: Any) -> Any:
            h = self.words(x) + self.places(torch.arange(TIME))
            return self.head(self.norm(self.blocks(h)))

    return torch_training(Gpt(), torch.tensor(TOKENS), torch.tensor(NEXT), compiled)


def torch_attention(a: Any) -> Any:
    import torch

    parts = (z.view(BATCH, TIME, HEADS, -1).transpose(1, 2) for z in a.split(WIDTH, dim=2))
    y = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
    return y.transpose(1, 2).reshape(BATCH, TIME, WIDTH)


def jax_norm(x: Any, g: Any) -> Any:
    import jax

    d = x - x.mean(-1, keepdims=True)
    return d * jax.lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5) * g


def jax_attention(a: Any) -> Any:
    import jax
    import jax.numpy as jnp

    parts = jnp.split(a, 3, axis=2)
    q, k, v = (z.reshape(BATCH, TIME, HEADS, -1).transpose(0, 2, 1, 3) for z in parts)
    s = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]).astype(np.float32)
    s = jnp.where(jnp.tril(jnp.ones((TIME, TIME), bool)), s, -jnp.inf)
    y = jax.nn.softmax(s, axis=-1) @ v
    return y.transpose(0, 2, 1, 3).reshape(BATCH, TIME, WIDTH)


def gpt_jax() -> Step:
    import jax

    def block() -> list[Any]:
        shapes = [(WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 4 * WIDTH), (4 * WIDTH, WIDTH)]
        ones = np.ones(WIDTH, np.float32)
        return [ones, ones, *(0.05 * numbers(*shape) for shape in shapes)]

    params = {
        "words": numbers(WORDS, WIDTH),
        "places": numbers(TIME, WIDTH),
        "blocks": [block() for _ in range(LAYERS)],
        "norm": np.ones(WIDTH, np.float32),
        "head": 0.05 * numbers(WIDTH, WORDS),
    }

    def forward(p: Any, x: Any) -> Any:
        h = p["words"][x] + p["places"]
        for g1, g2, qkv, out, wide, narrow in p["blocks"]:
            h = h + jax_attention(jax_norm(h, g1) @ qkv) @ out
            h = h + jax.nn.gelu(jax_norm(h, g2) @ wide, approximate=True) @ narrow
        return jax_norm(h, p["norm"]) @ p["head"]

    return jax_training(forward, params, TOKENS, NEXT)


def dense(rows: int, inner: int, columns: int, *, count: int = 1) -> tuple[Product, ...]:
    """Return the three products of a layer's forward and backward."""
    return (
        (count, (rows, inner, columns)),
        (count, (inner, rows, columns)),
        (count, (rows, columns, inner)),
    )


ATTENTION: tuple[Product, ...] = (
    (3 * LAYERS, (BATCH * HEADS, TIME, WIDTH // HEADS, TIME)),
    (3 * LAYERS, (BATCH * HEADS, TIME, TIME, WIDTH // HEADS)),
)
GPT_PRODUCTS = (
    *dense(BATCH * TIME, WIDTH, 3 * WIDTH, count=LAYERS),
    *dense(BATCH * TIME, WIDTH, WIDTH, count=LAYERS),
    *dense(BATCH * TIME, WIDTH, 4 * WIDTH, count=LAYERS),
    *dense(BATCH * TIME, 4 * WIDTH, WIDTH, count=LAYERS),
    *dense(BATCH * TIME, WIDTH, WORDS),
    *ATTENTION,
)


# -- a net for images --------------------------------------------------------------------------

IMAGES = 64
PIXELS, DIGITS = numbers(IMAGES, 28, 28, 1), RNG.integers(0, 10, IMAGES)


def cnn(device: str) -> Step:
    net = bp.Sequential(
        bp.Conv2d(32, 3), bp.ReLU(), bp.Conv2d(64, 3), bp.ReLU(), bp.MaxPool2d(2), bp.Flatten(),
        bp.Linear(128), bp.ReLU(), bp.Linear(10),
    )  # fmt: skip
    return training_step(net, (28, 28, 1), PIXELS, DIGITS, device)


def cnn_torch(*, compiled: bool = False) -> Step:
    import torch
    from torch import nn

    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 12 * 12, 128), nn.ReLU(), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    x = torch.tensor(PIXELS.transpose(0, 3, 1, 2).copy())
    x = x.contiguous(memory_format=torch.channels_last)
    return torch_training(net, x, torch.tensor(DIGITS), compiled)


def jax_conv(x: Any, w: Any) -> Any:
    import jax

    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=layout)


def jax_pool(x: Any) -> Any:
    import jax

    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, window, "VALID")


def cnn_jax() -> Step:
    import jax

    sizes = (3, 3, 1, 32), (3, 3, 32, 64), (64 * 12 * 12, 128), (128, 10)
    params = [(0.05 * numbers(*size), np.zeros(size[-1], np.float32)) for size in sizes]

    def forward(p: Any, x: Any) -> Any:
        for w, b in p[:2]:
            x = jax.nn.relu(jax_conv(x, w) + b)
        (w, b), (head, bias) = p[2:]
        return jax.nn.relu(jax_pool(x).reshape(IMAGES, -1) @ w + b) @ head + bias

    return jax_training(forward, params, PIXELS, DIGITS)


SECOND = IMAGES * 24 * 24
CNN_PRODUCTS = (
    (1, (IMAGES * 26 * 26, 9, 32)),
    (1, (9, IMAGES * 26 * 26, 32)),
    *dense(SECOND, 9 * 32, 64),
    *dense(IMAGES, 64 * 12 * 12, 128),
    *dense(IMAGES, 128, 10),
)


# -- char-LSTM ---------------------------------------------------------------------------------

STEPS, SENTENCES = 35, 32
LETTERS = RNG.integers(0, WORDS, (SENTENCES, STEPS))
NEXT_LETTERS = RNG.integers(0, WORDS, (SENTENCES, STEPS))


def lstm(device: str) -> Step:
    net = bp.Sequential(bp.Embedding(WORDS, WIDTH), bp.LSTM(WIDTH), bp.Linear(WORDS))
    inputs = bp.InputSpec((STEPS,), "index", size=WORDS)
    return training_step(net, inputs, LETTERS, NEXT_LETTERS, device)


def lstm_torch(*, compiled: bool = False) -> Step:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)
            self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(self.words(x))[0])

    return torch_training(Net(), torch.tensor(LETTERS), torch.tensor(NEXT_LETTERS), compiled)


def jax_lstm(p: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    wx, wh, b = p
    a = jnp.swapaxes(x @ wx + b, 0, 1)

    def one(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a + h @ wh, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[0], WIDTH))
    return jnp.swapaxes(jax.lax.scan(one, (zeros, zeros), a)[1], 0, 1)


def lstm_weights() -> list[Any]:
    return [0.05 * numbers(WIDTH, 4 * WIDTH) for _ in range(2)] + [np.zeros(4 * WIDTH, np.float32)]


def lstm_jax() -> Step:
    params = numbers(WORDS, WIDTH), lstm_weights(), 0.05 * numbers(WIDTH, WORDS)

    def forward(p: Any, x: Any) -> Any:
        words, w, head = p
        return jax_lstm(w, words[x]) @ head

    return jax_training(forward, params, LETTERS, NEXT_LETTERS)


LSTM_LAYER: tuple[Product, ...] = (
    *dense(SENTENCES * STEPS, WIDTH, 4 * WIDTH),
    (STEPS, (SENTENCES, WIDTH, 4 * WIDTH)),
    (STEPS, (SENTENCES, 4 * WIDTH, WIDTH)),
    (1, (WIDTH, SENTENCES * STEPS, 4 * WIDTH)),
)
LSTM_PRODUCTS = (*LSTM_LAYER, *dense(SENTENCES * STEPS, WIDTH, WORDS))


# -- layer by layer ----------------------------------------------------------------------------


def channels_last(*shape: int) -> Any:
    import torch

    x = torch.tensor(numbers(*shape)).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def torch_module(name: str, *arguments: Any, **options: Any) -> Any:
    import torch

    return getattr(torch.nn, name)(*arguments, **options)


def torch_tensor(x: Any) -> Any:
    import torch

    return torch.tensor(x)


def conv_torch() -> Step:
    import torch

    layer = torch_module("Conv2d", 32, 64, 3).to(memory_format=torch.channels_last)
    return torch_layer(layer, channels_last(IMAGES, 26, 26, 32))


def attention_torch() -> Step:
    from torch import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.out = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            return self.out(torch_attention(self.qkv(x)))

    return torch_layer(Attention(), torch_tensor(numbers(BATCH, TIME, WIDTH)))


MANY_WORDS, POSITIONS = 10_000, (32, 35)
MANY = RNG.integers(0, MANY_WORDS, POSITIONS)


def rows() -> tuple[Row, ...]:
    """Return the rows: three nets, then layers."""
    attention = (
        *dense(BATCH * TIME, WIDTH, 3 * WIDTH),
        *dense(BATCH * TIME, WIDTH, WIDTH),
        *((count // LAYERS, sizes) for count, sizes in ATTENTION),
    )
    return (
        Row("char-GPT", ("Embedding", "LearnedPositions", "LayerNorm", "MultiHeadAttention"),
            gpt, gpt_torch, gpt_jax, GPT_PRODUCTS, partial(gpt_torch, compiled=True)),
        Row("CNN", ("Conv2d", "MaxPool2d"), cnn, cnn_torch, cnn_jax, CNN_PRODUCTS,
            partial(cnn_torch, compiled=True)),
        Row("char-LSTM", ("Embedding", "LSTM"), lstm, lstm_torch, lstm_jax, LSTM_PRODUCTS,
            partial(lstm_torch, compiled=True)),
        Row("Conv2d 32 to 64", ("Conv2d",),
            partial(layer_step, bp.Conv2d(64, 3), (26, 26, 32), numbers(IMAGES, 26, 26, 32)),
            conv_torch,
            lambda: jax_layer(lambda p, x: jax_conv(x, p), numbers(3, 3, 32, 64),
                              numbers(IMAGES, 26, 26, 32)),
            dense(SECOND, 9 * 32, 64)),
        Row("MaxPool2d", ("MaxPool2d",),
            partial(layer_step, bp.MaxPool2d(2), (24, 24, 64), numbers(IMAGES, 24, 24, 64)),
            lambda: torch_layer(torch_module("MaxPool2d", 2), channels_last(IMAGES, 24, 24, 64)),
            lambda: jax_layer(lambda p, x: jax_pool(x), (), numbers(IMAGES, 24, 24, 64))),
        Row("LayerNorm", ("LayerNorm",),
            partial(layer_step, bp.LayerNorm(), (WIDTH,), numbers(768, WIDTH)),
            lambda: torch_layer(torch_module("LayerNorm", WIDTH),
                                torch_tensor(numbers(768, WIDTH))),
            lambda: jax_layer(lambda p, x: jax_norm(x, p[0]) + p[1],
                              (np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)),
                              numbers(768, WIDTH))),
        Row("Embedding", ("Embedding",),
            partial(layer_step, bp.Embedding(MANY_WORDS, WIDTH), POSITIONS[1:], MANY),
            lambda: torch_layer(torch_module("Embedding", MANY_WORDS, WIDTH), torch_tensor(MANY)),
            lambda: jax_layer(lambda p, x: p[x], numbers(MANY_WORDS, WIDTH), MANY)),
        Row("MultiHeadAttention", ("MultiHeadAttention",),
            partial(layer_step, bp.MultiHeadAttention(HEADS, causal=True, bias=False),
                               (TIME, WIDTH), numbers(BATCH, TIME, WIDTH)),
            attention_torch,
            lambda: jax_layer(lambda p, x: jax_attention(x @ p[0]) @ p[1],
                              (0.05 * numbers(WIDTH, 3 * WIDTH), 0.05 * numbers(WIDTH, WIDTH)),
                              numbers(BATCH, TIME, WIDTH)),
            attention),
        Row("LSTM", ("LSTM",),
            partial(layer_step, bp.LSTM(WIDTH), (STEPS, WIDTH), numbers(SENTENCES, STEPS, WIDTH)),
            lambda: torch_layer(torch_module("LSTM", WIDTH, WIDTH, batch_first=True),
                                torch_tensor(numbers(SENTENCES, STEPS, WIDTH)),
                                output=lambda y: y[0]),
            lambda: jax_layer(jax_lstm, lstm_weights(), numbers(SENTENCES, STEPS, WIDTH)),
            LSTM_LAYER),
    )  # fmt: skip
