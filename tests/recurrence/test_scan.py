"""The loop over time: in Python, and in a compiled step on JAX as one loop of XLA."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import scan


def forward_and_backward(layer, device):
    """A function of (parameters, x, delta) to the output and all derivatives, for jax.jit."""

    def run(parameters, x, delta):
        ctx = bp.Context(device.xp, None, training=True)
        y, backward = layer.forward(parameters, x, ctx)
        return y, backward(delta)

    return run


def arrays(layer, time, device):
    rng = np.random.default_rng(0)
    specification, output_shape = layer.init((time, 2))
    numbers = {name: rng.normal(size=p.shape) for name, p in specification.items()}
    parameters = {name: device.asarray(p, "float32") for name, p in numbers.items()}
    x, delta = rng.normal(size=(3, time, 2)), rng.normal(size=(3, *output_shape))
    return parameters, device.asarray(x, "float32"), device.asarray(delta, "float32")


@pytest.mark.parametrize("reverse", [False, True])
def test_the_sums_of_a_loop(device, reverse):
    xp = device.xp
    x = device.asarray(np.arange(6.0).reshape(2, 3), "float32")
    zero = device.asarray(np.zeros(2), "float32")
    total, sums, kept = scan(lambda s, x, _: (s + x, s + x, x), zero, x, reverse=reverse, xp=xp)
    host = np.arange(6.0).reshape(2, 3)
    expected = np.cumsum(host[:, ::-1], axis=1)[:, ::-1] if reverse else np.cumsum(host, axis=1)
    assert np.array_equal(device.to_numpy(sums), expected)
    assert np.array_equal(device.to_numpy(total), host.sum(axis=1))
    _, again, _ = scan(lambda s, x, k: (s, k, None), zero, x, kept=kept, reverse=reverse, xp=xp)
    assert np.array_equal(device.to_numpy(again), host)


def test_the_compiled_step_does_not_grow_with_the_time():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    device, layer = bp.device("jax:cpu"), bp.LSTM(3)
    sizes = {
        len(str(jax.make_jaxpr(forward_and_backward(layer, device))(*arrays(layer, time, device))))
        // 100
        for time in (20, 90)
    }
    assert len(sizes) == 1


def test_a_backward_is_compiled_by_itself():
    """Forward operation by operation, backward under jax.jit: it gets what the Python loop kept."""
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    device, layer = bp.device("jax:cpu"), bp.GRU(2)
    parameters, x, delta = arrays(layer, 3, device)
    _, backward = layer.forward(parameters, x, bp.Context(device.xp, None, training=True))
    expected, _ = backward(delta)
    dx = jax.jit(lambda delta: backward(delta)[0])(delta)
    np.testing.assert_allclose(np.asarray(dx), np.asarray(expected), atol=1e-6)
