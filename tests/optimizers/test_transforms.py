"""Transforms of the gradient, and the chains they stand in."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.optimizers import SGD, Adam, Chain, ClipByGlobalNorm, WeightDecay
from bp_arrays.schedules import Cosine


def test_empty_vector(device, dtype):
    """A model without trainable parameters."""
    optimizer = Chain(ClipByGlobalNorm(1.0), Adam())
    theta = device.asarray(np.zeros(0), dtype)
    state = optimizer.init(theta, device.xp)
    moved, _ = optimizer.update(theta, theta, state, optimizer.scalars(1, 0.1), device.xp)
    assert moved.shape == (0,)


@pytest.mark.parametrize("scale", [0.0, 1e-40, 1e-30, 1.0, 1e19, 1e30, 1e37])
def test_clipping_at_any_size(device, scale):
    """The squares of 1e30 overflow in float32, those of 1e-30 vanish.

    1e-40 is subnormal: what a device makes of such numbers in any operation, zero on CuPy and JAX,
    is what it makes of them here.
    """
    g = device.asarray(scale * np.asarray([3.0, -4.0, 0.0]), "float32")
    host = device.to_numpy(g * 1.0).astype(np.float64)
    flushes = scale == 1e-40 and device.backend in ("cupy", "jax")
    assert np.any(host != 0.0) == (scale > 0.0 and not flushes)
    norm = np.linalg.norm(host)
    clip = ClipByGlobalNorm(2.5)
    clipped = clip(g, g, device.xp)
    assert clipped.dtype == g.dtype
    expected = host if norm <= 2.5 else host * (2.5 / norm)
    atol = 1e-38 if flushes else 0.0
    np.testing.assert_allclose(device.to_numpy(clipped), expected, rtol=1e-6, atol=atol)


def test_a_short_gradient_is_let_through_bit_for_bit():
    g = np.random.default_rng(0).normal(size=23).astype(np.float32)
    np.testing.assert_array_equal(ClipByGlobalNorm(1e3)(g, g, np), g)


def test_clipping_shows_what_is_not_finite():
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            g = np.asarray([1.0, bad, 2.0])
            assert np.isnan(ClipByGlobalNorm(1.0)(g, g, np)).all()


def test_chain_order_matters():
    clip, decay = ClipByGlobalNorm(1.0), WeightDecay(10.0)
    theta, g = np.ones(2), np.ones(2)
    (after_clip, _) = Chain(clip, decay, SGD(1.0)).update(theta, g, (), (1.0,), np)
    (after_decay, _) = Chain(decay, clip, SGD(1.0)).update(theta, g, (), (1.0,), np)
    np.testing.assert_allclose(after_clip, 1 - (2**-0.5 + 10))
    np.testing.assert_allclose(after_decay, 1 - 2**-0.5)


def test_chain_is_an_optimizer():
    inner = Adam(Cosine(0.1, 10))
    chain = Chain(ClipByGlobalNorm(1.0), Chain(WeightDecay(0.1), inner))
    assert chain.learning_rate is inner.learning_rate
    assert chain.rate(5) == inner.rate(5)
    assert chain.scalars(3, 0.1) == inner.scalars(3, 0.1)
    assert chain == copy.deepcopy(chain)
    assert hash(chain) == hash(copy.deepcopy(chain))
    assert chain != Chain(ClipByGlobalNorm(1.0), inner)
    assert repr(Chain(ClipByGlobalNorm(1.0), SGD(0.5))) == (
        "Chain(ClipByGlobalNorm(max_norm=1.0), "
        "SGD(learning_rate=0.5, momentum=0.0, nesterov=False))"
    )
    assert Chain(SGD(0.5)).rate(0) == 0.5


def test_elementwise():
    assert Adam().elementwise
    assert Chain(WeightDecay(0.1), SGD()).elementwise
    assert not Chain(ClipByGlobalNorm(1.0), SGD()).elementwise
    assert not Chain(WeightDecay(0.1), Chain(ClipByGlobalNorm(1.0), SGD())).elementwise


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ((), "expected an optimizer as the last link"),
        ((WeightDecay(0.1),), "expected an optimizer as the last link"),
        ((SGD(), WeightDecay(0.1)), "expected an optimizer as the last link"),
        ((SGD(), Adam()), "expected transforms before the last link"),
        ((0.1, Adam()), "expected transforms before the last link"),
        ((Adam,), "expected an optimizer as the last link"),
    ],
)
def test_bad_chains(links, message):
    with pytest.raises(InputError, match=message):
        Chain(*links)
