"""Covers: parameters, attributes and methods of the estimators, and errors for bad parameters."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import bp_arrays as bp

PAIRS = [
    (bp.MLPClassifier, neural_network.MLPClassifier),
    (bp.MLPRegressor, neural_network.MLPRegressor),
]
KINDS = [ours for ours, _ in PAIRS]
ADDED = {
    bp.MLPClassifier: {"loss", "class_weight", "dropout", "device", "compute_dtype", "callbacks"},
    bp.MLPRegressor: {"dropout", "device", "compute_dtype", "callbacks"},
}
X = np.array([[0.0, 1.0], [1.0, 0.5], [2.0, 0.0], [3.0, 1.5], [0.5, 2.0], [2.5, 2.5]])
y = np.array([0, 0, 1, 1, 0, 1])


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_every_parameter_is_there_in_the_same_place_with_the_same_default(ours, theirs):
    mine, others = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    for name, parameter in others.items():
        assert mine[name].default == parameter.default, name
        assert mine[name].kind == parameter.kind, name
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert [n for n, p in mine.items() if p.kind is positional] == [
        n for n, p in others.items() if p.kind is positional
    ]
    assert set(mine) - set(others) == ADDED[ours]
    assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in ADDED[ours])


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_every_method_is_there_with_the_same_parameters(ours, theirs):
    def methods(kind):
        return {n for n in dir(kind) if not n.startswith("_") and callable(getattr(kind, n))}

    assert methods(theirs) <= methods(ours)
    added = {"fit": ["validation", "checkpoint", "resume"]}
    for name in methods(theirs) & {
        "fit",
        "partial_fit",
        "predict",
        "predict_proba",
        "predict_log_proba",
        "score",
    }:
        expected = list(inspect.signature(getattr(theirs, name)).parameters) + added.get(name, [])
        assert list(inspect.signature(getattr(ours, name)).parameters) == expected, name


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_fitted_attribute_is_there_and_of_the_same_kind(ours, theirs, solver, early_stopping):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b"])
    settings = {
        "solver": solver,
        "early_stopping": early_stopping,
        "validation_fraction": 0.34,
        "max_iter": 3,
        "random_state": 0,
    }
    mine, others = ours(**settings).fit(table, y), theirs(**settings).fit(table, y)
    names = [n for n in vars(others) if n.endswith("_") and not n.startswith("_")]
    assert {"coefs_", "n_iter_", "feature_names_in_", "out_activation_", "t_"} <= set(names)
    for name in names:
        mine_, others_ = getattr(mine, name), getattr(others, name)
        if isinstance(others_, str | int | type(None)) or name == "feature_names_in_":
            assert np.all(mine_ == others_), name
        elif isinstance(others_, list):
            assert isinstance(mine_, list), name
            assert [np.shape(a) for a in mine_] == [np.shape(a) for a in others_], name
        else:
            assert np.allclose(mine_, others_), name


BAD = [
    ("solver", "sdg", "one of 'lbfgs', 'sgd', 'adam'"),
    ("solver", ["sgd"], "one of 'lbfgs', 'sgd', 'adam'"),
    ("learning_rate", "fast", "one of 'constant', 'invscaling', 'adaptive'"),
    ("shuffle", "yes", "True or False"),
    ("early_stopping", 1, "True or False"),
    ("warm_start", None, "True or False"),
    ("alpha", -1.0, "a number in [0, inf)"),
    ("alpha", float("nan"), "a number in [0, inf)"),
    ("learning_rate_init", 0.0, "a number in (0, inf)"),
    ("power_t", "half", "a number in [0, inf)"),
    ("tol", -1e-9, "a number in [0, inf)"),
    ("momentum", 1.5, "a number in [0, 1]"),
    ("beta_1", 1.0, "a number in [0, 1)"),
    ("beta_2", True, "a number in [0, 1)"),
    ("epsilon", 0, "a number in (0, inf)"),
    ("validation_fraction", 1.0, "a number in [0, 1)"),
    ("dropout", 1.0, "a number in [0, 1)"),
    ("verbose", "loud", "a number in [0, inf)"),
    ("max_iter", 0, "an integer >= 1"),
    ("max_iter", 2.0, "an integer >= 1"),
    ("max_fun", -3, "an integer >= 1"),
    ("n_iter_no_change", 0, "an integer >= 1 or inf"),
    ("batch_size", "all", "an integer >= 1 or 'auto'"),
    ("hidden_layer_sizes", (4, 0), "integers >= 1"),
    ("hidden_layer_sizes", "20", "integers >= 1"),
    ("callbacks", bp.EarlyStopping(), "a list of bp.Callback objects"),
    ("callbacks", [bp.EarlyStopping], "a list of bp.Callback objects"),
]


@pytest.mark.parametrize(("name", "value", "expected"), BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_parameter_is_named_with_what_it_may_be(kind, name, value, expected):
    with pytest.raises(bp.InputError) as said:
        kind(**{name: value}).fit(X, y)
    text = str(said.value)
    assert text.startswith(f"{kind.__name__}({name}=): expected ")
    assert expected in text
    assert f"got {value!r}" in text
    assert "\n" not in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activation": "relo"}, r"unknown activation 'relo': did you mean 'ReLU'\?.*logistic"),
        ({"activation": "logistc"}, r"did you mean 'logistic'\?"),
        ({"activation": 3}, r"activation: expected a name such as 'relu'.*got 3"),
        ({"activation": ["relu", "tanh"]}, "one for each of the 1 hidden layers, got 2"),
        ({"activation": bp.Linear(100)}, "expected a layer without parameters, got Linear"),
        ({"loss": "hubr"}, r"unknown loss 'hubr': did you mean 'Huber'\?"),
        ({"loss": bp.Huber}, "loss: expected .* or a loss such as L2Loss"),
        ({"device": "gpu"}, "device"),
        ({"solver": "lbfgs", "dropout": 0.1}, "dropout requires solver='sgd' or 'adam'"),
        ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction above 0"),
        (
            {"early_stopping": True},
            "validation set is too small: .* got 1 of 6|cannot hold out valid.*=0.1",
        ),
        ({"random_state": "seven"}, "seven"),
    ],
)
def test_what_does_not_go_together_or_is_unknown_is_told(kind, settings, said):
    with pytest.raises(ValueError, match=said):
        kind(**settings).fit(X, y)


def test_scikit_learns_own_names_of_losses_are_suggested():
    with pytest.raises(bp.InputError, match="did you mean 'log_loss'"):
        bp.MLPClassifier(loss="logg_loss").fit(X, y)
    with pytest.raises(bp.InputError, match="did you mean 'squared_error'"):
        bp.MLPRegressor("squared_eror").fit(X, y)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (np.ones(5), r"expected shape \(6,\), got \(5,\)"),
        (np.ones((6, 1)), r"expected shape \(6,\), got \(6, 1\)"),
        (-np.ones(6), r"sample_weight\[0\]: expected a number >= 0, got -1\.0"),
        (np.full(6, np.nan), r"sample_weight\[0\]: expected a finite number, got nan"),
        (np.zeros(6), "every weight is zero"),
    ],
)
def test_bad_sample_weights_are_refused_and_nothing_is_fitted(kind, early_stopping, weight, said):
    estimator = kind(early_stopping=early_stopping, validation_fraction=0.5)
    with pytest.raises(bp.InputError, match=said):
        estimator.fit(X, y, sample_weight=weight)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_one_number_is_the_weight_of_every_sample():
    settings = {"max_iter": 2, "random_state": 0}
    plain = bp.MLPRegressor(**settings).fit(X, y)
    assert np.allclose(bp.MLPRegressor(**settings).fit(X, y, 1.0).coefs_[0], plain.coefs_[0])


@pytest.mark.parametrize("kind", KINDS)
def test_before_fit_nothing_is_predicted(kind):
    for method in ("predict", "score"):
        with pytest.raises(NotFittedError):
            getattr(kind(), method)(*((X,) if method == "predict" else (X, y)))
    with pytest.raises(NotFittedError):
        _ = kind().model_
    assert not hasattr(kind(solver="lbfgs"), "partial_fit")
    assert hasattr(kind(solver="sgd"), "partial_fit")


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_stay_the_objects_they_were(kind):
    callbacks, loss = [bp.EarlyStopping()], bp.MeanSquaredError()
    estimator = kind(callbacks=callbacks, loss=loss, hidden_layer_sizes=[3])
    assert estimator.get_params()["callbacks"] is callbacks
    assert estimator.loss is loss
    assert clone(estimator).loss == loss
    assert repr(kind(alpha=1.0, hidden_layer_sizes=(3,))) == (
        f"{kind.__name__}(alpha=1.0, hidden_layer_sizes=(3,))"
    )


def sections(kind):
    """The entries of a docstring: {section: {name: text}}."""
    found, section = {}, None
    lines = inspect.cleandoc(kind.__doc__).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following.startswith("---"):
            section = found.setdefault(line, {})
        elif section is not None and (match := re.match(r"(\w[\w, ]*) : ", line)):
            name = match[1]
            section[name] = line
        elif section and line.startswith("    "):
            section[name] += "\n" + line
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_names_every_parameter_and_its_default(kind):
    told = sections(kind)["Parameters"]
    names = [name for entry in told for name in entry.split(", ")]
    assert sorted(names) == sorted(inspect.signature(kind).parameters)
    for name, parameter in inspect.signature(kind).parameters.items():
        text = next(told[entry] for entry in told if name in entry.split(", "))
        first = text.splitlines()[0]
        shown = str(parameter.default).replace("1e-08", "1e-8").replace("'", '"')
        assert shown.strip('"') in first.partition("default")[2], (name, first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_docstring_names_every_fitted_attribute(kind):
    told = sections(kind)["Attributes"]
    fitted = kind(max_iter=1).fit(X, y)
    there = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    assert there | {"model_", "feature_names_in_"} == set(told)


def test_what_both_docstrings_say_they_say_in_the_same_words():
    ours, others = sections(bp.MLPClassifier), sections(bp.MLPRegressor)
    for section in ("Parameters", "Attributes"):
        both = set(ours[section]) & set(others[section]) - {"loss", "out_activation_"}
        assert len(both) > 15
        for name in both:
            assert ours[section][name] == others[section][name]


def test_without_scikit_learn_the_pip_command_is_told():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import bp_arrays as bp\n"
        "for name in ('MLPClassifier', 'MLPRegressor'):\n"
        "    try: getattr(bp, name)\n"
        "    except bp.MissingExtraError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = said.stdout.splitlines()
    assert len(lines) == 2
    assert all('pip install "bp_arrays[sklearn]"' in line for line in lines)
