"""Covers: SequentialRegressor and SequentialClassifier with an Ensemble as their net."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

import bp_arrays as bp

RNG = np.random.default_rng(4)
X = RNG.normal(size=(120, 3))
Y = X[:, 0] - np.abs(X[:, 1])
HIDDEN = bp.Sequential(bp.Linear(8), bp.Tanh())


def members_of(estimator, X):
    return estimator.model_.predict(X)


def test_a_regressor_predicts_mean_and_standard_deviation(tmp_path):
    net = bp.Sequential(bp.Linear(3), bp.Ensemble(HIDDEN, 4))
    regressor = bp.SequentialRegressor(net, epochs=60, optimizer=bp.Adam(0.02), random_state=0)
    regressor.fit(X, Y)
    members = members_of(regressor, X)
    assert members.shape == (120, 4, 1) and regressor.n_outputs_ == 1
    mean, std = regressor.predict(X, return_std=True)
    np.testing.assert_allclose(mean, members.mean(axis=1)[:, 0])
    np.testing.assert_allclose(std, members.std(axis=1)[:, 0])
    np.testing.assert_array_equal(regressor.predict(X), mean)
    assert regressor.score(X, Y) > 0.8
    assert cross_val_score(clone(regressor), X, Y, cv=2).min() > 0.5
    bp.save_estimator(regressor, tmp_path / "r.safetensors")
    again = bp.load_estimator(tmp_path / "r.safetensors")
    np.testing.assert_array_equal(again.predict(X, return_std=True)[1], std)
    again.partial_fit(X, Y)
    regressor.partial_fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), regressor.predict(X))
    with pytest.raises(bp.InputError, match="without Ensemble"):
        bp.to_onnx(regressor, tmp_path / "r.onnx")


def test_two_values_and_counts():
    several = np.stack([Y, X[:, 2]], axis=1)
    net = bp.Ensemble(bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(2)), 3)
    regressor = bp.SequentialRegressor(net, epochs=3, early_stopping=True, random_state=0)
    mean, std = regressor.fit(X, several).predict(X, return_std=True)
    assert mean.shape == std.shape == (120, 2) and (std > 0.0).all()
    counts = bp.SequentialRegressor(bp.Ensemble(HIDDEN, 3), loss="poisson", epochs=3)
    rates = np.exp(members_of(counts.fit(X, np.round(np.exp(X[:, 0]))), X))
    np.testing.assert_allclose(counts.predict(X), rates.mean(axis=1)[:, 0])


@pytest.mark.parametrize("kind", ["two", "two logits", "three", "labels"])
def test_a_classifier_averages_probabilities(kind):
    y = {"three": np.digitize(Y, [-1.0, 0.0]), "labels": X[:, :2] > 0.0}.get(kind, Y > -0.5)
    net = bp.Ensemble(bp.Sequential(*HIDDEN.layers, bp.Linear(2)), 3)
    net = net if kind == "two logits" else bp.Ensemble(HIDDEN, 3)
    classifier = bp.SequentialClassifier(
        net, epochs=30, optimizer=bp.Adam(0.03), early_stopping=kind == "three", random_state=0
    )
    classifier.fit(X, y)
    logits = members_of(classifier, X)
    if kind in ("two", "labels"):
        p = (1.0 / (1.0 + np.exp(-logits))).mean(axis=1)
        p = np.hstack([1.0 - p, p]) if kind == "two" else p
    else:
        p = (np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(classifier.predict_proba(X), p, rtol=1e-10)
    expected = p > 0.5 if kind == "labels" else classifier.classes_[p.argmax(axis=1)]
    np.testing.assert_array_equal(classifier.predict(X), expected)
    assert classifier.score(X, y) > 0.65


def test_what_is_no_ensemble_has_no_standard_deviation():
    regressor = bp.SequentialRegressor(HIDDEN, epochs=1).fit(X, Y)
    with pytest.raises(bp.InputError, match=r"return_std=True\): expected a net that ends in an E"):
        regressor.predict(X, return_std=True)
    with pytest.raises(bp.InputError, match=r"\(1,\) for such y, got \(2,\)"):
        bp.SequentialRegressor(bp.Ensemble(bp.Linear(2), 3), epochs=1).fit(X, Y)
    with pytest.raises(bp.InputError, match="the net ends in Softmax"):
        net = bp.Ensemble(bp.Sequential(bp.Linear(2), bp.Softmax()), 3)
        bp.SequentialClassifier(net, epochs=1).fit(X, Y > 0.0)


def test_a_layer_behind_the_members_is_refused():
    net = bp.Sequential(bp.Ensemble(bp.Linear(4), 3), bp.ReLU())
    with pytest.raises(bp.InputError, match=r"an Ensemble as the last layer, got ReLU after one"):
        bp.SequentialRegressor(net).fit(np.ones((20, 2)), np.arange(20.0))
