"""Update rules against torch.optim, on every device, and their promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.optimizers import (
    OPTIMIZERS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Chain,
    ClipByGlobalNorm,
    RMSProp,
    WeightDecay,
    optimizer_named,
)
from bp_arrays.schedules import Cosine, ReduceOnPlateau

SIZE, STEPS = 23, 50

# name -> (ours, the class and the options of torch.optim)
WITNESSES = {
    "sgd": (SGD(0.05), "SGD", {"lr": 0.05}),
    "sgd, momentum": (SGD(0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "sgd, nesterov": (
        SGD(0.05, momentum=0.8, nesterov=True),
        "SGD",
        {"lr": 0.05, "momentum": 0.8, "nesterov": True},
    ),
    "sgd, decay": (
        Chain(WeightDecay(0.1), SGD(0.05, momentum=0.9)),
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    ),
    "rmsprop": (RMSProp(), "RMSprop", {}),
    "rmsprop, options": (
        RMSProp(0.02, decay=0.9, epsilon=1e-3),
        "RMSprop",
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-3},
    ),
    "rmsprop, momentum": (RMSProp(momentum=0.7), "RMSprop", {"momentum": 0.7}),
    "adagrad": (Adagrad(), "Adagrad", {}),
    "adagrad, options": (Adagrad(0.3, epsilon=1e-2), "Adagrad", {"lr": 0.3, "eps": 1e-2}),
    "adam": (Adam(), "Adam", {}),
    "adam, options": (
        Adam(0.03, beta1=0.7, beta2=0.95, epsilon=1e-3),
        "Adam",
        {"lr": 0.03, "betas": (0.7, 0.95), "eps": 1e-3},
    ),
    "adam, no memory": (
        Adam(0.03, beta1=0.0, beta2=0.0),
        "Adam",
        {"lr": 0.03, "betas": (0.0, 0.0)},
    ),
    "adam, decay": (
        Chain(WeightDecay(0.1), Adam(0.01)),
        "Adam",
        {"lr": 0.01, "weight_decay": 0.1},
    ),
    "adamw": (AdamW(), "AdamW", {}),
    "adamw, options": (
        AdamW(0.03, beta1=0.8, beta2=0.9, epsilon=1e-4, weight_decay=0.3),
        "AdamW",
        {"lr": 0.03, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.3},
    ),
}
EVERY = {name: ours for name, (ours, _, _) in WITNESSES.items()} | {
    "clip, decay, adam": Chain(ClipByGlobalNorm(0.5), WeightDecay(0.01), Adam(0.02)),
    "nested": Chain(ClipByGlobalNorm(0.5), Chain(WeightDecay(0.01), SGD(0.02, momentum=0.5))),
}

rng = np.random.default_rng(0)
START = rng.normal(size=SIZE)
CURVATURE = rng.uniform(0.1, 3.0, SIZE)
NOISE = rng.normal(size=(STEPS, SIZE))


def gradient(theta, step):
    """That of a noisy quadratic: depends on where the optimizer has gone."""
    return CURVATURE * theta + NOISE[step]


def run(optimizer, steps=STEPS):
    """The parameters after each update, on NumPy in float64."""
    theta = START.copy()
    state = optimizer.init(theta, np)
    path = []
    for step in range(steps):
        scalars = optimizer.scalars(step + 1, optimizer.rate(step))
        theta, state = optimizer.update(theta, gradient(theta, step), state, scalars, np)
        path.append(theta)
    return np.stack(path)


def torch_run(kind, options, rates=None, clip=None):
    torch = pytest.importorskip("torch")
    theta = torch.tensor(START, requires_grad=True)
    optimizer = getattr(torch.optim, kind)([theta], **options)
    path = []
    for step in range(STEPS):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[step]
        theta.grad = torch.tensor(gradient(theta.detach().numpy(), step))
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([theta], clip)
        optimizer.step()
        path.append(theta.detach().numpy().copy())
    return np.stack(path)


@pytest.mark.parametrize("name", WITNESSES)
def test_equal_to_torch(name):
    ours, kind, options = WITNESSES[name]
    np.testing.assert_allclose(run(ours), torch_run(kind, options), rtol=0, atol=5e-14)


def test_scheduled_rate_equal_to_torch():
    schedule = Cosine(0.1, STEPS)
    rates = [schedule(step) for step in range(STEPS)]
    theirs = torch_run("SGD", {"lr": 1.0, "momentum": 0.9}, rates=rates)
    np.testing.assert_allclose(run(SGD(schedule, momentum=0.9)), theirs, rtol=0, atol=5e-14)


def test_clipping_equal_to_torch():
    """PyTorch divides by the norm + 1e-6, hence the looser bound."""
    theirs = torch_run("SGD", {"lr": 0.1}, clip=2.0)
    ours = run(Chain(ClipByGlobalNorm(2.0), SGD(0.1)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert np.abs(ours - run(SGD(0.1))).max() > 0.01


def test_adam_is_algorithm_1():
    """Kingma and Ba's algorithm written out, element by element."""
    alpha, beta1, beta2, epsilon = 0.02, 0.9, 0.999, 1e-8
    theta, m, v = START.tolist(), [0.0] * SIZE, [0.0] * SIZE
    for t in range(1, STEPS + 1):
        g = gradient(np.asarray(theta), t - 1)
        for i in range(SIZE):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            m_hat = m[i] / (1 - beta1**t)
            v_hat = v[i] / (1 - beta2**t)
            theta[i] -= alpha * m_hat / (math.sqrt(v_hat) + epsilon)
    np.testing.assert_allclose(run(Adam(alpha))[-1], theta, rtol=0, atol=1e-13)


def test_bias_correction_does_not_cancel():
    mpmath = pytest.importorskip("mpmath")
    beta2 = 1 - 1e-12
    for t in (1, 7, 10**6):
        _, _, c2 = Adam(beta2=beta2).scalars(t, 0.1)
        with mpmath.workdps(50):
            exact = 1 / (1 - mpmath.mpf(beta2) ** t)
        assert abs(c2 / exact - 1) < 1e-15


@pytest.mark.parametrize("name", EVERY)
def test_every_device(device, dtype, name):
    """Ten updates in each dtype: as in float64 on NumPy; kept dtype, shape; nothing changed."""
    xp, optimizer = device.xp, EVERY[name]
    expected = run(optimizer, steps=10)
    theta = device.asarray(START, dtype)
    state = optimizer.init(theta, xp)
    for step in range(10):
        host = gradient(device.to_numpy(theta).astype(np.float64), step)
        g = device.asarray(host, dtype)
        given = [theta, g, *state]
        kept = [device.to_numpy(array).copy() for array in given]
        scalars = optimizer.scalars(step + 1, optimizer.rate(step))
        theta, state = optimizer.update(theta, g, state, scalars, xp)
        for before, after in zip(kept, given, strict=True):
            np.testing.assert_array_equal(before, device.to_numpy(after))
        for array in (theta, *state):
            assert array.dtype == g.dtype
            assert array.shape == (SIZE,)
    error = np.abs(device.to_numpy(theta) - expected[-1]).max()
    assert error <= {"float32": 1e-5, "float64": 1e-13}[dtype]


@pytest.mark.parametrize("name", EVERY)
def test_scalars_as_arrays(device, dtype, name):
    """As a compiler gets them: 0-d arrays of theta's dtype."""
    xp, optimizer = device.xp, EVERY[name]
    theta, g = device.asarray(START, dtype), device.asarray(NOISE[0], dtype)
    state = optimizer.init(theta, xp)
    scalars = optimizer.scalars(1, optimizer.rate(0))
    arrays = tuple(xp.asarray(s, dtype=theta.dtype, device=device.native) for s in scalars)
    expected, _ = optimizer.update(theta, g, state, scalars, xp)
    moved, state = optimizer.update(theta, g, state, arrays, xp)
    assert moved.dtype == theta.dtype
    assert all(array.dtype == theta.dtype for array in state)
    eps = float(xp.finfo(theta.dtype).eps)
    np.testing.assert_allclose(
        device.to_numpy(moved), device.to_numpy(expected), rtol=0, atol=16 * eps
    )


@pytest.mark.parametrize("name", EVERY)
def test_compiled_whole(name):
    jax = pytest.importorskip("jax")
    jnp, optimizer = jax.numpy, EVERY[name]
    traces = []

    @jax.jit
    def update(theta, g, state, scalars):
        traces.append(1)
        return optimizer.update(theta, g, state, scalars, jnp)

    theta = jnp.asarray(START, dtype=jnp.float32)
    state = optimizer.init(theta, jnp)
    for step in range(10):
        g = jnp.asarray(gradient(np.asarray(theta, dtype=np.float64), step), dtype=jnp.float32)
        scalars = optimizer.scalars(step + 1, optimizer.rate(step))
        theta, state = update(theta, g, state, tuple(map(np.float32, scalars)))
    assert len(traces) == 1
    assert theta.dtype == jnp.float32
    np.testing.assert_allclose(theta, run(optimizer, steps=10)[-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_stays_on_its_numpy_errstate(name):
    """No division by zero and no overflow in a plain update, nor for a gradient of zeros."""
    optimizer, zeros = EVERY[name], np.zeros(SIZE, dtype=np.float32)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        run(optimizer, steps=3)
        theta, _ = optimizer.update(
            zeros, zeros, optimizer.init(zeros, np), optimizer.scalars(1, 0.1), np
        )
    assert (theta == 0).all()


def test_sgd_without_momentum_remembers_nothing():
    assert SGD(0.1).init(START, np) == ()
    assert len(SGD(0.1, momentum=0.5).init(START, np)) == 1
    assert len(RMSProp().init(START, np)) == 1


def test_rate_follows_the_monitored_loss():
    optimizer = Adam(ReduceOnPlateau(0.1, factor=0.5, patience=0))
    assert optimizer.rate(7) == 0.1
    assert optimizer.rate(7, [1.0, 1.0]) == 0.05


def test_numpy_hyper_parameters_do_not_leak_their_dtype():
    """numpy.float64 is a Python float to isinstance, but makes float32 arrays float64."""
    half = np.float64(0.5)
    for optimizer in (
        SGD(half, momentum=half),
        RMSProp(half, half, half, half),
        Adagrad(half, half),
        AdamW(half, half, half, half, half),
        Chain(ClipByGlobalNorm(half), WeightDecay(half), SGD(half)),
        Adam(Cosine(half, np.int64(10), half)),
    ):
        theta = START.astype(np.float32)
        scalars = optimizer.scalars(1, optimizer.rate(0))
        assert all(type(scalar) is float for scalar in scalars)
        moved, state = optimizer.update(theta, theta, optimizer.init(theta, np), scalars, np)
        assert {array.dtype for array in (moved, *state)} == {np.dtype(np.float32)}


BAD = [
    *(
        (lambda kind=kind, rate=rate: kind(rate), "learning_rate")
        for kind in (SGD, RMSProp, Adagrad, Adam, AdamW)
        for rate in (0, -0.1, math.nan, math.inf, "0.1", None, True, [0.1])
    ),
    (lambda: SGD(momentum=1.0), "momentum"),
    (lambda: SGD(momentum=-0.1), "momentum"),
    (lambda: SGD(nesterov=True), "nesterov"),
    (lambda: RMSProp(decay=1.0), "decay"),
    (lambda: RMSProp(epsilon=0.0), "epsilon"),
    (lambda: RMSProp(momentum=1.5), "momentum"),
    (lambda: Adagrad(epsilon=-1e-3), "epsilon"),
    (lambda: Adam(beta1=1.0), "beta1"),
    (lambda: Adam(beta2=-0.5), "beta2"),
    (lambda: Adam(epsilon=0), "epsilon"),
    (lambda: AdamW(beta1=2), "beta1"),
    (lambda: AdamW(weight_decay=-0.1), "weight_decay"),
    (lambda: ClipByGlobalNorm(0.0), "max_norm"),
    (lambda: ClipByGlobalNorm(math.inf), "max_norm"),
    (lambda: WeightDecay(-0.1), "decay"),
]


@pytest.mark.parametrize(("make", "field"), BAD)
def test_bad_hyper_parameters(make, field):
    with pytest.raises(InputError, match=field):
        make()


def test_message_says_what_was_expected():
    with pytest.raises(InputError) as raised:
        SGD(momentum=1.5)
    assert str(raised.value) == "SGD(momentum=1.5): expected 0 <= momentum < 1"


def test_names():
    assert optimizer_named("adamw") is AdamW
    assert optimizer_named("RMSprop") is RMSProp
    assert all(isinstance(kind(), kind) for kind in OPTIMIZERS.values())
    with pytest.raises(InputError, match="did you mean 'Adam'"):
        optimizer_named("adm")
