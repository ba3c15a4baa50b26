"""The penalty on large weights: its value, its gradient, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(3)
X, T = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
NET = bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Linear(2))


def step(device, *, penalty, weight=None, loss=None):
    """The parameters before and after one step of plain descent at the rate 1, and the loss."""
    model = bp.Model(NET, input_shape=(4,), device=device, dtype="float64", seed=1)
    before = model.host_parameters()
    history = bp.fit(
        model,
        X,
        T,
        loss=loss or bp.L2Loss(),
        optimizer=bp.SGD(1.0),
        batch_size=6,
        sample_weight=weight,
        penalty=penalty,
        shuffle=False,
    )
    return before, model.host_parameters(), history["loss"][0]


@pytest.mark.parametrize(
    ("weight", "reduction", "total"),
    [
        (None, "mean", 6.0),
        ([1.0, 2.0, 0.0, 1.0, 0.5, 3.0], "mean", 7.5),
        (None, "sum", 1.0),
    ],
)
def test_value_and_gradient_are_of_one_function(device, weight, reduction, total):
    loss = bp.L2Loss(reduction=reduction)
    alpha = 0.3
    before, plain, value = step(device, penalty=None, weight=weight, loss=loss)
    _, moved, penalised = step(device, penalty=bp.L2Penalty(alpha), weight=weight, loss=loss)
    squares = sum(np.sum(w * w) for name, w in before.items() if name.endswith("weight"))
    assert penalised - value == pytest.approx(0.5 * alpha * squares / total, rel=1e-12)
    for name, w in before.items():
        expected = alpha * w / total if name.endswith("weight") else 0.0 * w
        np.testing.assert_allclose(plain[name] - moved[name], expected, atol=1e-13)


def test_a_batch_without_weight_does_not_divide_by_zero():
    model = bp.Model(NET, input_shape=(4,), device="cpu")
    weight = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    history = bp.fit(
        model,
        X,
        T,
        loss=bp.L2Loss(),
        optimizer=bp.SGD(0.1),
        batch_size=2,
        shuffle=False,
        sample_weight=weight,
        penalty=bp.L2Penalty(0.1),
    )
    assert np.isfinite(history["loss"][0])


def test_a_negative_strength_is_refused():
    with pytest.raises(bp.InputError, match="strength"):
        bp.L2Penalty(-1.0)


def test_the_penalty_of_a_model_in_float16_does_not_overflow():
    model = bp.Model(bp.Linear(300, bias=False), 300, device="cpu", dtype="float16")
    theta = np.full(90_000, 30.0, np.float16)
    value, gradient = bp.L2Penalty(1e-3).on(model)(theta, 64.0, model.device.xp)
    assert float(value) == pytest.approx(0.5e-3 * 90_000 * 900 / 64, rel=1e-5)
    assert gradient.dtype == np.float16
    np.testing.assert_allclose(gradient, 1e-3 * 30 / 64, rtol=1e-3)
