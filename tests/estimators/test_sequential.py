"""Covers: custom nets as estimators, SequentialClassifier and SequentialRegressor."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import bp_arrays as bp

DIGITS, T = load_digits(return_X_y=True)
DIGITS, T = DIGITS[:200] / 16.0, T[:200]
IMAGES = DIGITS.reshape(-1, 8, 8, 1)
X, y = load_iris(return_X_y=True)
KINDS = [bp.SequentialClassifier, bp.SequentialRegressor]


@pytest.mark.filterwarnings("ignore")
def test_no_common_check_fails():
    """The regressor differs only by parts that it shares with MLPRegressor, checked elsewhere."""
    net = bp.Sequential(bp.Linear(20), bp.Tanh())
    estimator = bp.SequentialClassifier(net, optimizer=bp.Adam(0.05), batch_size=200)
    results = check_estimator(estimator, on_fail=None)
    failed = [(r["check_name"], str(r["exception"])) for r in results if r["status"] == "failed"]
    assert failed == []
    assert sum(result["status"] == "passed" for result in results) > 55


def test_it_trains_as_bp_fit_does():
    net = bp.Sequential(bp.Linear(6), bp.GELU(), bp.LayerNorm(), bp.Linear(3))
    ours = bp.SequentialClassifier(net, epochs=3, shuffle=False, random_state=0, batch_size=50)
    start = clone(ours).set_params(optimizer=bp.SGD(1e-300), epochs=1).fit(X, y).model_
    bp.fit(
        start, X, y, loss=bp.CrossEntropy(), optimizer=bp.Adam(), epochs=3, batch_size=50,
        shuffle=False,
    )  # fmt: skip
    ours.fit(X, y)
    np.testing.assert_allclose(ours.model_.vector, start.vector, rtol=1e-12)
    assert ours.n_iter_ == ours.history_.epochs == 3
    whole = clone(ours).set_params(epochs=4).fit(X, y)
    np.testing.assert_array_equal(ours.partial_fit(X, y).model_.vector, whole.model_.vector)


def test_images_and_an_output_layer_that_is_appended(tmp_path):
    net = bp.Sequential(
        bp.Conv2d(4, 3), bp.BatchNorm(), bp.ReLU(), bp.MaxPool2d(2), bp.Dropout(0.1)
    )
    first = bp.SequentialClassifier(
        net, optimizer=bp.Adam(0.02), epochs=8, dtype="float32", random_state=0
    ).fit(IMAGES, T)
    assert first.score(IMAGES, T) > 0.9
    assert first.predict_proba(IMAGES).dtype == np.float32
    assert first.model_.net.layers[-2:] == (bp.Flatten(), bp.Linear(10))
    first.save(tmp_path / "e.safetensors")
    second = bp.load_estimator(tmp_path / "e.safetensors")
    assert (second.net, second.optimizer) == (net, bp.Adam(0.02))
    for estimator in (first, second):
        estimator.partial_fit(IMAGES, T)
    np.testing.assert_array_equal(second.predict_proba(IMAGES), first.predict_proba(IMAGES))
    with pytest.raises(bp.InputError, match=r"expected shape \(batch, 8, 8, 1\), got \(200, 8, 4"):
        first.predict(IMAGES[:, :, :4])


def test_early_stopping_restores_running_statistics_too():
    net = bp.Sequential(bp.Linear(8), bp.BatchNorm(), bp.ReLU())
    classifier = bp.SequentialClassifier(
        net, optimizer=bp.Adam(0.05), early_stopping=True, n_iter_no_change=3, random_state=0
    )
    classifier.fit(X[::2], y[::2], validation=(X[1::2], y[1::2]))
    history = classifier.history_
    assert history.kept_epoch < history.epochs < 100
    assert classifier.score(X[1::2], y[1::2]) == history["val_score"][history.kept_epoch - 1]


@pytest.mark.parametrize(
    ("net", "outputs", "activation"),
    [
        (bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(2)), 2, "softmax"),
        (bp.Sequential(bp.Linear(4), bp.Sequential(bp.Tanh(), bp.Linear(1))), 1, "logistic"),
        (bp.Sequential(bp.Linear(4), bp.Tanh()), 1, "logistic"),
        (None, 1, "logistic"),
    ],
)
def test_two_classes_by_one_output_or_two(net, outputs, activation):
    classifier = bp.SequentialClassifier(net, epochs=1).fit(X, y > 0)
    assert (classifier.n_outputs_, classifier.out_activation_) == (outputs, activation)
    assert classifier.predict_proba(X).shape == (150, 2)


def test_values_of_a_net_that_is_complete():
    x, t = make_regression(60, 4, random_state=0)
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(1), bp.Sigmoid())
    regressor = bp.SequentialRegressor(net, output_layer=False, loss="huber", epochs=1)
    assert ((regressor.fit(x, t > 0).predict(x) > 0) & (regressor.predict(x) < 1)).all()
    two = bp.SequentialRegressor(epochs=1).fit(x, np.stack([t, -t], axis=1))
    assert two.predict(x).shape == (60, 2)


def test_training_resumes_from_a_checkpoint(tmp_path):
    net = bp.Sequential(bp.Linear(6), bp.BatchNorm(), bp.ReLU(), bp.Dropout(0.2))
    whole = bp.SequentialClassifier(net, epochs=4, random_state=0).fit(X, y)
    part = bp.SequentialClassifier(net, epochs=2, random_state=0)
    part.fit(X, y, checkpoint=tmp_path / "run")
    part.set_params(epochs=4).fit(X, y, resume=tmp_path / "run")
    np.testing.assert_array_equal(part.model_.vector, whole.model_.vector)
    np.testing.assert_array_equal(part.model_.state_vector, whole.model_.state_vector)


def test_a_search_over_nets():
    nets = [bp.Sequential(bp.Linear(8), bp.ReLU()), bp.Linear(3)]
    search = GridSearchCV(
        bp.SequentialClassifier(epochs=2, random_state=0), {"net": nets, "alpha": [0.1]}, cv=2
    ).fit(X, y)
    assert search.best_params_["net"] in nets


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"net": bp.Sequential(bp.Linear(3), bp.Softmax())}, "ends in Softmax.*leave that layer"),
        ({"net": bp.Sequential(bp.Linear(3), bp.Sigmoid())}, "ends in Sigmoid"),
        ({"net": bp.Linear(4)}, r"expected an output of shape \(3,\).*end in Linear\(3\)"),
        ({"output_layer": False}, r"got \(100,\); end in Linear\(3\)"),
        ({"net": bp.Linear}, "expected a layer such as"),
        ({"net": bp.Conv2d(2, 3)}, "expected shape .height, width, channels."),
        ({"output_layer": "yes"}, "expected None, True or False"),
        ({"optimizer": "adm"}, "did you mean 'Adam'"),
        ({"optimizer": bp.Adam}, "expected an optimizer such as"),
        ({"dtype": "int8"}, "expected None or one of float32"),
        ({"epochs": 0}, "expected an integer >= 1, got 0"),
        ({"batch_size": 0}, "expected an integer >= 1"),
        ({"callbacks": [3]}, "a list of bp.Callback objects"),
    ],
)
def test_what_does_not_fit_is_said(settings, said):
    with pytest.raises(bp.InputError, match=said):
        bp.SequentialClassifier(**settings).fit(X, y)


def test_another_net_cannot_continue():
    classifier = bp.SequentialClassifier(epochs=1, warm_start=True).fit(X, y)
    with pytest.raises(bp.InputError, match="expected the net of the first fit"):
        classifier.set_params(net=bp.Linear(3)).fit(X, y)


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_names_every_parameter_and_its_default(kind):
    text = inspect.cleandoc(kind.__doc__)
    for name, parameter in inspect.signature(kind).parameters.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{name} : ")]
        shown = str(parameter.default).replace("1e-4", "0.0001").strip("'()")
        assert shown in line.partition("default")[2], line
