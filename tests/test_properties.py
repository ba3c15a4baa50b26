"""Covers: what holds for every layer, loss, metric, optimizer and estimator, whatever the numbers.

The rows of a batch do not see each other, a weight of two is the sample twice, a class that nobody
has costs nothing, and finite numbers stay finite. Hypothesis chooses the numbers, always the same.
"""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.activations import ACTIVATIONS
from bp_arrays.layers import Context
from bp_arrays.losses import LOSSES as NAMED_LOSSES
from bp_arrays.optimizers import OPTIMIZERS

pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies as st

few = settings(max_examples=20, derandomize=True, deadline=None, database=None)
"""The same examples in every run, and nothing written."""

OUTPUTS = 3
SEEDS, ROWS = st.integers(0, 10**6), st.integers(1, 7)
SCALES = st.sampled_from([1e-6, 1.0, 1e3])

LAYERS = {name: kind() for name, kind in ACTIVATIONS.items()} | {
    "Linear": bp.Linear(OUTPUTS),
    "Standardize": bp.Standardize(),
    "Residual": bp.Residual(bp.Linear(OUTPUTS), bp.Tanh()),
    "Sequential": bp.Sequential(bp.Linear(4), bp.GELU(), bp.Dropout(0.5), bp.Linear(OUTPUTS)),
}
NET = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(OUTPUTS))


def model_of(layer, seed=0):
    return bp.Model(layer, OUTPUTS, device="cpu", dtype="float64", seed=seed)


FURTHER = (
    bp.Hinge, bp.SquaredHinge, bp.MultiMargin, bp.KLDivergence, bp.PoissonNLL, bp.CosineSimilarity,
)  # fmt: skip
LOSSES = NAMED_LOSSES | {kind.__name__: kind for kind in FURTHER}


def targets(loss, rng, rows):
    """Targets of any kind that the loss takes."""
    if loss.takes_classes:
        return rng.integers(0, OUTPUTS, rows)
    if isinstance(loss, (bp.BinaryCrossEntropy, bp.Hinge, bp.SquaredHinge)):
        return rng.integers(0, 2, (rows, OUTPUTS)).astype(float)
    if loss.targets_sum_to_one:
        return rng.dirichlet(np.ones(OUTPUTS), rows)
    if loss.target_range is not None:
        return rng.poisson(2.0, (rows, OUTPUTS)).astype(float)
    return rng.normal(size=(rows, OUTPUTS))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def gradient(model, x, t, loss, weight=None):
    value, gradients = model.gradients(x, t, loss, sample_weight=weight)
    return float(value), np.concatenate([np.ravel(g) for g in gradients.values()])


@pytest.mark.parametrize("name", LAYERS)
@given(SEEDS, ROWS, SCALES)
@few
def test_the_rows_of_a_batch_do_not_see_each_other(name, seed, rows, scale):
    rng = np.random.default_rng(seed)
    model, x = model_of(LAYERS[name]), scale * rng.normal(size=(rows, OUTPUTS))
    delta, order = rng.normal(size=(rows, OUTPUTS)), rng.permutation(rows)
    y, backward = model.forward(x)
    dx, gradients = backward(delta)
    for part in (order, order[:1]):
        y_part, backward = model.forward(x[part])
        dx_part, part_gradients = backward(delta[part])
        close(y_part, y[part])
        close(dx_part, dx[part])
    alone = [model.forward(x[[k]])[1](delta[[k]])[1] for k in range(rows)]
    for key, value in gradients.items():
        close(value, sum(each[key] for each in alone))
    assert part_gradients.keys() == gradients.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(st.lists(st.floats(-1e300, 1e300), min_size=OUTPUTS, max_size=OUTPUTS))
@few
def test_finite_numbers_stay_finite_in_every_activation(name, values):
    y, backward = model_of(ACTIVATIONS[name]()).forward([values])
    assert np.isfinite(y).all() and np.isfinite(backward(np.ones_like(y))[0]).all()


@pytest.mark.parametrize("name", LOSSES)
@given(st.lists(st.floats(-1e150, 1e150), min_size=OUTPUTS, max_size=OUTPUTS), SEEDS)
@few
def test_finite_outputs_have_a_finite_loss(name, values, seed):
    loss, y = LOSSES[name](), np.array([values])
    if name == "PoissonNLL":
        y = y / 1e150 * 700.0  # its rate is eʸ
    t = targets(loss, np.random.default_rng(seed), 1)
    value, backward = loss.forward(y, t, Context(np))
    assert np.isfinite(value) and np.isfinite(backward()).all()
    assert value >= -1e-15 or name == "PoissonNLL"  # without log t! it may be negative


@given(st.lists(st.floats(-1e150, 1e150), min_size=4, max_size=4), SEEDS)
@few
def test_means_and_variances_of_any_size_have_a_finite_loss(values, seed):
    t = np.random.default_rng(seed).normal(size=(1, 2))
    value, backward = bp.GaussianNLL().forward(np.array([values]), t, Context(np))
    assert np.isfinite(value) and np.isfinite(backward()).all()


ELEMENTWISE = sorted(n for n, kind in LOSSES.items() if issubclass(kind, bp.ElementwiseLoss))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ELEMENTWISE)
@given(SEEDS, st.integers(2, 6), st.integers(1, 4))
@few
def test_targets_that_are_left_out_count_as_if_they_were_not_there(
    name, reduction, seed, rows, time
):
    """By NaN or by weights of positions; what is there may be of any size."""
    rng, loss = np.random.default_rng(seed), LOSSES[name](reduction=reduction)
    y, t = rng.normal(size=(rows, time, OUTPUTS)), targets(loss, rng, rows * time)
    t = t.reshape(y.shape)
    mask = rng.random((rows, time)) < 0.7
    kept = loss.forward(y[mask], t[mask], Context(np)) if mask.any() else (0.0, lambda: 0.0)
    expected = np.zeros(y.shape)
    expected[mask] = kept[1]()
    # a sum has 1/n of the n targets of a sample, of a sequence time times as many
    factor = 1.0 if name == "L2Loss" else 1.0 / time
    factor = factor if reduction == "sum" else time if name == "L2Loss" else 1.0
    y[~mask] = 1e200
    gone = np.where(mask[..., None], t, np.nan)
    ignoring = LOSSES[name](reduction=reduction, ignore_nan=True)
    for result in (
        loss.forward(y, t, Context(np), mask.astype(float)),
        ignoring.forward(y, gone, Context(np)),
        ignoring.forward(y, gone, Context(np), np.ones(rows)),
        ignoring.forward(y, gone, Context(np), np.ones((rows, time))),
    ):
        close(result[0], factor * kept[0])
        close(result[1](), factor * expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
@given(SEEDS, st.integers(2, 7), st.floats(0.01, 100.0))
@few
def test_weights_count_like_rows(name, reduction, seed, rows, factor):
    rng, loss = np.random.default_rng(seed), LOSSES[name](reduction=reduction)
    model, x, t = model_of(NET, seed), rng.normal(size=(rows, OUTPUTS)), targets(loss, rng, rows)
    weight, order = rng.random(rows) + 0.1, rng.permutation(rows)
    value, g = gradient(model, x, t, loss, weight)

    def same(*batch, times=1.0):
        other, other_g = gradient(model, *batch[:2], loss, batch[2])
        close(other, times * value)
        close(other_g, times * g)

    same(x[order], t[order], weight[order])
    same(x, t, factor * weight, times=factor if reduction == "sum" else 1.0)
    same(*(np.concatenate([part, part]) for part in (x, t)), np.tile(weight / 2.0, 2))
    same(np.append(x, x[:1], 0), np.append(t, t[:1], 0), np.append(weight, 0.0))
    if reduction == "sum":
        parts = [gradient(model, x[s], t[s], loss, weight[s]) for s in (np.s_[:1], np.s_[1:])]
        close(sum(part[0] for part in parts), value)
        close(sum(part[1] for part in parts), g)


@given(SEEDS, ROWS, st.floats(0.0, 0.9))
@few
def test_a_class_that_nobody_has_and_nothing_predicts_costs_nothing(seed, rows, share):
    rng = np.random.default_rng(seed)
    y, t = 3.0 * rng.normal(size=(rows, OUTPUTS)), rng.integers(0, OUTPUTS, rows)
    wider = np.concatenate([y, np.full((rows, 1), -np.inf)], axis=1)
    weights = tuple(share + rng.random(OUTPUTS))
    for narrow, wide in (
        ({}, {}),
        ({"class_weights": weights}, {"class_weights": (*weights, 1.0)}),
    ):
        value, backward = bp.CrossEntropy(**narrow).forward(y, t, Context(np))
        other, wider_backward = bp.CrossEntropy(**wide).forward(wider, t, Context(np))
        close(other, value)
        close(wider_backward(), np.pad(backward(), ((0, 0), (0, 1))))


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(SEEDS, st.floats(-100.0, 100.0))
@few
def test_an_update_treats_all_parameters_alike_and_keeps_them_finite(name, seed, exponent):
    rng, optimizer = np.random.default_rng(seed), OPTIMIZERS[name]()
    order, theta = rng.permutation(6), rng.normal(size=6)
    state, g = optimizer.init(theta, np), 10.0**exponent * rng.normal(size=6)
    g[0] = 0.0
    moved, other = theta, theta[order]
    states = [state, tuple(part[order] for part in state)]
    for step in (1, 2, 3):
        scalars = optimizer.scalars(step, optimizer.rate(step - 1))
        moved, states[0] = optimizer.update(moved, g, states[0], scalars, np)
        other, states[1] = optimizer.update(other, g[order], states[1], scalars, np)
    np.testing.assert_array_equal(other, moved[order])
    assert np.isfinite(moved).all() and all(np.isfinite(part).all() for part in states[0])


@given(SEEDS, st.floats(-300.0, 300.0), st.floats(1e-3, 1e3))
@few
def test_clipping_shortens_and_keeps_the_direction(seed, exponent, limit):
    g = 10.0**exponent * np.random.default_rng(seed).normal(size=5)
    clipped = bp.ClipByGlobalNorm(limit)(g, g, np)
    largest = np.abs(g).max()
    norm = largest * np.linalg.norm(g / largest)
    close(clipped / np.abs(clipped).max(), g / largest)
    close(np.linalg.norm(clipped), min(norm, limit))


METRICS = {
    "Accuracy": (bp.Accuracy(), bp.CrossEntropy()),
    "BinaryAccuracy": (bp.BinaryAccuracy(), bp.BinaryCrossEntropy()),
    "R2": (bp.R2(), bp.MeanSquaredError()),
}


@pytest.mark.parametrize("name", METRICS)
@given(SEEDS, st.integers(2, 20), st.integers(1, 20))
@few
def test_metrics_do_not_depend_on_batches_or_order(name, seed, rows, batch_size):
    metric, loss = METRICS[name]
    rng, model = np.random.default_rng(seed), model_of(NET, seed)
    x, t, order = rng.normal(size=(rows, OUTPUTS)), targets(loss, rng, rows), rng.permutation(rows)

    def measured(x, t, **options):
        return list(bp.evaluate(model, x, t, loss=loss, metrics=[metric], **options).values())

    close(measured(x, t, batch_size=batch_size), measured(x, t))
    close(measured(x[order], t[order]), measured(x, t))
    close(measured(np.tile(x, (2, 1)), np.concatenate([t, t])), measured(x, t))


@given(SEEDS)
@settings(few, max_examples=3)
def test_the_estimators_count_weights_like_rows(seed):
    estimators = pytest.importorskip("bp_arrays.estimators")
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 2))
    how = {"hidden_layer_sizes": (), "solver": "lbfgs", "max_iter": 500, "tol": 1e-12}
    for kind, t in (("MLPRegressor", x @ [1.0, 2.0]), ("MLPClassifier", x[:, 0] > x[:, 1])):
        estimator = getattr(estimators, kind)(**how, random_state=0, alpha=0.1)
        plain = estimator.fit(x, t).coefs_[0].copy()
        order = rng.permutation(20)
        for rows, weight in (
            (order, np.ones(20)),
            (np.tile(np.arange(20), 2), np.full(40, 0.5)),
            (np.append(np.arange(20), 3), np.append(np.ones(20), 0.0)),
        ):
            again = estimator.fit(x[rows], t[rows], sample_weight=weight).coefs_[0]
            np.testing.assert_allclose(again, plain, rtol=1e-3, atol=1e-4)
