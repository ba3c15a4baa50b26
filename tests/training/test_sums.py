"""Covers: sums over an epoch, of losses, weights and metrics, for any dtype and number of rows."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.training._evaluate import Totals

MSE = bp.MeanSquaredError()


def identity(outputs, device, precision="float32"):
    return bp.Model(bp.Identity(), outputs, device=device, dtype=precision)


def r2_of(y, t, device, precision="float32", batch_size=32):
    metrics = [bp.R2()]
    model = identity(y.shape[1], device, precision)
    return bp.evaluate(model, y, t, loss=MSE, metrics=metrics, batch_size=batch_size)["r2"]


@pytest.mark.parametrize(("mean", "std"), [(1998, 11), (10_000, 1), (-3e6, 2)])
def test_r2_far_from_zero_is_that_of_scikit_learn(device, mean, std):
    scores = pytest.importorskip("sklearn.metrics", reason="witness scikit-learn is missing")
    rng = np.random.default_rng(0)
    t = (mean + std * rng.normal(size=(500, 2))).astype(np.float32)
    y = (t + 0.5 * std * rng.normal(size=(500, 2))).astype(np.float32)
    expected = scores.r2_score(t.astype(float), y.astype(float))
    assert r2_of(y, t, device) == pytest.approx(expected, rel=1e-6)
    assert r2_of(y, t, device, batch_size=500) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("constant", [5.5, 0.1, 1e6 + 0.3, 0.0])
@pytest.mark.parametrize("off", [0.0, 0.25])
def test_r2_of_equal_targets_is_that_of_scikit_learn(device, dtype, constant, off):
    scores = pytest.importorskip("sklearn.metrics", reason="witness scikit-learn is missing")
    t = np.full((60, 1), constant)
    expected = scores.r2_score(np.ones(60), np.ones(60) + off)
    assert r2_of(t + off, t, device, dtype, batch_size=7) == expected == (off == 0.0)


def test_the_sums_of_a_custom_metric_are_merged_in_float64(device):
    class Largest(bp.Metric):
        name = "largest"

        def sums(self, y, t, ctx, weight=None):
            return ctx.xp.max(y), ctx.xp.sum(ctx.xp.astype(y > 0.5, ctx.xp.int32))

        def merge(self, total, sums, xp):
            assert all(each.dtype == xp.float64 for each in (*total, *sums))
            return xp.maximum(total[0], sums[0]), total[1] + sums[1]

        def value(self, sums):
            return float(sums[0] + 10 * sums[1])

    y = np.arange(6.0).reshape(6, 1)
    result = bp.evaluate(identity(1, device), y, y, loss=MSE, metrics=[Largest()], batch_size=2)
    assert result["largest"] == 55.0


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_targets_of_weight_zero_do_not_enter_r2(device, batch_size):
    scores = pytest.importorskip("sklearn.metrics", reason="witness scikit-learn is missing")
    filler = -1e30
    t = np.array([[filler], [filler], [1.0], [2.0], [3.0], [filler], [filler], [4.0]])
    y = np.array([[0.0], [filler], [1.1], [2.1], [3.1], [filler], [0.0], [4.1]])
    weight = [0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 0.0, 1.0]
    counted = np.flatnonzero(weight)
    expected = scores.r2_score(t[counted], y[counted], sample_weight=np.take(weight, counted))
    data = y, t, weight
    batches = [tuple(a[k : k + batch_size] for a in data) for k in range(0, 8, batch_size)]
    loss, model = bp.MeanAbsoluteError(), identity(1, device)
    r2 = bp.evaluate(model, batches, loss=loss, metrics=[bp.R2()])["r2"]
    assert r2 == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1024, 70_000])
@pytest.mark.parametrize("name", ["cpu", "torch:cpu", "jax:cpu"])
def test_seventy_thousand_rows_in_float16(name, batch_size):
    device = bp.device(name)
    if not device.availability().usable:
        pytest.skip(f"{name} is not installed")
    rows, t = np.tile([[1.0, 0.0]], (70_000, 1)), np.zeros(70_000, int)
    result = bp.evaluate(
        identity(2, device, "float16"), rows, t, loss=bp.CrossEntropy(), metrics=[bp.Accuracy()],
        batch_size=batch_size,
    )  # fmt: skip
    assert result == {"loss": pytest.approx(np.log1p(np.exp(-1.0)), rel=1e-6), "accuracy": 1.0}


@pytest.mark.parametrize("compiled", [True, False])
def test_the_history_of_a_model_in_float16(compiled):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2)).astype(np.float16)
    t = x[:, :1].astype(float) > 0
    model = bp.Model(bp.Linear(1), 2, device="cpu", dtype="float16", seed=0)
    history = bp.fit(
        model, x, t, loss=bp.BinaryCrossEntropy(), optimizer=bp.SGD(1e-8), batch_size=2500,
        metrics=[bp.BinaryAccuracy()], compiled=compiled,
    )  # fmt: skip
    y = np.float64(model.predict(x))
    assert history["accuracy"] == [((y > 0) == t).mean()]
    expected = (np.logaddexp(0.0, y) - t * y).mean()
    assert history["loss"] == [pytest.approx(expected, rel=1e-6)]


def test_weights_and_losses_beyond_the_digits_of_float32(device):
    totals, many = Totals(MSE, (), device), 2.0**25
    for size, count in ((many, 1), (1.0, 1000)):
        number = device.asarray(np.asarray(size), "float32")
        for _ in range(count):
            totals.add(number * 0.5, number, ())
    assert totals.values() == {"loss": 0.5}
    halves = Totals(MSE, (), device)
    halves.add(device.asarray(np.asarray(many), "float32"), many, ())
    for _ in range(1000):
        halves.add(device.asarray(np.asarray(1.0), "float32"), 1.0, ())
    assert halves.values() == {"loss": 1.0}


def test_five_million_rows_of_float32():
    rows = np.broadcast_to(np.float32(0.1), (5_000_000, 1))
    result = bp.evaluate(
        identity(1, "cpu"), rows, np.zeros((5_000_000, 1)), loss=bp.MeanAbsoluteError(),
        batch_size=50_000,
    )  # fmt: skip
    assert result["loss"] == pytest.approx(float(np.float32(0.1)), rel=1e-7)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_merge_may_return_one_of_its_arguments(device, dtype, compiled):
    class OutputsOfLargest(bp.Metric):
        """The first output of the batch with the largest sum."""

        name = "largest"

        def check_targets(self, t, output_shape, loss):
            pass

        def sums(self, y, t, ctx, weight=None):
            return ctx.xp.sum(y), 1.0 * y[0, ...]

        def merge(self, total, sums, xp):
            return sums if float(sums[0]) > float(total[0]) else total

        def value(self, sums):
            return float(sums[1][0])

    x = np.array([0.0, 1.0, 7.0, 2.0, 3.0, 4.0, 5.0, 1.0])[:, None]
    model = bp.Model(bp.Linear(1, bias=False), 1, device=device, dtype=dtype)
    model.set_parameters({"weight": np.ones((1, 1))})
    options = {"optimizer": bp.SGD(1e-30), "batch_size": 2, "shuffle": False, "loss": MSE}
    metrics = [OutputsOfLargest()]
    history = bp.fit(model, x, x + 1.0, metrics=metrics, compiled=compiled, **options)
    assert history["largest"] == [7.0]
