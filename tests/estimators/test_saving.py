"""Covers: estimators in model files and in ONNX, and `bp-arrays predict` on them."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)

import bp_arrays as bp
from bp_arrays.command_line import main

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS = load_iris(as_frame=True)
X = IRIS.data
Y = IRIS.target.map(dict(enumerate(IRIS.target_names))).rename("species")
QUICK = {"hidden_layer_sizes": (5,), "max_iter": 6, "random_state": 0}


def saved_and_loaded(estimator, folder, **how):
    estimator.save(folder / "e.safetensors")
    return bp.load_estimator(folder / "e.safetensors", **how)


def printed_by_predict(model, table, capsys):
    """The first column that `bp-arrays predict` prints, and what it says."""
    assert main(["predict", str(model), str(table), "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    return [line.split(",")[0] for line in captured.out.splitlines()[1:]], captured.err


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
        {"solver": "sgd", "learning_rate": "invscaling", "nesterovs_momentum": False},
        {"solver": bp.Chain(bp.ClipByGlobalNorm(1.0), bp.AdamW(0.01)), "activation": ["gelu"]},
        {"learning_rate_init": bp.Cosine(0.01, steps=20), "dropout": 0.2},
        {"loss": bp.CrossEntropy(label_smoothing=0.1), "class_weight": {"setosa": 2.0}},
        {"random_state": np.random.RandomState(3), "hidden_layer_sizes": [4, 3]},
    ],
    ids=lambda settings: ",".join(settings) or "defaults",
)
def test_a_loaded_estimator_predicts_and_continues_the_same_to_the_bit(settings, tmp_path):
    first = bp.MLPClassifier(**QUICK | settings).fit(X, Y)
    second = saved_and_loaded(first, tmp_path)
    np.testing.assert_array_equal(second.predict_proba(X), first.predict_proba(X))
    np.testing.assert_array_equal(second.predict(X), first.predict(X))
    np.testing.assert_array_equal(second.feature_names_in_, first.feature_names_in_)
    assert (second.classes_.dtype, second.n_iter_, second.t_) == (object, 6, 900)
    assert dict(second.history_) == dict(first.history_)
    mine, its = (
        {name: value for name, value in e.get_params().items() if name != "random_state"}
        for e in (first, second)
    )
    assert mine == its
    for action in ("partial_fit", "fit"):
        for estimator in (first, second):
            getattr(estimator.set_params(warm_start=True), action)(X, Y)
        np.testing.assert_array_equal(second.model_.vector, first.model_.vector)
        assert second.loss_curve_ == first.loss_curve_


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "binary-cross-entropy"])
def test_regressors_too_with_early_stopping(loss, tmp_path, capsys):
    t = (IRIS.target / 2.0).rename("kind")
    first = bp.MLPRegressor(loss, **QUICK, early_stopping=True).fit(X, t)
    second = saved_and_loaded(first, tmp_path)
    np.testing.assert_array_equal(second.predict(X), first.predict(X))
    assert second.validation_scores_ == first.validation_scores_
    assert second.history_.kept_epoch == first.history_.kept_epoch
    X.to_csv(tmp_path / "x.csv", index=False)
    values, _ = printed_by_predict(tmp_path / "e.safetensors", tmp_path / "x.csv", capsys)
    np.testing.assert_allclose(np.array(values, float), first.predict(X), rtol=1e-12)


def test_classes_of_every_kind_come_back(tmp_path):
    for classes in ([2, 5, 7], [0.0, 1.0, 2.0], ["a", "ä", "NA"]):
        y = np.asarray(classes)[IRIS.target]
        second = saved_and_loaded(bp.MLPClassifier(**QUICK).fit(X.values, y), tmp_path)
        np.testing.assert_array_equal(second.classes_, np.unique(y))
        assert second.classes_.dtype == y.dtype
    labels = make_multilabel_classification(60, 4, n_classes=3, random_state=0)
    first = bp.MLPClassifier(**QUICK).fit(*labels)
    second = saved_and_loaded(first, tmp_path)
    np.testing.assert_array_equal(second.predict(labels[0]), first.predict(labels[0]))


def test_it_is_loaded_onto_the_device_it_had_or_another_one(tmp_path):
    first = bp.MLPClassifier(**QUICK, device="strict").fit(X, Y)
    assert str(saved_and_loaded(first, tmp_path).model_.device) == "strict"
    second = saved_and_loaded(first, tmp_path, device="cpu")
    assert (str(second.model_.device), second.device) == ("cpu", "cpu")
    np.testing.assert_array_equal(second.predict(X), first.predict(X))
    first.partial_fit(X, Y), second.partial_fit(X, Y)
    np.testing.assert_allclose(second.predict_proba(X), first.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("loss", ["log_loss", "mean-squared-error", "cross-entropy"])
def test_the_command_line_predicts_the_classes(loss, tmp_path, capsys):
    two = Y == "setosa"
    classifier = bp.MLPClassifier(**QUICK, loss=loss).fit(X, two.rename("setosa"))
    classifier.save(tmp_path / "e.safetensors")
    classifier.model_.save(tmp_path / "m.safetensors")
    shuffled = X.iloc[:, ::-1].assign(note="text", setosa=two)
    shuffled.to_csv(tmp_path / "t.csv", index=False)
    for file in ("e.safetensors", "m.safetensors"):
        classes, said = printed_by_predict(tmp_path / file, tmp_path / "t.csv", capsys)
        assert classes == [str(label) for label in classifier.predict(X)]
        assert f"accuracy {classifier.score(X, two):.2%}" in said


def test_without_names_columns_are_matched_by_position_and_that_is_said(tmp_path, capsys):
    classifier = bp.MLPClassifier(**QUICK).fit(X.values, Y.values)
    classifier.save(tmp_path / "e.safetensors")
    X.to_csv(tmp_path / "x.csv", index=False)
    X.assign(species=Y).to_csv(tmp_path / "t.csv", index=False)
    classes, said = printed_by_predict(tmp_path / "e.safetensors", tmp_path / "x.csv", capsys)
    assert classes == list(classifier.predict(X.values))
    assert "columns matched by position" in said
    assert main(["predict", str(tmp_path / "e.safetensors"), str(tmp_path / "t.csv")]) == 2
    assert "the model knows no names of columns" in capsys.readouterr().err


SCALERS = [StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler(), RobustScaler()]


@pytest.mark.parametrize("scaler", [*SCALERS, MaxAbsScaler()], ids=repr)
def test_a_pipeline_of_scalers_is_saved_whole(scaler, tmp_path, capsys):
    pipeline = make_pipeline(scaler, "passthrough", bp.MLPClassifier(**QUICK)).fit(X, Y)
    bp.save_estimator(pipeline, tmp_path / "p.safetensors")
    again = bp.load_estimator(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))
    assert [name for name, _ in again.steps] == [pipeline.steps[0][0], "mlpclassifier"]
    for each in (pipeline, again):
        each[-1].partial_fit(scaler.transform(X), Y)
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))
    bp.save_estimator(pipeline, tmp_path / "p.safetensors")
    X.to_csv(tmp_path / "x.csv", index=False)
    classes, _ = printed_by_predict(tmp_path / "p.safetensors", tmp_path / "x.csv", capsys)
    assert classes == list(pipeline.predict(X))


def changed(path, change):
    """Rewrite the description in a file of an estimator, with valid checksums."""
    model = bp.load(path, device="cpu")
    description = json.loads(model.metadata["estimator"])
    change(description)
    model.metadata["estimator"] = json.dumps(description)
    model.save(path)


def test_files_that_are_damaged_foreign_or_newer_are_one_line(tmp_path):
    path = tmp_path / "e.safetensors"
    classifier = bp.MLPClassifier(**QUICK).fit(X, Y)

    def said():
        with pytest.raises(bp.DataError) as error:
            bp.load_estimator(path)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(path))
        return str(error.value)

    classifier.save(path)
    changed(path, lambda d: d.update(version=2))
    assert "pip install -U bp_arrays" in said()
    for change in (
        lambda d: d.pop("version"),
        lambda d: d.update({"class": "Pipeline"}),
        lambda d: d["record"].pop("epochs"),
        lambda d: d["parameters"].update(alpha={"eval": "1"}),
        lambda d: d["labels"].update(classes={"array": {"dtype": "O", "values": [{"x": 1}]}}),
    ):
        classifier.save(path)
        changed(path, change)
        assert "description of the estimator is damaged" in said()
    bp.Model(bp.Linear(2), 3, device="cpu").save(path)
    assert "read it by bp.load(path), or use bp-arrays predict" in said()
    classifier.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert "the file is damaged" in said()
    path.write_bytes(content[: len(content) // 2])
    assert "truncated or damaged" in said()
    with pytest.raises(FileNotFoundError):
        bp.load_estimator(tmp_path / "none.safetensors")


def test_advice_about_an_estimator_names_arguments_that_there_are(tmp_path):
    @dataclass(frozen=True)
    class Doubled(bp.Layer):
        def init(self, input_shape):
            return {}, input_shape

        def forward(self, params, x, ctx):
            return 2.0 * x, lambda delta: (2.0 * delta, {})

    path = tmp_path / "e.safetensors"
    net = bp.Sequential(Doubled(), bp.Linear(3))
    bp.SequentialClassifier(net, epochs=1, random_state=0).fit(X, Y).save(path)
    with pytest.raises(bp.DataError, match=r"load_estimator\(path, classes=\.\.\.\)"):
        bp.load_estimator(path)
    assert bp.load_estimator(path, classes=[Doubled]).net == net


def test_a_device_without_the_compute_dtype_is_refused_with_what_there_is(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "e.safetensors"
    half = {"device": "torch:cpu", "compute_dtype": "bfloat16"}
    bp.MLPClassifier(**QUICK, **half).fit(X, Y).save(path)
    with pytest.raises(bp.InputError, match=r"load_estimator\(path, device='torch:cpu'\)"):
        bp.load_estimator(path, device="cpu")
    assert bp.load_estimator(path, device="torch:cpu").predict(X).shape == (len(X),)
    assert bp.load(path, device="cpu", compute_dtype=None).compute_dtype is None


def test_what_cannot_be_saved_is_said_before_a_file_is_written(tmp_path):
    class Mine(bp.MLPClassifier):
        pass

    path = tmp_path / "e.safetensors"
    with pytest.raises(bp.InputError, match="got its subclass Mine"):
        Mine(**QUICK).fit(X, Y).save(path)
    steps = make_pipeline(SimpleImputer(), bp.MLPClassifier(**QUICK)).fit(X, Y)
    for write in (bp.save_estimator, bp.to_onnx):
        with pytest.raises(bp.InputError, match=r"step 'simpleimputer'.*keep the other steps with"):
            write(steps, path)
        with pytest.raises(bp.InputError, match="got OneHotEncoder"):
            write(OneHotEncoder(), path)
    stopping = bp.MLPClassifier(**QUICK, callbacks=[bp.EarlyStopping(monitor="loss")]).fit(X, Y)
    assert not path.exists()
    with pytest.warns(UserWarning, match="callbacks are not stored") as told:
        stopping.save(path)
    assert told[0].filename == __file__
    assert bp.load_estimator(path).callbacks == ()


def test_custom_parts_are_passed_when_loading(tmp_path):
    first = bp.MLPClassifier(**QUICK, activation=Twice()).fit(X, Y)
    with pytest.raises(bp.DataError, match="'Twice'"):
        saved_and_loaded(first, tmp_path)
    second = saved_and_loaded(first, tmp_path, classes=[Twice])
    np.testing.assert_array_equal(second.predict(X), first.predict(X))


class Twice(bp.Identity):
    def forward(self, params, x, ctx):
        return 2.0 * x, lambda delta: (2.0 * delta, {})


def test_loading_needs_no_pickle(tmp_path, monkeypatch):
    bp.MLPClassifier(**QUICK).fit(X, Y).save(tmp_path / "e.safetensors")
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert "setosa" in bp.load_estimator(tmp_path / "e.safetensors").classes_


# -- ONNX ------------------------------------------------------------------------------------------


def run_onnx(path, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path)
    names = session.get_modelmeta().custom_metadata_map
    return session.run(None, {"input": np.asarray(x)})[0], names


@pytest.mark.parametrize("loss", ["log_loss", "mean-squared-error", "cross-entropy"])
@pytest.mark.parametrize("classes", [2, 3, "labels"])
def test_onnx_computes_the_probabilities(loss, classes, tmp_path):
    x, y = X.values, np.minimum(IRIS.target, (classes if isinstance(classes, int) else 3) - 1)
    if classes == "labels":
        if loss == "cross-entropy":
            pytest.skip("cross-entropy is for one class per sample")
        x, y = make_multilabel_classification(60, 4, n_classes=3, random_state=0)
    classifier = bp.MLPClassifier(**QUICK, loss=loss).fit(x, y)
    classifier.to_onnx(tmp_path / "c.onnx")
    probabilities, _ = run_onnx(tmp_path / "c.onnx", x)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "binary-cross-entropy"])
def test_onnx_computes_the_values(loss, tmp_path):
    regressor = bp.MLPRegressor(loss, **QUICK).fit(X, IRIS.target / 2.0)
    regressor.to_onnx(tmp_path / "r.onnx")
    values, _ = run_onnx(tmp_path / "r.onnx", X)
    np.testing.assert_allclose(values[:, 0], regressor.predict(X), rtol=1e-12)


@pytest.mark.parametrize("scaler", [*SCALERS, MaxAbsScaler()], ids=repr)
def test_onnx_has_the_scaler_of_the_pipeline_and_the_names(scaler, tmp_path):
    pipeline = make_pipeline(scaler, bp.MLPClassifier(**QUICK)).fit(X, Y)
    bp.to_onnx(pipeline, tmp_path / "p.onnx")
    probabilities, names = run_onnx(tmp_path / "p.onnx", X)
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), rtol=1e-12)
    assert json.loads(names["feature_names"]) == list(X.columns)
    assert json.loads(names["classes"]) == list(IRIS.target_names)
    bp.to_onnx(pipeline, tmp_path / "p.onnx", dtype="float32")
    probabilities, _ = run_onnx(tmp_path / "p.onnx", X.astype("float32"))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), rtol=1e-5)


def test_the_command_line_explains_with_the_names(tmp_path, capsys):
    two = (Y == "setosa").rename("setosa")
    for classes in (Y, two):
        classifier = bp.MLPClassifier(**QUICK).fit(X, classes)
        classifier.save(tmp_path / "e.safetensors")
        table = X.assign(**{classes.name: classes})
        table.to_csv(tmp_path / "t.csv", index=False)
        words = ["explain", str(tmp_path / "e.safetensors"), str(tmp_path / "t.csv")]
        assert main([*words, "--sample", "3"]) == 0
        printed = capsys.readouterr().out
        assert "x₁ is sepal length (cm)" in printed
        loss = bp.explain(classifier, X.iloc[2], classes.iloc[2]).loss_value
        assert f"{loss:.6g}"[:8] in printed
