"""Covers: losses that use the samples x, and losses whose targets are shaped unlike the outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.testing import check, own_cases

RNG = np.random.default_rng(5)
X, T = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 1))


@dataclass(frozen=True)
class Spring(bp.Loss):
    """½ (y₁ − t)² + ½ (y₂ + k y₁)²: position against data, force against Hooke's law, k = x₁."""

    uses_inputs: ClassVar[bool] = True

    def target_shape(self, y):
        return (y[0], 1)

    def per_sample(self, y, t, ctx):
        xp, k = ctx.xp, ctx.x[:, :1]
        error, residual = y[:, :1] - t, y[:, 1:] + k * y[:, :1]

        def derivative(c):
            return xp.concat([c * (error + k * residual), c * residual], axis=1)

        return xp.sum(0.5 * (error * error + residual * residual), axis=1), derivative


def model_on(device, net=None):
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(2)) if net is None else net
    return bp.Model(net, 2, device=device, dtype="float64", seed=1)


def value_of(model, x=X, t=T):
    y = model.predict(x)
    return np.mean(0.5 * (y[:, :1] - t) ** 2 + 0.5 * (y[:, 1:] + x[:, :1] * y[:, :1]) ** 2)


def test_a_loss_with_an_input_trains_alike_on_every_device(device):
    """In fit, Trainer and gradients by hand; recorded, compiled and captured."""
    model, expected, by_hand = model_on(device), model_on("cpu"), model_on("cpu")
    options = {"loss": Spring(), "epochs": 3, "batch_size": 20, "shuffle": False}
    history = bp.fit(model, X, T, optimizer=bp.SGD(0.1), validation=(X, T), **options)
    bp.fit(expected, X, T[:, 0], optimizer=bp.SGD(0.1), compiled=False, **options)
    optimizer = bp.SGD(0.1)
    for _ in range(3):
        for rows in (slice(0, 20), slice(20, 40)):
            _, gradients = by_hand.gradients(X[rows], T[rows], Spring())
            by_hand.update(optimizer, gradients)
    assert history["val_loss"][-1] == pytest.approx(value_of(model), rel=1e-12)
    assert history.not_compiled == ""
    for name, right in expected.host_parameters().items():
        np.testing.assert_allclose(model.host_parameters()[name], right, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(by_hand.host_parameters()[name], right, rtol=1e-13, atol=1e-15)


def test_the_gradient_of_such_a_loss_is_the_slope(device):
    model = model_on(device)
    _, gradients = model.gradients(X, T, Spring())
    w, h = model.host_parameters()["2.weight"], 1e-6
    sides = []
    for step in (h, -h):
        moved = w.copy()
        moved[1, 0] += step
        model.set_parameters({"2.weight": moved})
        sides.append(value_of(model))
    slope = model.device.to_numpy(gradients["2.weight"])[1, 0]
    assert slope == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=1e-7)


def test_such_a_loss_among_several():
    net = bp.Sequential(bp.Parallel(spring=bp.Linear(2), other=bp.Linear(1)))
    loss = bp.CombinedLoss({"spring": Spring(), "other": bp.L2Loss()})
    assert loss.uses_inputs
    targets = {"spring": T, "other": T}
    scores = bp.evaluate(model_on("cpu", net), X, targets, loss=loss)
    assert scores["loss"] == pytest.approx(scores["spring_loss"] + scores["other_loss"])


def test_without_samples_and_with_metrics_of_another_shape_one_line_says_so():
    with pytest.raises(bp.InputError, match=r"Spring\(ctx=\): expected the samples of the batch"):
        Spring().forward(np.ones((3, 2)), np.ones((3, 1)), bp.Context(np))
    with pytest.raises(bp.InputError, match=r"R2: expected targets of the shape of the outputs"):
        bp.evaluate(model_on("cpu"), X, T, loss=Spring(), metrics=[bp.R2()])
    with pytest.raises(bp.InputError, match=r"expected shape \(40, 1\) for outputs of shape"):
        bp.evaluate(model_on("cpu"), X, np.ones((40, 2)), loss=Spring())


@dataclass(frozen=True)
class PositionR2(bp.Metric):
    """A metric of a part of the outputs, which the loss's targets are for."""

    name: ClassVar[str] = "position_r2"

    def sums(self, y, t, ctx):
        return bp.R2().sums(y[:, :1], t, ctx)

    def merge(self, total, sums, xp):
        return bp.R2().merge(total, sums, xp)

    def value(self, sums):
        return bp.R2().value(sums)


def test_a_metric_of_a_part_of_the_outputs():
    model = model_on("cpu")
    score = bp.evaluate(model, X, T, loss=Spring(), metrics=[PositionR2()])["position_r2"]
    residual = model.predict(X)[:, :1] - T
    assert score == pytest.approx(1 - np.sum(residual**2) / np.sum((T - T.mean()) ** 2))


# -- the check ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WrongSpring(Spring):
    """Forgets the input in the derivative."""

    def per_sample(self, y, t, ctx):
        losses, _ = super().per_sample(y, t, ctx)
        residual = y[:, 1:] + ctx.x[:, :1] * y[:, :1]
        return losses, lambda c: ctx.xp.concat([c * (y[:, :1] - t), c * residual], axis=1)


def normal(generator, shape):
    return generator.normal(size=shape)


def test_check_draws_samples_and_targets():
    devices = ["cpu", "strict:device1", "torch:cpu", "jax:cpu"]
    report = check(Spring(), input_shape=2, sample_shape=3, targets=normal, devices=devices)
    assert report.ok, report


def test_check_finds_a_derivative_that_forgets_the_input():
    report = check(WrongSpring(), input_shape=2, sample_shape=3, devices=["cpu"])
    assert any("dy is" in d.message and "central" in d.message for d in report.disagreements)


@dataclass(frozen=True)
class Extra(bp.Loss):
    """Targets of one more column than the outputs, which only `check_shapes` knows."""

    def check_shapes(self, y, t):
        if t != (y[0], y[1] + 1):
            raise ValueError((y, t))

    def per_sample(self, y, t, ctx):
        r = y - t[:, 1:]
        return ctx.xp.sum(r * r, axis=1), lambda c: 2.0 * c * r


def test_check_of_targets_of_another_shape_than_the_loss_declares():
    with pytest.raises(bp.InputError, match=r"do not fit: .*; pass target_shape=, or targets="):
        check(Extra(), input_shape=3)
    assert check(Extra(), input_shape=3, target_shape=4, devices=["cpu"]).ok
    function = {"targets": lambda generator, shape: generator.normal(size=(shape[0], 4))}
    case = own_cases([Extra()], 3, **function)[0]
    assert case.inputs()["t"].shape == (5, 4) and np.ptp(case.inputs()["t"]) > 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 3}, r"targets=\): expected a function"),
        ({"targets": lambda g, s: 1 / 0}, r"targets\(generator, \(3, 1\)\) raised ZeroDivision"),
        ({"targets": lambda g, s: np.ones((7, 1))}, r"expected shape \(batch, ...\)"),
        ({"target_shape": 0}, r"check\(target_shape=\): expected positive integers"),
        ({"sample_shape": None}, r"check\(Spring\): expected sample_shape="),
    ],
)
def test_check_refuses_what_does_not_fit(options, message):
    with pytest.raises(bp.InputError, match=message):
        check(Spring(), input_shape=2, devices=["cpu"], **{"sample_shape": 3, **options})
    with pytest.raises(bp.InputError, match="expected a loss among the components"):
        check(bp.Tanh(), input_shape=2, target_shape=1)
