"""Covers: the estimators in scikit-learn's tools, with data frames, cloned, copied and pickled."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import bp_arrays as bp
from bp_arrays.estimators._samples import has_dtype

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_iris(return_X_y=True)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
SPECIES = np.array(["setosa", "versicolor", "virginica"])[y]
QUICK = {"hidden_layer_sizes": 8, "max_iter": 60, "learning_rate_init": 0.03, "random_state": 0}


def quick(**settings):
    return make_pipeline(StandardScaler(), bp.MLPClassifier(**QUICK | settings))


# -- scikit-learn's tools --------------------------------------------------------------------------


def test_grid_search_in_two_processes_chooses_by_score():
    stopping = bp.EarlyStopping(patience=50, monitor="loss")
    search = GridSearchCV(
        quick(callbacks=[stopping]),
        {
            "mlpclassifier__learning_rate_init": [1e-9, 0.03],
            "mlpclassifier__activation": ["relu", bp.GELU()],
            "mlpclassifier__loss": ["log_loss", bp.CrossEntropy(label_smoothing=0.1)],
        },
        n_jobs=2,
        cv=3,
    ).fit(X, SPECIES)
    assert search.best_params_["mlpclassifier__learning_rate_init"] == 0.03
    assert search.best_score_ > 0.9
    assert list(search.classes_) == sorted(set(SPECIES))
    assert stopping.best_epoch is None  # each fit had a copy of it


def test_cross_validation_and_learning_curves():
    assert cross_val_score(quick(), X, y, cv=3).min() > 0.85
    assert cross_val_score(bp.MLPRegressor(**QUICK), X[:, :3], X[:, 3], cv=3).shape == (3,)
    _, train, test = learning_curve(quick(), X, y, cv=3, train_sizes=[0.2, 1.0], shuffle=True)
    assert train.shape == test.shape == (2, 3)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(method):
    calibrated = CalibratedClassifierCV(quick(), method=method, cv=3).fit(X, SPECIES)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    assert calibrated.score(X, SPECIES) > 0.9


def test_ensembles_and_wrappers():
    for wrapped in (
        OneVsRestClassifier(quick()),
        BaggingClassifier(quick(), n_estimators=2, random_state=0),
        VotingClassifier([("a", quick()), ("b", quick(activation="tanh"))], voting="soft"),
    ):
        assert wrapped.fit(X, y).score(X, y) > 0.9
    regressor = TransformedTargetRegressor(bp.MLPRegressor(**QUICK), transformer=StandardScaler())
    assert regressor.fit(X[:, :3], X[:, 3]).score(X[:, :3], X[:, 3]) > 0.8
    importance = permutation_importance(quick().fit(X, y), X, y, n_repeats=2, random_state=0)
    assert importance.importances_mean[2:].max() > 0.1


# -- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.MLPRegressor])
def test_tables_keep_the_names_of_their_columns(kind, library):
    frames = pytest.importorskip(library)
    table = frames.DataFrame(dict(zip(NAMES, X.T, strict=True)))
    target = frames.Series(SPECIES if kind is bp.MLPClassifier else X[:, 3])
    estimator = kind(**QUICK).fit(table, target)
    assert list(estimator.feature_names_in_) == NAMES
    assert estimator.n_features_in_ == 4
    plain = kind(**QUICK).fit(X, np.asarray(target))
    np.testing.assert_array_equal(estimator.predict(table), plain.predict(X))
    assert not hasattr(plain, "feature_names_in_")
    assert estimator.score(table, target) == plain.score(X, np.asarray(target))
    with pytest.raises(ValueError, match="feature names should match"):
        estimator.predict(table[NAMES[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        estimator.predict(X)
    with pytest.raises(ValueError, match=r"3 features, but MLP.* is expecting 4"):
        plain.predict(X[:, :3])


def test_names_go_through_a_pipeline_with_set_output():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=NAMES)
    table["colour"] = np.array(["blue", "red"])[y % 2]
    before = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["colour"]), (StandardScaler(), NAMES),
        verbose_feature_names_out=False,
    )  # fmt: skip
    pipeline = make_pipeline(before, bp.MLPClassifier(**QUICK)).set_output(transform="pandas")
    pipeline.fit(table, SPECIES)
    names = ["colour_blue", "colour_red", *NAMES]
    assert list(pipeline[-1].feature_names_in_) == names
    assert pipeline.score(table, SPECIES) > 0.95


# -- keeping and copying ---------------------------------------------------------------------------


def by_joblib(estimator, folder):
    joblib.dump(estimator, folder / "estimator.joblib")
    return joblib.load(folder / "estimator.joblib")


def by_pickle(estimator, folder):
    return pickle.loads(pickle.dumps(estimator))


def by_deepcopy(estimator, folder):
    return copy.deepcopy(estimator)


def goes_on_the_same(estimator, other, x):
    np.testing.assert_array_equal(other.predict(x), estimator.predict(x))
    assert other.model_.device == estimator.model_.device
    for mine, its in zip(estimator.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(mine, its)
        assert mine is not its
    assert other.loss_curve_ == estimator.loss_curve_
    before = estimator.coefs_[0].copy()
    other.partial_fit(x, y)
    np.testing.assert_array_equal(estimator.coefs_[0], before)
    estimator.partial_fit(x, y)
    np.testing.assert_array_equal(other.coefs_[0], estimator.coefs_[0])
    assert (other.coefs_[0] != before).any()


@pytest.mark.parametrize("again", [by_joblib, by_pickle, by_deepcopy])
@pytest.mark.parametrize("kind", [bp.MLPClassifier, bp.MLPRegressor])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_copy_predicts_the_same_and_goes_on_the_same(kind, solver, again, tmp_path):
    estimator = kind(**QUICK | {"max_iter": 4}, solver=solver, dropout=0.1).fit(X, y)
    goes_on_the_same(estimator, again(estimator, tmp_path), X)


def test_so_it_does_on_another_device(device):
    x = X if has_dtype(device, "float64") else X.astype("float32")
    estimator = bp.MLPClassifier(**QUICK | {"max_iter": 4}, dropout=0.1, device=device).fit(x, y)
    goes_on_the_same(estimator, by_pickle(estimator, None), x)


def test_the_weights_are_kept_once():
    wide = bp.MLPClassifier((400,), max_iter=1, solver="lbfgs").fit(X, y)
    size = wide.model_.parameter_count * 8
    assert size < len(pickle.dumps(wide)) < 1.5 * size


def test_weights_put_in_by_hand_are_kept_too():
    regressor = bp.MLPRegressor(hidden_layer_sizes=(), max_iter=1).fit(X, y)
    regressor.coefs_[0] = np.ones((4, 1))
    other = by_pickle(regressor, None)
    np.testing.assert_array_equal(other.coefs_[0], np.ones((4, 1)))
    np.testing.assert_array_equal(other.predict(X), regressor.predict(X))


def test_a_clone_is_new():
    fitted = bp.MLPClassifier(**QUICK, dropout=0.1, loss=bp.CrossEntropy(0.1)).fit(X, y)
    other = clone(fitted)
    assert other.get_params() == fitted.get_params()
    assert not hasattr(other, "coefs_")


def test_a_model_moved_to_the_cpu_is_kept_without_its_device():
    classifier = bp.MLPClassifier(**QUICK, device="strict").fit(X, y)
    before = classifier.predict_proba(X)
    classifier.model_.to("cpu")
    assert b"array_api_strict" not in pickle.dumps(classifier)
    np.testing.assert_allclose(by_pickle(classifier, None).predict_proba(X), before)


def test_the_network_is_a_model_of_the_library(tmp_path):
    classifier = bp.MLPClassifier(**QUICK).fit(X, y)
    classifier.model_.save(tmp_path / "iris.safetensors")
    model = bp.load(tmp_path / "iris.safetensors", device="cpu")
    np.testing.assert_array_equal(model.predict(X).argmax(axis=1), classifier.predict(X))
    assert "0.weight" in str(bp.explain(classifier.model_, X[:1], y[:1], bp.CrossEntropy()))


# -- explaining ------------------------------------------------------------------------------------


def test_explain_takes_the_estimator_and_its_names():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    names = np.array(["x", "y", "z"])[y]
    classifier = bp.MLPClassifier(**QUICK).fit(table, names)
    explanation = bp.explain(classifier, table.iloc[3][["b", "a", "d", "c"]], names[3])
    same = bp.explain(classifier.model_, X[3], int(y[3]), bp.CrossEntropy())
    assert explanation.loss_value == same.loss_value
    assert "x₁ is a, x₂ is b, x₃ is c, x₄ is d" in explanation.to_text()
    assert "y₁ is x, y₂ is y, y₃ is z" in explanation.to_text()
    assert '"units":["a","b","c","d"]' in explanation.to_html().replace(" ", "")
    two = bp.MLPClassifier(**QUICK).fit(table, names == "x")
    assert bp.explain(two, table.iloc[0], names[0] == "x").output_names == ("True",)
    assert bp.explain(two, X[0], False).input_names == ("a", "b", "c", "d")
    with pytest.raises(bp.InputError, match=r"expected the column 'd', as in fit"):
        bp.explain(classifier, table.iloc[0, :3], "x")
    with pytest.raises(bp.InputError, match=r"got \['w'\]"):
        bp.explain(classifier, X[0], "w")
    with pytest.raises(bp.InputError, match=r"pass the last step, pipeline\[-1\]"):
        bp.explain(make_pipeline(classifier), X[0], "x", bp.CrossEntropy())


def test_explain_takes_targets_of_every_kind():
    labels = np.stack([y == 0, y > 0], axis=1).astype(int)
    several = bp.MLPClassifier(**QUICK).fit(X, labels)
    np.testing.assert_array_equal(bp.explain(several, X[0], labels[0]).t, [[1.0, 0.0]])
    squares = bp.MLPClassifier(**QUICK, loss="mean-squared-error").fit(X, y)
    np.testing.assert_array_equal(bp.explain(squares, X[0], y[0]).t, np.eye(3)[y[:1]])
    values = bp.MLPRegressor(**QUICK).fit(X, y)
    assert bp.explain(values, X[0], 0.5).loss_value == 0.5 * (values.predict(X[:1])[0] - 0.5) ** 2


# -- processes and threads -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:os.fork")  # of JAX, which another test may have imported
@pytest.mark.parametrize("method", ["loky", "fork", "spawn"])
def test_scores_are_the_same_in_other_processes(method):
    settings = QUICK | {"dropout": 0.1, "early_stopping": True, "max_iter": 3}
    classifier = bp.MLPClassifier(**settings).fit(X, y)  # something has run before the fork
    expected = cross_val_score(classifier, X, y, cv=2)
    if method == "loky":
        scores = cross_val_score(classifier, X, y, cv=2, n_jobs=2)
        threads = joblib.Parallel(n_jobs=2, backend="threading")(
            joblib.delayed(cross_val_score)(classifier, X, y, cv=2) for _ in range(2)
        )
        np.testing.assert_array_equal(threads, [expected, expected])
    else:
        with multiprocessing.get_context(method).Pool(1) as pool:
            scores = pool.apply(cross_val_score, (classifier, X, y), {"cv": 2})
            np.testing.assert_array_equal(
                pool.apply(classifier.predict_proba, (X,)), classifier.predict_proba(X)
            )
    np.testing.assert_array_equal(scores, expected)
