"""Covers: `bp-arrays predict`: class names, columns, and what goes to stdout and stderr."""

from __future__ import annotations

import csv
import io
import json
import struct
from importlib.util import find_spec

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line._check_range import check_range
from bp_arrays.command_line._dtype_limits import limits_of
from bp_arrays.readers import Dataset


@pytest.fixture
def model(run, flowers):
    assert run("train", flowers, "--target", "kind", "--device", "cpu", "--out", "m").code == 0
    return "m"


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_classes_and_probabilities(run, model, flowers):
    result = run("predict", model, flowers, "--device", "cpu")
    header, *rows = rows_of(result.out)
    assert header == ["prediction", "probability"] and len(rows) == 60
    assert [row[0] for row in rows] == ["daisy", "rose", "tulip"] * 20
    assert all(0.5 < float(row[1]) <= 1.0 for row in rows)
    assert result.err == "predicted 60 rows: accuracy 100.00%\n"


def test_columns_in_another_order_with_others_and_without_the_target(run, model, flowers, tmp_path):
    expected = rows_of(run("predict", model, flowers, "--device", "cpu").out)[1:4]
    with flowers.open() as file:
        rows = list(csv.DictReader(file))[:3]
    lines = ["note,height,width"] + [f"some text,{r['height']},{r['width']}" for r in rows]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    result = run("predict", model, "new.csv", "--device", "cpu")
    assert rows_of(result.out)[1:] == expected
    assert result.err == "predicted 3 rows\n"


def test_a_delimiter_that_is_told(run, flowers, tmp_path):
    (tmp_path / "bars.csv").write_text(flowers.read_text().replace(",", "|"))
    words = ("--target", "kind", "--device", "cpu", "--out", "m", "--sep", "|", "--quiet")
    assert run("train", "bars.csv", *words).code == 0
    (tmp_path / "tabs.csv").write_text(flowers.read_text().replace(",", "\t"))
    expected = run("predict", "m", flowers, "--device", "cpu")
    for name, sep in (("bars.csv", "|"), ("tabs.csv", "tab"), ("tabs.csv", "\\t")):
        assert run("predict", "m", name, "--device", "cpu", "--sep", sep) == expected
        assert run("explain", "m", name, "--sep", sep, "--weight", "1.bias:1").code == 0
    for data, sep, message in (
        ("bars.csv", "||", "argument --sep: expected one character"),
        ("digits", ";", "sep: expected a .csv file, got digits; drop sep"),
        ("tabs.csv", ";", "has no column 'width'"),
    ):
        result = run("predict", "m", data, "--sep", sep)
        assert result.code == 2 and message in result.err and result.out == ""


def test_a_missing_column_is_named(run, model, tmp_path):
    (tmp_path / "new.csv").write_text("width,heigth\n1,2\n")
    result = run("predict", model, "new.csv")
    assert result.code == 2 and "has no column 'height': did you mean 'heigth'" in result.err


def test_targets_of_one_class_or_of_unknown_ones(run, model, tmp_path):
    (tmp_path / "new.csv").write_text("width,height,kind\n0,0,daisy\n0,0,weed\n")
    result = run("predict", model, "new.csv", "--device", "cpu")
    assert "accuracy 50.00% (classes the model does not know: weed)" in result.err
    (tmp_path / "new.csv").write_text("width,height,kind\n1,-1,rose\n")
    assert "accuracy 100.00%\n" in run("predict", model, "new.csv", "--device", "cpu").err


@pytest.mark.parametrize("missing", ["", "NA", "nan", " null "])
def test_rows_without_a_target_are_predicted_and_not_scored(run, model, tmp_path, missing):
    rows = ["0,0,daisy", f"1,-1,{missing}", "2,-2,rose", f"0,0,{missing}"]
    (tmp_path / "some.csv").write_text("\n".join(["width,height,kind", *rows]))
    words = ("--device", "cpu", "--report", "r.json")
    result = run("predict", model, "some.csv", *words)
    assert [row[0] for row in rows_of(result.out)[1:]] == ["daisy", "rose", "tulip", "daisy"]
    assert "predicted 4 rows: accuracy 50.00% on the 2 of 4 rows that have a target" in result.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["rows"], report["scored_rows"], report["accuracy"]) == (4, 2, 0.5)
    assert report["confusion"]["counts"] == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    result = run("explain", model, "some.csv", "--sample", 2, "--weight", "1.bias:1")
    assert result.code == 2 and "some.csv, row 2: expected a target, got none" in result.err
    assert run("explain", model, "some.csv", "--weight", "1.bias:1").code == 0
    (tmp_path / "none.csv").write_text("\n".join(["width,height,kind", f"0,0,{missing}"]))
    assert run("predict", model, "none.csv", "--device", "cpu").err == "predicted 1 rows\n"


def test_a_class_that_looks_like_a_missing_value_is_one(run, flowers, tmp_path):
    flowers.write_text(flowers.read_text().replace("rose", "NA"))
    run("train", flowers, "--target", "kind", "--device", "cpu", "--out", "m")
    (tmp_path / "new.csv").write_text("width,height,kind\n1,-1,NA\n1,-1,NULL\n1,-1,NA\n")
    result = run("predict", "m", "new.csv", "--device", "cpu")
    assert "accuracy 100.00% on the 2 of 3 rows that have a target\n" in result.err


def test_true_and_false_are_the_classes_1_and_0_of_other_files(run, tmp_path):
    x = np.repeat([[0.0], [1.0]], 20, axis=0)
    np.savez(tmp_path / "d.npz", x=x, t=x[:, 0] > 0)
    lines = [f"{a},{a > 0}" for a in x[:, 0]]
    (tmp_path / "d.csv").write_text("\n".join(["a,target", *lines]))
    for data, words in {"d.npz": (), "d.csv": ("--target", "target")}.items():
        run("train", data, *words, "--device", "cpu", "--out", "m", "--epochs", 10)
        for other in ("d.npz", "d.csv"):
            result = run("predict", "m", other, "--device", "cpu")
            by_position = "columns matched by position: the model knows no names\n"
            note = by_position if (data, other) == ("d.npz", "d.csv") else ""
            assert result.err == f"{note}predicted 40 rows: accuracy 100.00%\n", (data, other)


def test_explain_and_predict_know_the_same_classes(run, tmp_path):
    lines = [f"{a},{a}" for a in [0, 1] * 20]
    (tmp_path / "d.csv").write_text("\n".join(["a,target", *lines]))
    words = ("--target", "target", "--device", "cpu", "--out", "m", "--epochs", 1)
    assert run("train", "d.csv", *words).code == 0
    for names, unknown in {("1", "1.0", "0"): "1.0", ("1.0", "1.0", "0"): None}.items():
        rows = [f"{float(name)},{name}" for name in names]
        (tmp_path / "e.csv").write_text("\n".join(["a,target", *rows]))
        result = run("predict", "m", "e.csv", "--device", "cpu")
        assert result.code == 0 and ("does not know: 1.0)" in result.err) == (unknown == "1.0")
        result = run("explain", "m", "e.csv", "--sample", 2, "--weight", "1.bias:1")
        assert result.code == (2 if unknown else 0), result.err
        assert ("row 2: expected a class of the model, 0, 1, got '1.0'" in result.err) == (
            unknown == "1.0"
        )
        assert run("explain", "m", "e.csv", "--weight", "1.bias:1").code == 0


def test_values_that_are_missing_in_any_file_are_not_scored(run, prices, tmp_path):
    """The mean by hand is the witness."""
    run("train", prices, "--target", "price", "--device", "cpu", "--out", "m", "--epochs", 2)
    table = np.loadtxt(prices, delimiter=",", skiprows=1)[:5]
    x, t = table[:, :3], np.round(table[:, 3])
    t[[1, 4]] = np.nan
    np.savez(tmp_path / "d.npz", x=x, t=t)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", t)
    lines = [",".join(map(repr, row)) for row in np.column_stack([x, t]).tolist()]
    (tmp_path / "d.csv").write_text("\n".join(["rooms,area,age,price", *lines]))
    names = ["d.csv", "d.npz", "x.npy,t.npy"]
    if find_spec("pyarrow"):
        import pyarrow
        from pyarrow import parquet

        whole = [None if np.isnan(value) else int(value) for value in t]
        columns = dict(zip(("rooms", "area", "age"), x.T, strict=True))
        for name, price in {
            "nulls": whole,
            "nan": t,
            "text": [str(v or "") for v in whole],
        }.items():
            parquet.write_table(
                pyarrow.table(columns | {"price": price}),
                tmp_path / f"{name}.parquet",
                row_group_size=2,
            )
            names.append(f"{name}.parquet")
    for name in names:
        words = ("--device", "cpu", "--report", "r.json", "--out", "o.csv")
        result = run("predict", "m", name, *words)
        assert "on the 3 of 5 rows that have a target" in result.out, name
        y = np.loadtxt(tmp_path / "o.csv", skiprows=1)
        assert np.isfinite(y).all() and len(y) == 5
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["mean_squared_error"] == pytest.approx(np.nanmean((y - t) ** 2), rel=1e-5)


def test_the_limits_of_dtypes_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="witness PyTorch is missing")
    for dtype in ("float64", "float32", "float16", "bfloat16"):
        expected = torch.finfo(getattr(torch, dtype))
        assert limits_of(dtype) == (expected.eps, expected.tiny, expected.max)
    data = Dataset(np.array([[3.38e38], [3.4e38]]), None, None, (), (), "d")
    assert torch.tensor(data.x).to(torch.bfloat16).isinf().tolist() == [[False], [True]]
    check_range(data, "float32", "")
    with pytest.raises(bp.DataError, match=r"exceeds 3.39e\+38, the largest .* bfloat16, in row 1"):
        check_range(data, "bfloat16", "change its unit")


@pytest.mark.parametrize("value", ["1e300", "-1e39", "3.5e38"])
def test_values_beyond_the_dtype_are_refused_as_train_does(run, model, tmp_path, value):
    (tmp_path / "new.csv").write_text(f"width,height,kind\n0,0,daisy\n0,{value},daisy\n")
    np.savez(tmp_path / "new.npz", x=[[0.0, 0.0], [0.0, float(value)]], t=["daisy"] * 2)
    for name, column in {"new.csv": "column 'height'", "new.npz": "feature 1"}.items():
        message = f"a feature exceeds 3.4e+38, the largest number in float32, in row 1, {column}"
        for words in (("predict", model, name, "--out", "o.csv"), ("explain", model, name)):
            result = run(*words)
            assert result.code == 2 and result.err.count("\n") == 1 and result.out == ""
            assert message in result.err
    assert not (tmp_path / "o.csv").exists()


def test_targets_beyond_the_dtype_are_refused_too(run, prices, tmp_path):
    run("train", prices, "--target", "price", "--device", "cpu", "--out", "m", "--epochs", 1)
    (tmp_path / "new.csv").write_text("rooms,area,age,price\n0,0,0,\n0,0,0,1e300\n")
    result = run("predict", "m", "new.csv")
    assert result.code == 2 and result.out == ""
    assert "a target exceeds 3.4e+38, the largest number in float32, in row 1, col" in result.err


def test_outputs_that_are_not_finite_are_refused(run, tmp_path):
    """A feature within float32 may be without it as soon as it is multiplied."""
    model = bp.Model(bp.Linear(2), input_shape=1, device="cpu")
    model.set_parameters({"weight": [[10.0, -10.0]]})
    model.save(tmp_path / "m")
    (tmp_path / "new.csv").write_text("a\n1\n1e38\n")
    result = run("predict", "m", "new.csv", "--device", "cpu", "--out", "o.csv")
    assert result.code == 2 and not (tmp_path / "o.csv").exists()
    assert "row 1 (counted from 0): expected a finite output of the model, got inf" in result.err


def test_values_go_through_a_file(run, prices, tmp_path):
    run("train", prices, "--target", "price", "--device", "cpu", "--out", "m", "--epochs", 60)
    result = run("predict", "m", prices, "--device", "cpu", "--out", "p.csv")
    header, *rows = rows_of((tmp_path / "p.csv").read_text())
    assert header == ["prediction"] and len(rows) == 200
    values = np.array(rows, dtype=float)[:, 0]
    truth = np.loadtxt(prices, delimiter=",", skiprows=1)[:, 3]
    assert np.corrcoef(values, truth)[0, 1] > 0.99 and abs(values.mean() - truth.mean()) < 1e4
    assert result.out.startswith("predicted 200 rows: mean squared error")
    assert result.out.endswith("written to p.csv\n")


def test_several_values_have_their_names(run):
    run("train", "notes", "--device", "cpu", "--epochs", 1, "--out", "m")
    assert run("predict", "m", "notes", "--device", "cpu").out.startswith("both,at_least_one\n")


def test_columns_without_names_are_taken_in_order(run, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savez(tmp_path / "d.npz", x=x, t=(x[:, 0] > 0).astype(int))
    run("train", "d.npz", "--device", "cpu", "--out", "m")
    expected = run("predict", "m", "d.npz", "--device", "cpu").out
    lines = ["a,b"] + [f"{a!r},{b!r}" for a, b in x.tolist()]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    assert run("predict", "m", "d.csv", "--device", "cpu").out == expected
    np.save(tmp_path / "x.npy", x)
    assert run("predict", "m", "x.npy", "--device", "cpu").out == expected
    (tmp_path / "d.csv").write_text("a,b,c\n1,2,3\n")
    result = run("predict", "m", "d.csv", "--device", "cpu")
    assert result.code == 2 and "expected the model's 2 features, got 3" in result.err


def test_images_from_training_to_prediction(run, tmp_path, device):
    """IDX files; the last fifth is held out, in order."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=50, dtype=np.uint8)
    images = (rng.integers(0, 50, size=(50, 4, 4)) + 200 * labels[:, None, None]).astype(np.uint8)
    head = struct.pack(">BBBBIII", 0, 0, 8, 3, 50, 4, 4)
    (tmp_path / "a-images-idx3-ubyte").write_bytes(head + images.tobytes())
    (tmp_path / "a-labels-idx1-ubyte").write_bytes(
        struct.pack(">BBBBI", 0, 0, 8, 1, 50) + labels.tobytes()
    )
    result = run("train", "a-images-idx3-ubyte", "--device", device.name, "--out", "m")
    assert result.code == 0, result.err
    assert "10 for testing (the last 10 rows, in order)" in result.out
    result = run("predict", "m", "a-images-idx3-ubyte", "--device", device.name)
    assert "accuracy 100.00%" in result.err


def test_a_model_saved_from_python_predicts_too(run, tmp_path):
    bp.Model(bp.Flatten(), input_shape=(2, 2), device="cpu").save(tmp_path / "m")
    (tmp_path / "d.csv").write_text("a,b,c,d\n1,2,3,4.5\n")
    result = run("predict", "m", "d.csv", "--device", "cpu")
    assert rows_of(result.out) == [
        ["output_0", "output_1", "output_2", "output_3"],
        ["1.0", "2.0", "3.0", "4.5"],
    ]


def test_models_that_are_none(run, flowers, tmp_path):
    (tmp_path / "bad").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    for name, message in {
        "missing": "there is no model file",
        "flowers.csv": "not a readable",
        "bad": "bad",
    }.items():
        result = run("predict", name, flowers)
        assert result.code == 2 and message in result.err and result.err.count("\n") == 1


def test_damaged_meaning(run, flowers, tmp_path):
    model = bp.Model(bp.Identity(), input_shape=(2,), device="cpu")
    damaged_loss = (
        '{"classes": null, "feature_names": [], "target_names": [], "outputs": "values", '
        '"loss": {"name": "Huber", "threshold": -1}}'
    )
    for text in ("{", "[]", '{"classes": 3}', '{"classes": null}', damaged_loss):
        model.metadata = {"meaning": text}
        model.save(tmp_path / "m")
        result = run("predict", "m", flowers)
        assert result.code == 2 and "the schema of its inputs and outputs is damaged" in result.err


def test_a_report_of_classes_where_the_targets_are_known(run, model, flowers, tmp_path):
    pytest.importorskip("matplotlib")
    other = tmp_path / "other.csv"
    other.write_text(flowers.read_text().replace("tulip", "weed"))
    result = run(
        "predict", model, other, "--device", "cpu", "--report", "r.json", "--plot", "p.png"
    )
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["accuracy"] == pytest.approx(2 / 3) and report["rows"] == 60
    assert report["confusion"] == {
        "classes": ["daisy", "rose", "tulip", "weed"],  # weeds it took for tulips
        "counts": [[20, 0, 0, 0], [0, 20, 0, 0], [0, 0, 0, 0], [0, 0, 20, 0]],
        "f1": [1.0, 1.0, 0.0, 0.0],
        "precision": [1.0, 1.0, 0.0, None],
        "recall": [1.0, 1.0, None, 0.0],
    }
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "weed" in result.err and "weed" not in result.out  # the screen may be a pipe
    assert len(rows_of(result.out)) == 61


@pytest.mark.parametrize("loss", ["mean_absolute_error", "l2_loss"])
def test_values_are_scored_by_the_loss_of_the_training(run, prices, tmp_path, loss):
    words = ("--device", "cpu", "--out", "m", "--epochs", 1, "--loss", loss)
    run("train", prices, "--target", "price", *words)
    result = run("predict", "m", prices, "--device", "cpu", "--out", "p.csv", "--report", "r.json")
    y = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    r = y - np.loadtxt(prices, delimiter=",", skiprows=1)[:, 3]
    expected = {"mean_absolute_error": np.abs(r).mean(), "l2_loss": np.square(r).mean() / 2}[loss]
    assert json.loads((tmp_path / "r.json").read_text())[loss] == pytest.approx(expected)
    assert f"predicted 200 rows: {loss.replace('_', ' ')} {expected:.4g}" in result.out


def test_a_report_of_values(run, prices, tmp_path):
    words = ("--device", "cpu", "--out", "m", "--epochs", 2)
    run("train", prices, "--target", "price", *words)
    run("predict", "m", prices, "--report", "r.json", "--out", "o.csv", "--device", "cpu")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["mean_squared_error"] > 0.0 and report["confusion"] is None


@pytest.mark.parametrize(
    ("data", "option", "message"),
    [
        ("bare.csv", "--report r.json", "--report: expected targets to score"),
        ("bare.csv", "--plot p.png", "--plot: expected targets to score"),
        ("prices.csv", "--plot p.png", "--plot: expected classes for a confusion matrix"),
        ("prices.csv", "--plot p.bmp", "--plot p.bmp: expected an image format, got 'bmp'"),
        ("prices.csv", "--report no/r.json", "--report no/r.json: no folder"),
        ("prices.csv", "--report prices.csv", "would replace the input"),
    ],
)
def test_what_cannot_be_told_is_said_before_anything_is_written(
    run, prices, tmp_path, data, option, message
):
    pytest.importorskip("matplotlib")
    run("train", prices, "--target", "price", "--device", "cpu", "--out", "m", "--epochs", 1)
    lines = prices.read_text().splitlines()
    (tmp_path / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run("predict", "m", data, "--device", "cpu", "--out", "o.csv", *option.split())
    assert result.code == 2 and message in result.err and result.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("loss", ["log_loss", "mean_squared_error"])
def test_an_ensemble_predicts_the_mean_of_its_members(run, tmp_path, loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = np.where(x[:, 0] > 0, "right", "left")
    net = bp.Ensemble(bp.Sequential(bp.Linear(4), bp.Tanh()), 3)
    classifier = bp.SequentialClassifier(net, loss=loss, epochs=3, random_state=0).fit(x, y)
    classifier.save(tmp_path / "c")
    regressor = bp.SequentialRegressor(net, epochs=3, random_state=0).fit(x, x[:, 1])
    regressor.save(tmp_path / "r")
    np.save(tmp_path / "x.npy", x)
    rows = run("predict", "c", "x.npy").out.splitlines()[1:]
    p = classifier.predict_proba(x)
    assert [row.split(",")[0] for row in rows] == classifier.predict(x).tolist()
    printed = [float(row.split(",")[1]) for row in rows]
    np.testing.assert_allclose(printed, p.max(axis=1), atol=1e-6)
    rows = run("predict", "r", "x.npy").out.splitlines()
    assert rows[0] == "prediction"
    np.testing.assert_allclose(np.array(rows[1:], float), regressor.predict(x), rtol=1e-6)
    with pytest.raises(bp.InputError, match="explain: expected a net without Ensemble"):
        bp.explain(regressor, x[0], x[0, 1])
