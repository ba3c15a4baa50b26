"""Covers: training of the estimators: the weights and the rules of scikit-learn's MLP."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import bp_arrays as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

BINARY = make_classification(60, 6, random_state=0)
CLASSES = make_classification(60, 6, n_informative=4, n_classes=3, random_state=1)
LABELS = make_multilabel_classification(60, 6, n_classes=3, random_state=2)
LABELS = (LABELS[0] / 10.0, LABELS[1])
NUMBERS = make_regression(60, 6, noise=1.0, random_state=3)
NUMBERS = (NUMBERS[0], NUMBERS[1] / 100.0)
SEVERAL = make_regression(60, 6, n_targets=3, random_state=4)
CLASSIFIERS = (bp.MLPClassifier, neural_network.MLPClassifier)
REGRESSORS = (bp.MLPRegressor, neural_network.MLPRegressor)
WEIGHT = np.random.default_rng(0).uniform(0.2, 2.0, 60)

SETTINGS = [
    {},
    {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    {"early_stopping": True, "validation_fraction": 0.2},
    {"early_stopping": True, "solver": "sgd", "n_iter_no_change": 2, "tol": 0.01},
    {"tol": 10.0, "n_iter_no_change": 3},
    {"shuffle": False, "batch_size": 60},
    {"batch_size": 7, "alpha": 1.0, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    {"activation": "logistic", "hidden_layer_sizes": (5, 4)},
    {"activation": "tanh", "hidden_layer_sizes": 5},
    {"activation": "identity", "hidden_layer_sizes": ()},
    {"activation": "logistic", "hidden_layer_sizes": ()},
    {"solver": "lbfgs", "hidden_layer_sizes": (4,)},
]


def both(kinds, settings, X, y, **fit):
    common = {"random_state": 7, "max_iter": 12, "hidden_layer_sizes": (8,), "batch_size": 16}
    return [kind(**common | settings).fit(X, y, **fit) for kind in kinds]


def assert_same_weights(ours, theirs, rtol=1e-9):
    for mine, other in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol, atol=rtol)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize(
    ("kinds", "data"),
    [(CLASSIFIERS, BINARY), (CLASSIFIERS, CLASSES), (CLASSIFIERS, LABELS), (REGRESSORS, NUMBERS)],
    ids=["binary", "classes", "labels", "numbers"],
)
def test_weights_and_record_are_scikit_learns(kinds, data, settings):
    ours, theirs = both(kinds, settings, *data)
    assert_same_weights(ours, theirs, 1e-6 if settings.get("solver") == "lbfgs" else 1e-9)
    for name in ("n_iter_", "t_", "n_outputs_", "n_layers_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name)
    for name in ("loss_", "loss_curve_", "validation_scores_", "best_loss_"):
        expected = getattr(theirs, name, None)
        if expected is None:
            assert getattr(ours, name, None) is None
        else:
            np.testing.assert_allclose(getattr(ours, name), expected, 1e-7)
    X = data[0]
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), 1e-5)
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), 1e-4)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_several_numbers_are_learnt_step_by_step_like_scikit_learns(solver):
    settings = {"solver": solver, "learning_rate_init": 1e-4, "tol": 0.0}
    ours, theirs = both(REGRESSORS, settings, *SEVERAL)
    assert_same_weights(ours, theirs)
    # whose loss is the mean over the outputs, while its steps follow the sum, as ours do
    without_penalty = {"alpha": 0.0} | settings
    ours, theirs = both(REGRESSORS, without_penalty, *SEVERAL)
    np.testing.assert_allclose(ours.loss_curve_, 3.0 * np.asarray(theirs.loss_curve_))


def test_counts_are_learnt_like_scikit_learns():
    X, y = NUMBERS
    counts = np.random.default_rng(0).poisson(2.0, len(y))
    ours, theirs = both(REGRESSORS, {"loss": "poisson"}, X, counts)
    assert_same_weights(ours, theirs)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kinds", [CLASSIFIERS, REGRESSORS])
def test_sparse_input_and_float32_give_scikit_learns_weights(kinds, solver):
    X, y = BINARY if kinds is CLASSIFIERS else NUMBERS
    X = np.where(np.abs(X) > 0.7, X, 0.0)
    settings = {"solver": solver, "max_iter": 4}
    for form in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        ours, theirs = both(kinds, settings, form(X), y)
        assert_same_weights(ours, theirs, 1e-6)
        assert_same_weights(both(kinds, settings, X, y)[0], ours, 1e-6)
        np.testing.assert_allclose(ours.predict(form(X)), ours.predict(X))
    ours, theirs = both(kinds, {"max_iter": 4}, X.astype("float32"), y)
    assert ours.coefs_[0].dtype == np.float32
    assert_same_weights(ours, theirs, 1e-4)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kinds", [CLASSIFIERS, REGRESSORS])
def test_sample_weights_act_like_scikit_learns(kinds, early_stopping):
    X, y = BINARY if kinds is CLASSIFIERS else NUMBERS
    settings = {"early_stopping": early_stopping, "validation_fraction": 0.2}
    ours, theirs = both(kinds, settings, X, y, sample_weight=WEIGHT)
    assert_same_weights(ours, theirs)
    np.testing.assert_allclose(ours.score(X, y, WEIGHT), theirs.score(X, y, WEIGHT))
    if early_stopping:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
    whole = {"batch_size": 60}
    ours, theirs = both(kinds, whole, X, y, sample_weight=WEIGHT)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_)


def test_with_weights_the_loss_of_an_epoch_is_that_of_its_samples():
    X, y = NUMBERS
    ours = bp.MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-30, batch_size=16, max_iter=1,
        alpha=0.0, random_state=0,
    ).fit(X, y, WEIGHT)  # fmt: skip
    expected = np.average((ours.predict(X) - y) ** 2 / 2, weights=WEIGHT)
    assert ours.loss_ == pytest.approx(expected)


@pytest.mark.parametrize("settings", SETTINGS[:5], ids=str)
@pytest.mark.parametrize("kinds", [CLASSIFIERS, REGRESSORS])
def test_going_on_is_like_scikit_learns(kinds, settings):
    X, y = BINARY if kinds is CLASSIFIERS else NUMBERS
    ours, theirs = both(kinds, {"warm_start": True, "max_iter": 3} | settings, X, y)
    assert_same_weights(ours.fit(X, y), theirs.fit(X, y))
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_)
    assert len(ours.loss_curve_) == 6
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)

    ours, theirs = (kind(random_state=7, hidden_layer_sizes=(8,), **settings) for kind in kinds)
    more = {"classes": [0, 1]} if kinds is CLASSIFIERS else {}
    for rows in (slice(0, 20), slice(20, 45), slice(45, 60)):
        ours.partial_fit(X[rows], y[rows], **more)
        theirs.partial_fit(X[rows], y[rows], **more)
    assert_same_weights(ours, theirs)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_) == (1, 60)


def test_after_warm_start_the_rate_is_the_one_of_the_rule():
    X, y = np.array([[3.0, 2], [1, 6], [5, 6], [-2, -4]]), [1, 1, 1, 0]
    for rule, expected in (("constant", 0.001), ("invscaling", 0.001 / (8 + 1) ** 0.25)):
        classifier = bp.MLPClassifier(
            4, solver="sgd", learning_rate=rule, power_t=0.25, max_iter=1, warm_start=True
        )
        classifier.fit(X, y).fit(X, y).partial_fit(X, y)
        assert classifier.history_["learning_rate"] == pytest.approx([expected])


def test_an_adaptive_rate_falls_by_fives_until_it_is_tiny():
    X, y = np.array([[3.0, 2], [1, 6]]), [1, 0]
    classifier = bp.MLPClassifier(
        tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive", random_state=0
    ).fit(X, y)
    assert classifier.history_.stopped == "converged"
    assert classifier.n_iter_ < 3000
    rates = sorted(set(classifier.history_["learning_rate"]), reverse=True)
    np.testing.assert_allclose(rates, 0.001 / 5.0 ** np.arange(len(rates)))
    assert rates[-1] < 1e-6 < rates[-2]


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_weights_that_grow_beyond_all_bounds_are_an_error_and_not_an_estimator(solver):
    X = np.finfo(float).max * np.random.default_rng(0).uniform(size=(10, 2))
    regressor = bp.MLPRegressor(solver=solver, random_state=0)
    with pytest.raises(bp.InputError, match="not finite: scale the data, for instance with Stan"):
        regressor.fit(X, np.arange(10.0))
    with pytest.raises(NotFittedError):
        regressor.predict(X)


def test_a_failure_while_going_on_leaves_the_estimator_as_it_was():
    X, y = NUMBERS
    regressor = bp.MLPRegressor(hidden_layer_sizes=8, warm_start=True, max_iter=3, random_state=0)
    before = regressor.fit(X, y).predict(X)
    history, curve = regressor.history_, list(regressor.loss_curve_)
    with pytest.raises(bp.InputError, match="not finite"):
        regressor.set_params(solver="sgd", learning_rate_init=1e300).fit(X, y)
    assert (regressor.n_iter_, regressor.history_, regressor.loss_curve_) == (3, history, curve)
    np.testing.assert_array_equal(regressor.predict(X), before)
    np.testing.assert_array_equal(regressor.model_.predict(X)[:, 0], before)


def test_warm_start_with_other_classes_names_both():
    X, y = CLASSES
    classifier = bp.MLPClassifier(4, warm_start=True, max_iter=2).fit(X, y)
    classifier.fit(X, (y + 1) % 3)
    for other in (y % 2, y + (y == 2), np.arange(60) % 5):
        with pytest.raises(ValueError, match=r"classes of the last fit, \[0 1 2\], got \["):
            classifier.fit(X, other)
    with pytest.raises(bp.InputError, match=r"expected classes among \[0 1 2\], got \[3 4\]"):
        classifier.partial_fit(X, np.arange(60) % 5)


def test_warm_start_with_other_sizes_is_refused():
    X, y = NUMBERS
    regressor = bp.MLPRegressor(hidden_layer_sizes=(4,), warm_start=True, max_iter=1).fit(X, y)
    for sizes in ((5,), (4, 4)):
        with pytest.raises(bp.InputError, match="hidden_layer_sizes may not change"):
            regressor.set_params(hidden_layer_sizes=sizes).fit(X, y)


def test_going_on_with_another_number_of_outputs_is_refused():
    X, y = SEVERAL
    regressor = bp.MLPRegressor(hidden_layer_sizes=(4,)).partial_fit(X, y)
    with pytest.raises(bp.InputError, match="the 3 outputs of the trained network"):
        regressor.partial_fit(X, y[:, :2])
    classifier = bp.MLPClassifier(4, warm_start=True, max_iter=1).fit(*BINARY)
    with pytest.raises(bp.InputError, match="the 1 outputs of the trained network"):
        classifier.set_params(loss="cross-entropy").fit(*BINARY)
    assert regressor.predict(X).shape == (60, 3)
    assert classifier.predict_proba(BINARY[0]).shape == (60, 2)


def test_early_stopping_keeps_the_weights_that_scored_best():
    X, y = CLASSES
    noisy = (y + (np.random.default_rng(0).uniform(size=60) < 0.4)) % 3
    classifier = bp.MLPClassifier(
        (30,), early_stopping=True, validation_fraction=0.3, max_iter=60, random_state=3,
        learning_rate_init=0.03, n_iter_no_change=8,
    ).fit(X, noisy)  # fmt: skip
    scores = classifier.validation_scores_
    assert len(scores) == len(classifier.loss_curve_) == classifier.n_iter_ < 60
    assert classifier.best_validation_score_ == max(scores)
    best = int(np.argmax(scores)) + 1
    assert best < classifier.n_iter_
    shorter = bp.MLPClassifier(
        (30,), early_stopping=True, validation_fraction=0.3, max_iter=best, random_state=3,
        learning_rate_init=0.03,
    ).fit(X, noisy)  # fmt: skip
    assert_same_weights(shorter, classifier)


def test_the_loss_of_the_held_out_samples_is_recorded_too():
    X, y = NUMBERS
    settings = {"random_state": 0, "hidden_layer_sizes": (8,), "warm_start": True, "max_iter": 5}
    plain = bp.MLPRegressor(**settings).fit(X, y)
    assert plain.validation_loss_curve_ is None
    stopping = bp.MLPRegressor(**settings, early_stopping=True, tol=0.0).fit(X, y)
    assert stopping.validation_loss_curve_ == stopping.history_["val_loss"]
    # the score is 1 - Σ (y - p)² / Σ (y - mean)², so the two curves mirror each other
    curve, scores = map(np.asarray, (stopping.validation_loss_curve_, stopping.validation_scores_))
    slope = np.diff(scores) / np.diff(curve)
    np.testing.assert_allclose(slope, slope[0])
    assert slope[0] < 0
    assert len(stopping.fit(X, y).validation_loss_curve_) == 10


@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.MLPRegressor])
def test_what_is_set_between_two_calls_takes_effect_at_the_second(kind):
    X, y = BINARY
    settings = {"hidden_layer_sizes": (8,), "warm_start": True, "max_iter": 3, "random_state": 0}
    estimator = kind(**settings, n_iter_no_change=99, solver="lbfgs").fit(X, y)
    weights = [w.copy() for w in estimator.coefs_]
    for changed in (
        {"solver": "adam"},
        {"early_stopping": True},
        {"early_stopping": False},
        {"activation": "tanh"},
        {"dropout": 0.2},
        {"loss": "mean-squared-error"},
        {"device": "strict"},
    ):
        before = estimator.predict(X)
        estimator.set_params(**changed)
        np.testing.assert_array_equal(estimator.predict(X), before)
        estimator.fit(X, y)
        assert any((new != old).any() for new, old in zip(estimator.coefs_, weights, strict=True))
        weights = [w.copy() for w in estimator.coefs_]
    net = list(estimator.model_.net)
    assert net[1:3] == [bp.Tanh(), bp.Dropout(0.2)]
    assert str(estimator.model_.device) == "strict"
    assert len(estimator.loss_curve_) == 7 * 3
    assert estimator.validation_scores_ is None


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_what_the_optimizer_remembers_moves_along(solver):
    X, y = NUMBERS
    settings = {"hidden_layer_sizes": (8,), "solver": solver, "random_state": 0}
    here, there = (bp.MLPRegressor(**settings).partial_fit(X, y) for _ in range(2))
    there.set_params(device="strict")
    assert_same_weights(there.partial_fit(X, y), here.partial_fit(X, y))
    assert str(there.model_.device) == "strict"


def test_a_new_beginning_begins_with_the_first_rate():
    X, y = NUMBERS
    settings = {"solver": "sgd", "learning_rate": "adaptive", "tol": 9.0, "n_iter_no_change": 1}
    regressor = bp.MLPRegressor(hidden_layer_sizes=(8,), **settings, max_iter=9).fit(X, y)
    assert regressor.history_["learning_rate"][-1] < 0.001
    regressor.set_params(solver="lbfgs").fit(X, y)
    regressor.set_params(solver="sgd").partial_fit(X, y)
    assert regressor.history_["learning_rate"] == [0.001]


def test_weights_put_in_by_hand_count():
    X, y = NUMBERS
    regressor = bp.MLPRegressor(hidden_layer_sizes=(), max_iter=1, warm_start=True).fit(X, y)
    regressor.coefs_[0] = np.arange(6.0)[:, None]
    regressor.intercepts_[0] = np.ones(1)
    np.testing.assert_allclose(regressor.predict(X), X @ np.arange(6.0) + 1.0)
    regressor.coefs_[0][:] = 0.0
    np.testing.assert_allclose(regressor.predict(X), 1.0)
    regressor.set_params(solver="sgd", learning_rate_init=1e-30).fit(X, y)
    np.testing.assert_allclose(regressor.intercepts_[0], 1.0)
    regressor.coefs_[0] = np.ones((5, 1))
    with pytest.raises(bp.InputError, match=r"coefs_, intercepts_: 0.weight"):
        regressor.predict(X)
    away = bp.MLPRegressor(hidden_layer_sizes=(), max_iter=1, device="strict").fit(X, y)
    with pytest.raises(ValueError, match="read-only"):
        away.coefs_[0][:] = 0.0


def test_too_many_rows_a_batch_and_too_few_epochs_are_warned_about_where_fit_is_called():
    X, y = NUMBERS
    with pytest.warns(
        UserWarning, match="batch_size=90 exceeds the number of samples, 60"
    ) as found:
        bp.MLPRegressor(batch_size=90, max_iter=1).fit(X, y)
    with pytest.warns(
        ConvergenceWarning, match="stopped at max_iter=1 epochs .* raise max_iter"
    ) as more:
        bp.MLPRegressor(max_iter=1).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs did not converge") as last:
        bp.MLPRegressor(solver="lbfgs", max_iter=1).fit(X, y)
    assert {warning.filename for warning in [*found, *more, *last]} == {__file__}


def test_verbose_prints_the_loss_of_each_epoch(capsys):
    X, y = BINARY
    settings = {"verbose": True, "random_state": 0, "max_iter": 2}
    for more in ({}, {"solver": "lbfgs"}, {"early_stopping": True}):
        bp.MLPClassifier(4, **settings, **more).fit(X, y)
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith("Iteration 2, loss = ")]
        assert bool(more.get("early_stopping")) == any("Validation score" in line for line in lines)
