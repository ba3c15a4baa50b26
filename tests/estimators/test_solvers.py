"""Covers: optimizers and schedules as parameters, validation data, and the epoch that is kept."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import load_iris, make_regression
from sklearn.model_selection import GridSearchCV, train_test_split

import bp_arrays as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_iris(return_X_y=True)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, random_state=0)
QUICK = {"hidden_layer_sizes": (5,), "max_iter": 4, "random_state": 0, "shuffle": False}


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("adamw", bp.AdamW(0.01)), ("rmsprop", bp.RMSProp(0.01)), ("adagrad", bp.Adagrad(0.01))],
)
def test_an_optimizer_trains_as_bp_fit_does_by_name_and_as_an_object(name, optimizer):
    ours = bp.MLPClassifier(**QUICK, solver=optimizer, alpha=0.0, batch_size=50).fit(X, y)
    named = bp.MLPClassifier(
        **QUICK, solver=name, learning_rate_init=0.01, alpha=0.0, batch_size=50
    ).fit(X, y)
    start = bp.MLPClassifier(**QUICK | {"max_iter": 1}, solver=bp.SGD(1e-300)).fit(X, y).model_
    bp.fit(
        start, X, y, loss=bp.CrossEntropy(), optimizer=optimizer, epochs=4, batch_size=50,
        shuffle=False,
    )  # fmt: skip
    np.testing.assert_allclose(ours.model_.vector, start.vector, rtol=1e-12)
    np.testing.assert_array_equal(named.model_.vector, ours.model_.vector)


@pytest.mark.parametrize("solver", ["adam", "sgd", "adamw"])
def test_a_schedule_is_the_rate_of_each_step(solver):
    cosine = bp.Cosine(0.01, steps=12)
    classifier = bp.MLPClassifier(
        **QUICK, solver=solver, learning_rate_init=cosine, batch_size=50
    ).fit(X, y)
    # the history has the rate of the last step of each epoch of three, or the first
    rates = classifier.history_["learning_rate"]
    assert rates == sorted(rates, reverse=True)
    assert set(rates) <= {cosine(step) for step in range(12)}
    assert len(set(rates)) == 4


def test_a_search_over_optimizers_and_schedules_returns_the_objects():
    grid = {"solver": [bp.AdamW(1e-4), bp.SGD(0.05, momentum=0.9)], "alpha": [0.0]}
    search = GridSearchCV(bp.MLPClassifier(**QUICK | {"max_iter": 20}), grid, cv=2).fit(X, y)
    assert search.best_params_["solver"] == bp.SGD(0.05, momentum=0.9)
    copied = clone(search.best_estimator_)
    assert copied.get_params() == search.best_estimator_.get_params()
    copied.set_params(solver="adam", learning_rate_init=bp.Exponential(0.1, decay=0.9))
    assert clone(copied).learning_rate_init == bp.Exponential(0.1, decay=0.9)


def test_partial_fit_continues_with_the_optimizer_and_fit_starts_anew():
    whole = bp.MLPClassifier(**QUICK | {"max_iter": 2}, solver=bp.Adam(0.01)).fit(X, y)
    parts = bp.MLPClassifier(**QUICK | {"max_iter": 1}, solver=bp.Adam(0.01)).fit(X, y)
    parts.partial_fit(X, y)
    np.testing.assert_array_equal(parts.model_.vector, whole.model_.vector)
    again = bp.MLPClassifier(
        **QUICK | {"max_iter": 1}, solver=bp.Adam(0.01), warm_start=True
    ).fit(X, y).fit(X, y)  # fmt: skip
    assert (again.model_.vector != whole.model_.vector).any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"solver": bp.AdamW}, "or an optimizer such as bp.AdamW"),
        ({"solver": bp.AdamW(0.01), "learning_rate_init": 0.1}, "has a learning rate of its own"),
        ({"learning_rate_init": bp.Cosine(0.1, steps=3), "solver": "lbfgs"}, "another solver"),
        (
            {
                "learning_rate_init": bp.Cosine(0.1, steps=3),
                "solver": "sgd",
                "learning_rate": "adaptive",
            },
            "leave it at 'constant'",
        ),
    ],
)
def test_two_learning_rates_are_refused(settings, said):
    with pytest.raises(bp.InputError, match=said):
        bp.MLPClassifier(**settings).fit(X, y)


def test_early_stopping_watches_the_validation_samples():
    settings = {"learning_rate_init": 0.05, "max_iter": 40, "n_iter_no_change": 5}
    classifier = bp.MLPClassifier(**QUICK | settings, early_stopping=True)
    classifier.fit(X_train, y_train, validation=(X_valid, y_valid))
    history = classifier.history_
    assert history["val_score"] == classifier.validation_scores_
    assert classifier.score(X_valid, y_valid) == max(history["val_score"])
    assert history.kept_epoch == int(np.argmax(history["val_score"])) + 1 < history.epochs
    assert history.kept_by == "val_score"
    assert history["loss"] != bp.MLPClassifier(
        **QUICK | settings, early_stopping=True
    ).fit(X_train, y_train).history_["loss"]  # all samples of fit are trained on  # fmt: skip


def test_without_early_stopping_validation_samples_are_recorded_only():
    plain = bp.MLPClassifier(**QUICK).fit(X_train, y_train)
    watched = bp.MLPClassifier(**QUICK)
    watched.fit(X_train, y_train, validation=(X_valid, y_valid, np.ones(len(y_valid))))
    np.testing.assert_array_equal(plain.model_.vector, watched.model_.vector)
    assert watched.history_["val_score"][-1] == watched.score(X_valid, y_valid)
    assert watched.validation_scores_ is None
    assert watched.history_.kept_epoch is None
    x, t = make_regression(40, 4, random_state=0)
    regressor = bp.MLPRegressor(**QUICK).fit(x[:30], t[:30], validation=(x[30:], t[30:]))
    assert regressor.history_["val_score"][-1] == regressor.score(x[30:], t[30:])


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (X_valid, r"expected \(X, y\) or \(X, y, sample_weight\), got ndarray"),
        ((X_valid[:, :2], y_valid), "X has 2 features, but MLPClassifier is expecting 4"),
        ((X_valid, y_valid + 5), "expected classes among"),
        ((X_valid, y_valid, -np.ones(len(y_valid))), "expected a number >= 0"),
    ],
)
def test_validation_samples_that_do_not_fit_are_refused(validation, said):
    with pytest.raises(bp.InputError, match=rf"^fit\(validation=\): .*{said}"):
        bp.MLPClassifier(**QUICK).fit(X_train, y_train, validation=validation)
    with pytest.raises(bp.InputError, match="requires a solver such as 'adam', got 'lbfgs'"):
        bp.MLPClassifier(**QUICK, solver="lbfgs").fit(X, y, validation=(X_valid, y_valid))


def test_the_ring_is_at_the_epoch_whose_weights_were_kept():
    pytest.importorskip("matplotlib")
    history = bp.History()
    for loss, score in ((1.0, 0.5), (0.5, 0.9), (0.2, 0.8)):
        history.record({"loss": loss, "val_loss": loss, "val_score": score})

    def ringed(figure):
        return [list(ax.lines[-1].get_xdata()) for ax in figure.axes]

    assert ringed(history.plot("loss")) == [[3]]
    history.kept_by, history.kept_epoch = "val_score", 2
    assert ringed(history.plot()) == [[2], [2]]
    labels = history.plot().axes[1].get_legend_handles_labels()[1]
    assert labels == ["validation", "0.9 at epoch 2 (best val_score)"]
    assert ringed(history.plot("loss", monitor="val_loss")) == [[3]]
    history.kept_epoch = None  # the weights from before this call were the best
    assert len(history.plot("loss").axes[0].lines) == 2
