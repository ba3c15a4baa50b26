"""Covers: the function that L-BFGS minimizes: its gradient belongs to its value."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import neural_network

import bp_arrays as bp
from bp_arrays.data import Batches
from bp_arrays.estimators import _lbfgs as lbfgs
from bp_arrays.estimators._samples import has_dtype
from bp_arrays.inputs import BatchSpec

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(9, 4))
WEIGHT = np.random.default_rng(1).uniform(0.1, 2.0, 9)
LABELS = np.random.default_rng(2).integers(0, 2, (9, 3))
SEVERAL = np.random.default_rng(3).normal(size=(9, 3))
SHARES = np.abs(SEVERAL) / np.abs(SEVERAL).sum(axis=1, keepdims=True)

CASES = [
    (bp.MLPClassifier, "log_loss", np.arange(9) % 2),
    (bp.MLPClassifier, "log_loss", np.arange(9) % 3),
    (bp.MLPClassifier, "log_loss", LABELS),
    (bp.MLPClassifier, "mean-squared-error", np.arange(9) % 3),
    (bp.MLPClassifier, "binary-cross-entropy", LABELS),
    (bp.MLPClassifier, bp.CrossEntropy(0.1, (1.0, 3.0)), np.arange(9) % 2),
    (bp.MLPRegressor, "squared_error", SEVERAL[:, 0]),
    (bp.MLPRegressor, "squared_error", SEVERAL),
    (bp.MLPRegressor, "poisson", np.abs(SEVERAL).round()),
    (bp.MLPRegressor, bp.Huber(0.5), SEVERAL),
    (bp.MLPRegressor, bp.L2Loss(reduction="sum"), SEVERAL),
    (bp.MLPRegressor, "cross-entropy", SHARES),
]


def function_of(estimator, y, weight=None):
    """The function that is minimised, and the parameters the estimator came to."""
    network = estimator._network
    objective, targets, _ = estimator._objective_for(y)
    model, penalty = network.model, bp.L2Penalty(estimator.alpha)
    batches = Batches(X, targets, weight).feed(BatchSpec.of(model, objective.loss))
    return lbfgs.value_and_gradient(model, batches, objective.loss, penalty), model.vector.copy()


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu", "gelu"])
@pytest.mark.parametrize(("kind", "loss", "y"), CASES)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_gradient_is_the_slope_of_the_value(kind, loss, y, activation, weight):
    estimator = kind(
        hidden_layer_sizes=5, activation=activation, loss=loss, solver="lbfgs", alpha=0.3,
        max_iter=1, random_state=0,
    ).fit(X, y)  # fmt: skip
    function, theta = function_of(estimator, y, weight)
    value, gradient = function(theta)
    assert np.isfinite(value)
    step = 1e-6 * np.eye(len(theta))
    slopes = [(function(theta + e)[0] - function(theta - e)[0]) / 2e-6 for e in step]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-7)
    assert np.abs(gradient).max() > 1e-3


def test_a_data_set_in_parts_is_the_same_function(monkeypatch):
    estimator = bp.MLPClassifier(5, solver="lbfgs", max_iter=1, random_state=0)
    function, theta = function_of(estimator.fit(X, LABELS), LABELS, WEIGHT)
    value, gradient = function(theta)
    monkeypatch.setattr(lbfgs, "VALUES_AT_ONCE", 8)  # two rows at once, and one that is left
    function, _ = function_of(estimator, LABELS, WEIGHT)
    in_parts, its_gradient = function(theta)
    assert in_parts == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(its_gradient, gradient, rtol=1e-11)


def test_several_outputs_reach_a_lower_loss_than_with_a_gradient_of_another_function():
    """scikit-learn's gradient is three times that of its loss here, and line searches fail."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = np.tanh(x @ rng.normal(size=(5, 3))) @ rng.normal(size=(3, 3))
    losses = []
    for module in (bp, neural_network):
        errors = []
        for seed in range(3):
            regressor = module.MLPRegressor(
                hidden_layer_sizes=10, solver="lbfgs", alpha=0.0, max_iter=300, tol=1e-8,
                random_state=seed,
            ).fit(x, y)  # fmt: skip
            errors.append(((regressor.predict(x) - y) ** 2).mean())
        losses.append(np.median(errors))
    assert losses[0] < losses[1]


def test_every_device_reaches_the_same_weights(device):
    settings = {"hidden_layer_sizes": 5, "solver": "lbfgs", "max_iter": 20, "random_state": 0}
    x = X if has_dtype(device, "float64") else X.astype("float32")
    here = bp.MLPRegressor(**settings).fit(x, SEVERAL)
    there = bp.MLPRegressor(**settings, device=device).fit(x, SEVERAL)
    for mine, others in zip(here.coefs_, there.coefs_, strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-6 if x is X else 0.1)
    assert type(there.coefs_[0]) is np.ndarray
