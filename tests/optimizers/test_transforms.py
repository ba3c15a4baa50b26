"""Transforms of the gradient, and the chains they stand in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError
from bp_arrays.optimizers import SGD, Adam, Chain, ClipByGlobalNorm, Transform, WeightDecay
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


@dataclass(frozen=True)
class Trace(Transform):
    """b ← μ b + g, which makes SGD one with momentum."""

    mu: float
    states: ClassVar[int] = 1

    def update(self, g, theta, state, scalars, xp):
        b = self.mu * state[0] + g
        return b, (b,)


@dataclass(frozen=True)
class Centered(Transform):
    """g minus its running mean, corrected for the start; the second state counts updates."""

    states: ClassVar[int] = 2

    def scalars(self, step):
        return 1.0 / (1.0 - 0.5**step), float(step)

    def update(self, g, theta, state, scalars, xp):
        mean = 0.5 * state[0] + 0.5 * g
        return g - scalars[0] * mean, (mean, state[1] + scalars[1])


def fit(optimizer, device, epochs=2, dtype="float64", **settings):
    x = np.linspace(-1.0, 1.0, 24).reshape(8, 3)
    model = bp.Model(bp.Linear(2), 3, device=device, dtype=dtype, seed=0)
    settings = {"batch_size": 3} | settings
    bp.fit(
        model, x, x[:, :2] ** 2, loss=bp.L2Loss(), optimizer=optimizer, epochs=epochs, **settings
    )
    return model


def test_a_transform_with_state_in_a_chain(device):
    chained = fit(Chain(Trace(0.9), SGD(0.1)), device, dtype="float32")
    built_in = fit(SGD(0.1, momentum=0.9), device, dtype="float32")
    ours, theirs = (m.device.to_numpy(m.vector) for m in (chained, built_in))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    [b] = chained.training_state.vectors
    assert chained.device.to_numpy(b).any()


def test_states_and_scalars_of_several_links():
    chain = Chain(Centered(), WeightDecay(0.1), Chain(Trace(0.5), Adam(0.1)))
    theta, rng = np.array([1.0, -2.0]), np.random.default_rng(0)
    state = chain.init(theta, np)
    assert len(state) == 5
    adam, expected, inner = Adam(0.1), theta, (np.zeros(2), np.zeros(2))
    mean = b = np.zeros(2)
    for step in (1, 2, 3):
        g = rng.normal(size=2)
        theta, state = chain.update(theta, g, state, chain.scalars(step, 0.1), np)
        mean = (mean + g) / 2
        b = b / 2 + g - mean / (1 - 0.5**step) + 0.1 * expected
        expected, inner = adam.update(expected, b, inner, adam.scalars(step, 0.1), np)
        np.testing.assert_allclose(theta, expected, rtol=1e-12)
    np.testing.assert_allclose(state[1], 6.0)
    np.testing.assert_allclose(state[2], b)


def test_checkpoints_keep_the_state_of_a_transform(tmp_path):
    def optimizer():
        return bp.EMA(Chain(Centered(), Trace(0.9), SGD(0.1)), decay=0.5)

    fit(optimizer(), "cpu", 1, checkpoint=tmp_path)
    resumed, whole = fit(optimizer(), "cpu", 3, resume=tmp_path), fit(optimizer(), "cpu", 3)
    np.testing.assert_array_equal(resumed.vector, whole.vector)


def test_state_in_half_precision_is_float32():
    chain = Chain(Trace(0.9), SGD(0.1))
    theta = np.ones(2, np.float16)
    state = chain.init(theta, np)
    theta, state = chain.update(theta, theta, state, (0.1,), np)
    assert (theta.dtype, state[0].dtype) == (np.float16, np.float32)


@dataclass(frozen=True)
class Nothing(Transform):
    """Defines no function."""


@dataclass(frozen=True)
class WithoutUpdate(Transform):
    """Has a state that no update changes."""

    states: ClassVar[int] = 1

    def __call__(self, g, theta, xp):
        return g


@dataclass(frozen=True)
class WrongNumber(Trace):
    """Says that its state is two vectors, and has one."""

    states: ClassVar[int] = 2

    def init(self, theta, xp):
        return (theta,)


def test_bad_transforms():
    with pytest.raises(InputError, match="expected a transform that defines update, or __call__"):
        Chain(Nothing(), SGD())
    with pytest.raises(InputError, match="expected a transform with states that defines update"):
        Chain(WithoutUpdate(), SGD())
    with pytest.raises(InputError, match=r"WrongNumber.init: expected 2 arrays, .* got 1"):
        Chain(WrongNumber(0.5), SGD()).init(np.ones(2), np)
