"""Program for test_dispatch: python dispatching.py DEVICE, arrays of that device in and out.

A separate process, since SCIPY_ARRAY_API=1 has to be set before SciPy is imported.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from contextlib import contextmanager

import numpy as np
import sklearn
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

import bp_arrays as bp
from bp_arrays.devices import device_of

X, y = load_iris(return_X_y=True)
X, NUMBERS = X[:, :3], X[:, 3]
LABELS = np.stack([y == 0, y > 0], axis=1).astype(int)
SETTINGS = {"hidden_layer_sizes": 8, "max_iter": 6, "learning_rate_init": 0.02, "random_state": 0}


@contextmanager
def refused(*words):
    """Inside, a ValueError with these words must be raised."""
    try:
        yield
    except ValueError as error:
        assert all(word in str(error) for word in words), error
    else:
        raise AssertionError("no error was raised")


def check(place, kind, target, settings):
    """Fit there and on NumPy, compare everything that comes out."""
    there_x, there_y = place.asarray(X), place.asarray(target)
    here, there = kind(**SETTINGS | settings), kind(**SETTINGS | settings)
    with sklearn.config_context(array_api_dispatch=False):
        here.fit(X, target)
    there.fit(there_x, there_y)
    assert there.model_.device == bp.device(settings.get("device", place))
    for array in [*there.coefs_, *there.intercepts_]:
        assert device_of(array) == place
    methods = ["predict", "predict_proba", "predict_log_proba"]
    for method in methods if kind is bp.MLPClassifier else methods[:1]:
        answer = getattr(there, method)(there_x)
        assert device_of(answer) == place, method
        with sklearn.config_context(array_api_dispatch=False):
            expected = getattr(here, method)(X)
        np.testing.assert_allclose(place.to_numpy(answer), expected, 1e-6, 1e-9)
    score = there.score(there_x, there_y)
    assert type(score) is float
    with sklearn.config_context(array_api_dispatch=False):
        assert abs(score - here.score(X, target)) < 1e-6
    elsewhere = bp.device("strict" if place.backend == "numpy" else "cpu").asarray(X)
    with refused("must use the same namespace and device", f"{kind.__name__}.predict()"):
        there.predict(elsewhere)
    again = pickle.loads(pickle.dumps(there))
    assert device_of(again.predict(there_x)) == place
    if hasattr(there, "partial_fit") and not there.early_stopping:
        before = place.to_numpy(there.coefs_[0])
        there.partial_fit(there_x, there_y)
        assert device_of(there.coefs_[0]) == place
        assert (place.to_numpy(there.coefs_[0]) != before).any()


def check_without_dispatch(place):
    """Then arrays of the host's memory are read as NumPy, and others are refused with advice."""
    with sklearn.config_context(array_api_dispatch=False):
        if place.kind == "cpu":
            fitted = bp.MLPClassifier(**SETTINGS).fit(place.asarray(X), y)
            assert type(fitted.predict(place.asarray(X))) is np.ndarray
        else:
            with refused(f"got an array on {str(place)!r}", "set_config(array_api_dispatch=True)"):
                bp.MLPClassifier(**SETTINGS).fit(place.asarray(X), y)


def main(name):
    place = bp.device(name)
    sklearn.set_config(array_api_dispatch=True)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ConvergenceWarning)
    count = 0
    for settings in (
        {},
        {"solver": "sgd", "dropout": 0.2},
        {"solver": "lbfgs"},
        {"early_stopping": True, "validation_fraction": 0.2},
        {"device": "cpu"},
    ):
        for kind, target in (
            (bp.MLPClassifier, y),
            (bp.MLPClassifier, LABELS),
            (bp.MLPClassifier, LABELS[:, 0]),
            (bp.MLPRegressor, NUMBERS),
        ):
            check(place, kind, target, settings)
            count += 1
    words = np.array(["a", "b", "c"])[y]  # no array library has words: they stay NumPy's
    classifier = bp.MLPClassifier(**SETTINGS).fit(place.asarray(X), words)
    assert set(classifier.predict(place.asarray(X))) <= {"a", "b", "c"}
    check_without_dispatch(place)
    print(f"{count} estimators on {place}")


if __name__ == "__main__":
    main(sys.argv[1])
