"""Covers: `bp-arrays train`: training, output, files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import r2_score

import bp_arrays as bp
from bp_arrays.command_line._precision import dtype_for
from bp_arrays.command_line._recipe import SCHEDULES
from bp_arrays.command_line._standardizing import ColumnStatistics
from bp_arrays.command_line._target_units import LossInUnits
from bp_arrays.readers import Dataset, open_dataset, split
from bp_arrays.training import _progress as progress


def report_in(folder):
    return json.loads((folder / "r.json").read_text())


def test_the_main_job(run, tmp_path):
    result = run(
        "train",
        "digits",
        "--device",
        "cpu",
        "--seed",
        0,
        "--out",
        "m.safetensors",
        "--report",
        "r.json",
    )
    assert result.code == 0 and result.err == ""
    report = report_in(tmp_path)
    assert report["test_accuracy"] >= 0.97
    last = result.out.splitlines()[-1]
    assert last.startswith("trained 64-128-64-10 relu on digits for 30 epochs in ")
    assert f"accuracy {report['test_accuracy']:.2%} on 360 test rows" in last
    assert last.endswith("saved to m.safetensors")

    assert {
        "device",
        "backend",
        "dtype",
        "seed",
        "epochs",
        "train_loss",
        "test_accuracy",
        "test_loss",
        "seconds",
        "data",
        "layers",
        "parameters",
        "versions",
        "history",
    } <= set(report)
    assert (report["device"], report["backend"], report["dtype"]) == ("cpu", "numpy", "float32")
    assert (report["seed"], report["epochs"], report["stopped"]) == (0, 30, None)
    assert report["data"]["train_rows"] == 1437 and report["data"]["test_rows"] == 360
    assert len(report["history"]["loss"]) == 30 and report["train_loss"] < 0.1

    model = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert model.parameter_count == report["parameters"]


def test_the_reported_accuracy_is_that_of_the_saved_model(run, tmp_path):
    from bp_arrays.readers import read_digits

    run("train", "digits", "--device", "cpu", "--epochs", 2, "--out", "m", "--report", "r.json")
    digits = read_digits()
    model = bp.load(tmp_path / "m", device="cpu")
    x, t = digits.x[digits.held_out], digits.t[digits.held_out]
    accuracy = np.mean(np.argmax(model.predict(x), axis=1) == t)
    assert accuracy == pytest.approx(report_in(tmp_path)["test_accuracy"])


def test_held_out_rows_are_never_trained_on(run, monkeypatch):
    """Neither as samples nor in the measured scale."""
    from bp_arrays.command_line import _train as train
    from bp_arrays.readers import read_digits

    seen, real = {}, train.fit

    def spy(model, x, t, **options):
        seen["x"], seen["scale"] = np.array(x), np.array(model.parameters["0.mean"])
        return real(model, x, t, **options)

    monkeypatch.setattr(train, "fit", spy)
    run("train", "digits", "--device", "cpu", "--epochs", 1)
    digits = read_digits()
    kept = np.delete(digits.x, digits.held_out, axis=0)
    np.testing.assert_array_equal(seen["x"], kept)
    np.testing.assert_allclose(seen["scale"], kept.mean(axis=0), rtol=1e-6)


def test_notes_is_the_net_of_the_notes(run, tmp_path):
    result = run("train", "notes", "--device", "cpu", "--report", "r.json", "--epochs", 300)
    report = report_in(tmp_path)
    assert report["layers"] == ["Linear(3)", "Sigmoid", "Linear(2)", "Sigmoid"]
    assert report["loss"].startswith("L2Loss") and report["optimizer"].startswith("SGD")
    assert (
        report["parameters"] == 17 and report["history"]["loss"][-1] < report["history"]["loss"][0]
    )
    assert "trained 2-3-2 sigmoid on notes" in result.out and "on 4 test rows" in result.out


def test_a_table_with_classes(run, flowers, tmp_path):
    result = run("train", flowers, "--target", "kind", "--device", "cpu", "--report", "r.json")
    report = report_in(tmp_path)
    assert report["data"]["classes"] == ["daisy", "rose", "tulip"]
    assert report["test_accuracy"] == 1.0 and "12 rows at random" in result.out


@pytest.mark.parametrize(
    "loss", ["cross-entropy", "binary_cross_entropy", "l2", "MeanSquaredError"]
)
def test_every_way_to_learn_classes(run, flowers, loss, tmp_path):
    result = run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--loss",
        loss,
        "--report",
        "r.json",
        "--out",
        "m",
    )
    assert result.code == 0 and report_in(tmp_path)["test_accuracy"] == 1.0
    lines = run("predict", "m", flowers, "--device", "cpu").out.splitlines()
    shares = [float(line.split(",")[1]) for line in lines[1:]]
    assert all(1 / 3 < share <= 1.0 for share in shares)


def test_a_table_with_values_of_any_size(run, prices, tmp_path):
    result = run(
        "train",
        prices,
        "--target",
        "price",
        "--device",
        "cpu",
        "--report",
        "r.json",
        "--epochs",
        60,
    )
    report = report_in(tmp_path)
    assert report["test_r2"] > 0.95 and "R2 0.9" in result.out
    assert report["data"]["task"] == "regression" and report["test_loss"] > 1e3  # in squared units


def test_layers_activation_dropout_and_no_scale(run, flowers, tmp_path):
    run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--report",
        "r.json",
        "--layers",
        "5,4",
        "--activation",
        "leaky-relu",
        "--dropout",
        "0.1",
        "--no-standardize",
        "--epochs",
        1,
    )
    assert report_in(tmp_path)["layers"] == [
        "Linear(5)",
        "LeakyReLU",
        "Dropout",
        "Linear(4)",
        "LeakyReLU",
        "Dropout",
        "Linear(3)",
    ]
    run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--report",
        "r.json",
        "--layers",
        "none",
        "--standardize",
        "--epochs",
        1,
    )
    assert report_in(tmp_path)["layers"] == ["Standardize", "Linear(3)"]


def test_every_schedule_of_the_library_has_its_name_here():
    from bp_arrays.schedules import SCHEDULES as known

    made = {type(build(0.1, 100)).__name__ for build in SCHEDULES.values()}
    assert made == set(known)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_trains(run, flowers, schedule, tmp_path):
    result = run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--epochs",
        2,
        "--schedule",
        schedule.replace("_", "-"),
        "--rate",
        0.01,
        "--report",
        "r.json",
    )
    assert result.code == 0
    rates = report_in(tmp_path)["history"]["learning_rate"]
    assert all(0.0 <= rate <= 0.01 for rate in rates)


def test_patience_watches_rows_of_its_own(run, flowers, tmp_path):
    run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--patience",
        1,
        "--rate",
        1,
        "--report",
        "r.json",
        "--epochs",
        200,
    )
    report = report_in(tmp_path)
    assert report["data"]["validation_rows"] == 5
    assert report["stopped"] == "early stopping" and report["epochs"] < 200
    assert "val_loss" in report["history"] and "val_accuracy" in report["history"]


def test_equal_seeds_give_equal_models(run, flowers, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(
            "train",
            flowers,
            "--target",
            "kind",
            "--device",
            "cpu",
            "--epochs",
            2,
            "--seed",
            seed,
            "--dropout",
            0.2,
            "--out",
            name,
        )
    a, b, c = (np.asarray(bp.load(tmp_path / name, device="cpu").vector) for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_devices_agree(run, device, tmp_path):
    result = run(
        "train",
        "notes",
        "--device",
        device.name,
        "--dtype",
        "float64",
        "--epochs",
        3,
        "--report",
        "r.json",
        "--out",
        "m",
    )
    assert result.code == 0, result.err
    theirs = report_in(tmp_path)
    assert theirs["device"] == device.name
    run(
        "train",
        "notes",
        "--device",
        "cpu",
        "--dtype",
        "float64",
        "--epochs",
        3,
        "--report",
        "r.json",
    )
    assert theirs["test_loss"] == pytest.approx(report_in(tmp_path)["test_loss"], rel=1e-9)
    assert run("predict", "m", "notes", "--device", device.name).out.count("\n") == 17


def test_quiet_is_one_line_and_no_result_is_lost(run):
    result = run("train", "notes", "--epochs", 1, "--quiet", "--test", 0)
    assert result.out.count("\n") == 1 and result.err == ""
    assert "no test rows; not saved (use --out MODEL)" in result.out


def test_options_reach_the_training(run, monkeypatch):
    """And a bar is asked for unless --quiet."""
    from bp_arrays.command_line import _train as train

    real, asked = train.fit, []

    def spy(*args, **options):
        asked.append(tuple(options[name] for name in ("epochs", "batch_size", "seed", "progress")))
        return real(*args, **options)

    monkeypatch.setattr(train, "fit", spy)
    for words in (("--batch", 3, "--seed", 5), ("--quiet",)):
        run("train", "notes", "--device", "cpu", "--epochs", 2, *words)
    assert asked == [(2, 3, 5, True), (2, 4, 0, False)]


def test_another_optimizer_has_a_rate_of_its_own(run, tmp_path):
    """Not the one that was chosen for the default optimizer of the data."""
    words = ("train", "notes", "--device", "cpu", "--epochs", 1, "--report", "r.json")
    rates = []
    for more in ((), ("--optimizer", "adam"), ("--optimizer", "adagrad"), ("--rate", 0.5)):
        run(*words, *more)
        rates.append(report_in(tmp_path)["history"]["learning_rate"][0])
    assert rates == [2.0, 0.003, 0.01, 0.5]


def test_nothing_held_out_is_null_in_the_report(run, tmp_path):
    run("train", "notes", "--epochs", 1, "--quiet", "--test", 0, "--report", "r.json")
    assert report_in(tmp_path)["test_loss"] is None


def test_it_says_what_auto_is(run):
    assert "device 'auto' is " in run("train", "notes", "--epochs", 1).err


def test_ctrl_c_keeps_what_was_trained(run, tmp_path, monkeypatch):
    def press(self, values):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "epoch", press)
    result = run("train", "digits", "--device", "cpu", "--out", "m", "--report", "r.json")
    assert result.code == 130 and "Traceback" not in result.err
    assert "for 1 epochs (interrupted)" in result.out
    assert report_in(tmp_path)["stopped"] == "interrupted"
    assert bp.load(tmp_path / "m", device="cpu").output_shape == (10,)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture(run, flowers, tmp_path, kind):
    pytest.importorskip("matplotlib")
    run(
        "train",
        flowers,
        "--target",
        "kind",
        "--device",
        "cpu",
        "--epochs",
        3,
        "--validation",
        0.2,
        "--plot",
        f"p.{kind}",
    )
    content = (tmp_path / f"p.{kind}").read_bytes()
    assert content.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    if kind == "svg":
        assert len(content) > 10_000


def test_a_picture_before_the_first_epoch_ended(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from bp_arrays.training.runners._replay import ReplayRunner

    def press(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(ReplayRunner, "epoch", press)
    result = run("train", "notes", "--device", "cpu", "--plot", "p.png")
    assert result.code == 130 and (tmp_path / "p.png").exists(), result.err


def test_a_scale_measured_in_parts_is_that_of_the_whole():
    x = np.random.default_rng(0).normal(size=(20_000, 3)) * (1.0, 1e-3, 1e3) + (0.0, 1e4, -5.0)
    columns = ColumnStatistics.of(x)
    np.testing.assert_allclose(columns.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(columns.scale, x.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(columns.largest, np.abs(x).max(axis=0))
    shared = ColumnStatistics.of(x, one_unit=True).scale
    np.testing.assert_allclose(shared, np.sqrt(x.var(axis=0).mean()) * np.ones(3))


def test_pixels_that_never_change_share_the_scale_of_the_others():
    x = np.array([[0.0, 7.0, 0.0], [0.0, 7.0, 255.0]])
    columns = ColumnStatistics.of(x, one_unit=True)
    expected = np.sqrt(x.var(axis=0).mean())
    np.testing.assert_allclose(columns.scale, [expected] * 3, rtol=1e-15)
    np.testing.assert_allclose(columns.mean, [0.0, 7.0, 127.5], rtol=1e-15)
    assert ColumnStatistics.of(x[:1], one_unit=True).scale.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_the_scale_of_numbers_whose_squares_overflow_or_vanish(scale):
    x = np.random.default_rng(0).normal((0.0, 5.0), size=(1000, 2))
    columns, shared = ColumnStatistics.of(scale * x), ColumnStatistics.of(scale * x, one_unit=True)
    np.testing.assert_allclose(columns.scale, scale * x.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(columns.mean, scale * x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(shared.scale, scale * np.sqrt(x.var(axis=0).mean()), rtol=1e-12)


def test_a_feature_that_never_changes_is_not_divided_by_its_noise():
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000.0), np.zeros(1000)])
    x[::3, 0] = np.nextafter(0.1, 1.0)
    columns = ColumnStatistics.of(x)
    assert columns.scale[[0, 2]].tolist() == [1.0, 1.0]
    assert columns.constant.tolist() == [True, False, True]


def test_values_too_close_for_a_dtype_are_described_by_the_training_rows():
    x = np.array([[1e6 + 0.01], [1e6 + 0.02], [1e6 + 0.03], [7e9]])
    data, training = Dataset(x, None, None, (), (), "d"), ColumnStatistics.of(x[:3])
    with pytest.raises(bp.DataError, match=r"values near 1e\+06 that vary by 0\.00816"):
        dtype_for(data, training, None, bp.device("cpu"), "float32")


def regression_table(folder, scale, offset=0.0, inputs=1.0):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = offset + scale * (np.sin(x[:, 0]) + 0.5 * x[:, 1])
    rows = [
        f"{a!r},{b!r},{v!r}" for (a, b), v in zip((inputs * x).tolist(), y.tolist(), strict=True)
    ]
    (folder / "unit.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    return y


def train_units(run, folder, *words):
    words = ("--device", "cpu", "--report", "r.json", "--out", "m", "--layers", 16, *words)
    result = run("train", "unit.csv", "--target", "y", "--quiet", "--epochs", 10, *words)
    assert result.code == 0, result.err
    return report_in(folder)


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e3, 1e8])
@pytest.mark.parametrize(
    "words",
    [
        ("--optimizer", "adam"),
        ("--optimizer", "sgd", "--rate", 0.05),
        ("--optimizer", "adagrad", "--rate", 0.05),
        ("--optimizer", "rmsprop"),
        ("--loss", "mean_absolute_error"),
        ("--loss", "huber"),
        ("--loss", "l2", "--optimizer", "sgd"),
    ],
    ids=lambda words: words[1],
)
def test_targets_of_any_unit_are_learned_equally_well(run, tmp_path, scale, words):
    regression_table(tmp_path, 1.0)
    plain = train_units(run, tmp_path, *words)
    y = regression_table(tmp_path, scale)
    report = train_units(run, tmp_path, *words)
    assert report["test_r2"] == pytest.approx(plain["test_r2"], abs=0.02)
    assert plain["test_r2"] > 0.5
    # the saved model speaks the units of the data: its loss is what was reported
    power = 1 if "mean_absolute_error" in words else 2
    assert report["train_loss"] / scale**power == pytest.approx(plain["train_loss"], rel=0.05)
    run("predict", "m", "unit.csv", "--device", "cpu", "--out", "p.csv", "--report", "p.json")
    p = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    assert r2_score(y, p) == pytest.approx(report["train_r2"], abs=0.05)


@pytest.mark.parametrize("inputs", [1e-30, 1e-8, 1e8, 1e30])
def test_features_of_any_unit_are_learned_equally_well(run, tmp_path, inputs):
    regression_table(tmp_path, 1.0)
    plain = train_units(run, tmp_path)["test_r2"]
    regression_table(tmp_path, 1.0, inputs=inputs)
    assert train_units(run, tmp_path)["test_r2"] == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("loss", ["MeanSquaredError", "MeanAbsoluteError", "Huber", "L2Loss"])
def test_the_loss_in_units_of_many_rows_in_half_precision(loss):
    loss, scales = getattr(bp, loss)(), (1.0, 0.5)
    model = bp.Model(bp.Identity(), 2, device="cpu", dtype="float16")
    x, t = np.full((9000, 2), 9.0), np.zeros((9000, 2))
    metric = LossInUnits(loss, scales)
    result = bp.evaluate(model, x, t, loss=loss, metrics=[metric], batch_size=9000)
    expected = {
        "MeanSquaredError": (81.0 + 81.0 / 4) / 2,
        "MeanAbsoluteError": (9.0 + 9.0 / 2) / 2,
        "Huber": (8.5 + 8.5 / 4) / 2,
        "L2Loss": (81.0 + 81.0 / 4) / 2,
    }[type(loss).__name__]
    assert result["loss_in_units"] == pytest.approx(expected, rel=1e-6)


def outputs_of_units(folder, scales):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    t = np.sin(x) * scales + np.multiply(scales, 3.0)
    np.save(folder / "x.npy", x)
    np.save(folder / "t.npy", t)
    return x, t


@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber", "l2"])
def test_outputs_of_different_units_are_learned_equally_well(run, tmp_path, loss):
    words = ("--device", "cpu", "--epochs", 10, "--report", "r.json", "--out", "m")
    words += ("--validation", 0.1, "--test", 0, "--loss", loss, "--layers", "128,64")
    scores = []
    for scales in ((1.0, 1.0, 1.0), (1e-8, 1.0, 1e8)):
        x, t = outputs_of_units(tmp_path, scales)
        result = run("train", "x.npy,t.npy", *words)
        assert result.code == 0, result.err
        y = bp.load(tmp_path / "m", device="cpu").predict(x).astype(np.float64)
        scores.append(r2_score(t, y, multioutput="raw_values"))
    np.testing.assert_allclose(*scores, atol=0.02)
    assert min(scores[0]) > 0.5
    report = report_in(tmp_path)
    r = y - t
    s = t.std(axis=0)
    expected = {
        "mean_squared_error": np.square(r).mean(),
        "mean_absolute_error": np.abs(r).mean(),
        "l2": np.square(r).sum(axis=1).mean() / 2.0,
        # of threshold 1 in standard deviations
        "huber": np.mean(s**2 * np.where(abs(r) < s, (r / s) ** 2 / 2, abs(r) / s - 0.5)),
    }[loss]
    rows = {"train": 360, "validation": 40}
    whole = report["train_loss"] * rows["train"] + report["history"]["val_loss"][-1] * 40
    assert whole / 400 == pytest.approx(expected, rel=0.02)
    assert set(report["history"]) == {
        "loss", "learning_rate", "seconds", "r2", "val_loss", "val_r2"
    }  # fmt: skip
    explained = run("explain", "m", "x.npy,t.npy", "--weight", "3.bias:2")
    if loss == "huber":
        assert explained.code == 2 and "expected --loss NAME" in explained.err
    else:
        assert explained.code == 0


def test_the_threshold_of_huber_is_one_standard_deviation(run, tmp_path):
    y = regression_table(tmp_path, 1e3)
    train_units(run, tmp_path, "--loss", "huber", "--test", 0)
    result = run("predict", "m", "unit.csv", "--device", "cpu", "--out", "p.csv")
    r, s = np.loadtxt(tmp_path / "p.csv", skiprows=1) - y, y.std()
    expected = np.where(abs(r) < s, r**2 / 2, s * (abs(r) - s / 2)).mean()
    assert f"huber {expected:.4g}" in result.out


@pytest.mark.parametrize("words", [(), ("--dtype", "float64")])
def test_targets_that_float32_cannot_tell_apart(run, tmp_path, words):
    regression_table(tmp_path, 0.01)
    plain = train_units(run, tmp_path, "--test", 0)["train_r2"]
    y = regression_table(tmp_path, 0.01, offset=1e6)
    report = train_units(run, tmp_path, "--test", 0, *words)
    run("predict", "m", "unit.csv", "--device", "cpu", "--out", "p.csv")
    p = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    assert len(set(p)) > 390
    assert r2_score(y, p) == pytest.approx(plain, abs=0.01)
    assert r2_score(y, p) == pytest.approx(report["train_r2"], abs=1e-6)
    assert np.square(y - p).mean() == pytest.approx(report["train_loss"], rel=1e-6)


def test_features_that_float32_cannot_tell_apart(run, tmp_path):
    y = regression_table(tmp_path, 1.0)
    plain = train_units(run, tmp_path, "--test", 0)["train_r2"]
    table = np.loadtxt(tmp_path / "unit.csv", delimiter=",", skiprows=1)
    table[:, 0] = 1.7e9 + 10.0 * table[:, 0]  # seconds
    np.savetxt(tmp_path / "unit.csv", table, "%.17g", ",", header="a,b,y", comments="")
    assert train_units(run, tmp_path, "--test", 0)["train_r2"] == pytest.approx(plain, abs=0.01)
    run("predict", "m", "unit.csv", "--device", "cpu", "--out", "p.csv")
    p = np.loadtxt(tmp_path / "p.csv", skiprows=1)
    assert r2_score(y, p) == pytest.approx(plain, abs=0.01)


def test_years_prices_and_what_float32_represents_stay_in_it(run, tmp_path):
    rng = np.random.default_rng(0)
    x = np.stack([rng.integers(1990, 2020, 50), np.full(50, 1e9 + 1), rng.normal(size=50)], axis=1)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", 300_000.0 + 40_000.0 * x[:, 2])
    words = ("--device", "cpu", "--epochs", 1, "--report", "r.json", "--task", "regression")
    run("train", "x.npy,t.npy", *words)
    assert report_in(tmp_path)["dtype"] == "float32"
    x = (1e6 + x[:, 2:]).astype(np.float32)  # float64 would add no digits
    np.save(tmp_path / "x.npy", x)
    run("train", "x.npy,t.npy", *words, "--dtype", "float32")
    assert report_in(tmp_path)["dtype"] == "float32"


@pytest.mark.parametrize("value", [0.0, 5.5, -1e-8, 1e8])
def test_a_constant_target_is_learned(run, tmp_path, value):
    regression_table(tmp_path, 0.0, offset=value)
    report = train_units(run, tmp_path, "--task", "regression")
    p = bp.load(tmp_path / "m", device="cpu").predict(np.zeros((1, 2)))
    assert p == pytest.approx(value, abs=0.05, rel=1e-3)
    assert report["test_loss"] < 0.05


def test_a_report_comes_with_the_confusion_matrix(run, tmp_path):
    words = ("train", "digits", "--device", "cpu", "--epochs", 2, "--report", "r.json")
    result = run(*words)
    report = report_in(tmp_path)
    counts = np.array(report["test_confusion"]["counts"])
    assert counts.sum() == 360
    assert counts.trace() / 360 == pytest.approx(report["test_accuracy"])
    assert report["test_confusion"]["classes"] == [str(k) for k in range(10)]
    rows = [line.split() for line in result.out.splitlines()]
    for k in range(10):
        [row] = [row for row in rows if row[:1] == [f"{k}"]]
        assert [0 if n == "." else int(n) for n in row[1:11]] == counts[k].tolist()
    assert "recall" not in run(*words, "--quiet").out
    assert len((tmp_path / "r.json").read_text().splitlines()) < 100  # a row of it a line


def test_values_are_not_confused(run, tmp_path, prices):
    words = ("--target", "price", "--device", "cpu", "--epochs", 2)
    run("train", prices, *words, "--report", "r.json")
    assert report_in(tmp_path)["test_confusion"] is None


@pytest.mark.parametrize(
    "words", ["digits", "digits --test 0", "prices.csv --target price --validation 0.2"]
)
def test_the_picture_of_a_training(run, tmp_path, prices, words, monkeypatch):
    pytest.importorskip("matplotlib")
    from bp_arrays.command_line import _plotting as plotting

    drawn = []
    monkeypatch.setattr(plotting, "save_picture", lambda figure, path: drawn.append(figure))
    result = run("train", *words.split(), "--device", "cpu", "--epochs", 2, "--plot", "p.png")
    assert result.code == 0
    labels = [ax.get_ylabel() for ax in drawn[0].axes]
    legends = [ax.get_legend() for ax in drawn[0].axes[:2] if ax.get_legend()]
    told = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert (
        labels
        == {
            "digits": ["loss", "accuracy", "true class"],
            "digits --test 0": ["loss", "accuracy"],
            "prices.csv --target price --validation 0.2": ["loss", "R²"],
        }[words]
    )
    assert any("on test data" in text for text in told) == ("--test" not in words)
    assert any("(best val_loss)" in text for text in told) == ("--validation" in words)


def test_many_classes_have_a_matrix_as_high_as_the_curves_above_each_other(
    run, tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib")
    from bp_arrays.command_line import _plotting as plotting

    drawn = []
    monkeypatch.setattr(plotting, "save_picture", lambda figure, path: drawn.append(figure))
    lines = [f"{k % 30},kind {k % 30}" for k in range(300)]
    (tmp_path / "kinds.csv").write_text("\n".join(["x,kind", *lines]))
    words = ("--target", "kind", "--device", "cpu", "--epochs", 1, "--plot", "p.png")
    assert run("train", "kinds.csv", *words).code == 0
    drawn[0].draw_without_rendering()
    place = {ax.get_ylabel(): ax.get_position() for ax in drawn[0].axes}
    loss, accuracy, matrix = (place[label] for label in ("loss", "accuracy", "true class"))
    assert accuracy.y1 < loss.y0 and loss.x1 < matrix.x0
    assert matrix.height > 0.7


@pytest.mark.parametrize("standardize", ["--standardize", "--no-standardize"])
@pytest.mark.parametrize("loss", ["mean_squared_error", "huber"])
def test_the_reported_loss_is_that_of_the_saved_model(run, tmp_path, standardize, loss):
    """By hand in float64: float32 rounds outputs near 2e7 to even numbers."""
    x = np.arange(300.0)
    t = 2e7 + 1000.25 * x
    text = "".join(f"{a},{b}\n" for a, b in zip(x.tolist(), t.tolist(), strict=True))
    (tmp_path / "a.csv").write_text("x,t\n" + text)
    words = ("train", "a.csv", "--target", "t", "--activation", "identity", "--device", "cpu")
    words += ("--dtype", "float32", "--epochs", 3, "--loss", loss, standardize)
    result = run(*words, "--out", "m", "--report", "r.json")
    assert result.code == 0
    report, model = report_in(tmp_path), bp.load(tmp_path / "m", device="cpu")
    rows = split(open_dataset(str(tmp_path / "a.csv"), target="t"), seed=0)
    for name, part in (("train", rows.train), ("test", rows.test)):
        y = model.predict(x[part, None])[:, 0].astype(np.float64)
        error, limit = np.abs(y - t[part]), 1.0
        if loss == "mean_squared_error":
            expected = np.mean(error**2)
        else:
            if standardize == "--standardize":
                limit = np.std(t[rows.train])
            expected = np.mean(np.where(error < limit, error**2 / 2, limit * (error - limit / 2)))
        assert report[f"{name}_loss"] == pytest.approx(expected, rel=1e-9)
        assert report[f"{name}_r2"] == pytest.approx(r2_score(t[part], y), rel=1e-9)


@pytest.mark.parametrize(
    ("target", "task"), [(lambda k: 1.5 * k, "regression"), (lambda k: k % 2, "classification")]
)
def test_a_model_whose_outputs_are_not_finite_is_not_saved(run, tmp_path, target, task):
    """One update: its loss is measured before it, and its parameters are finite after it."""
    (tmp_path / "l.csv").write_text("x,y\n" + "".join(f"{k},{target(k)}\n" for k in range(60)))
    words = ("train", "l.csv", "--target", "y", "--task", task, "--device", "cpu", "--epochs", 1)
    words += ("--batch", 1000, "--rate", 1e30)
    result = run(*words, "--out", "m", "--report", "r.json")
    assert result.code == 2 and result.out.count("trained") == 0
    assert result.err.count("\n") == 1 and "NaN or infinite" in result.err
    assert not (tmp_path / "m").exists() and not (tmp_path / "r.json").exists()


def test_outputs_that_are_infinite_on_the_validation_rows_alone(run, tmp_path):
    """A feature of 1.6e38, in a row that the net was not trained on, overflows in its layers."""
    x = np.arange(60.0)
    rows = split(Dataset(x[:, None], x[:, None], None, ("x",), ("y",), "x"), validation=0.1, seed=0)
    for part in (rows.validation, rows.test):
        x = np.arange(60.0)
        x[part[0]] = 1.6e38
        (tmp_path / "l.csv").write_text("x,y\n" + "".join(f"{a},{k}\n" for k, a in enumerate(x)))
        words = ("train", "l.csv", "--target", "y", "--device", "cpu", "--epochs", 3, "--out", "m")
        result = run(*words, "--validation", 0.1, "--optimizer", "adam", "--rate", 30)
        name = "validation" if part is rows.validation else "test"
        assert result.code == 2 and f"on the {name} rows" in result.err
        assert not (tmp_path / "m").exists()


# -- checkpoints -----------------------------------------------------------------------------------


def test_training_resumes_from_a_folder(run, flowers):
    def trained(*options):
        words = ("--target", "kind", "--device", "cpu", "--layers", "8", "--quiet")
        return run("train", flowers, *words, "--schedule", "constant", *options)

    assert trained("--epochs", 3, "--out", "a.safetensors").code == 0
    assert trained("--epochs", 2, "--checkpoint", "c", "--checkpoint-every", "1 step").code == 0
    assert trained("--epochs", 3, "--resume", "c", "--out", "b.safetensors").code == 0
    first, second = (bp.load(f"{name}.safetensors", device="cpu").vector for name in "ab")
    assert (first == second).all()
    complete = trained("--epochs", 2, "--resume", "c")
    assert complete.code == 0 and "training is complete, with 2 epochs" in complete.err
    for options, message in (
        (("--resume", "c", "--seed", 1, "--epochs", 2), "expected the data of the checkpoint"),
        (("--resume", "no"), "got no such folder"),
        (("--checkpoint", "c"), "continue that run with resume="),
        (("--checkpoint-every", "2 epochs"), "requires --checkpoint FOLDER"),
        (("--checkpoint", "c", "--checkpoint-every", "2"), "expected a number and a unit"),
    ):
        refused = trained(*options)
        assert refused.code == 2 and message in refused.err and refused.err.count("\n") == 1


def test_images_train_a_convolutional_network(run, tmp_path):
    words = ("--network", "convolutional", "--device", "cpu", "--epochs", 4, "--seed", 1)
    result = run("train", "digits", *words, "--out", "m", "--report", "r.json")
    assert result.code == 0
    assert "Reshape, Conv2d, ReLU, Conv2d, ReLU, MaxPool2d, Dropout, Flatten" in result.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["test_accuracy"] > 0.9  # of 360, after 92 updates
    model = bp.load(tmp_path / "m", device="cpu")
    data = bp.data.open_dataset("digits")
    read = model.predict(data.x[data.held_out]).argmax(axis=1)
    assert (read == data.t[data.held_out]).mean() == pytest.approx(report["test_accuracy"])


def test_a_convolutional_network_expects_images(run, flowers, tmp_path):
    np.savez(tmp_path / "small.npz", x=np.ones((20, 5, 9)), t=np.arange(20) % 2)
    for data, more, message in (
        (flowers, ("--target", "kind"), "expected images, IDX or an array"),
        ("small.npz", (), "expected images of 6 pixels or more, got 5 x 9"),
        ("notes", (), "--network: expected images, got notes"),
    ):
        result = run("train", data, *more, "--network", "convolutional", "--device", "cpu")
        assert result.code == 2 and message in result.err and len(result.err.splitlines()) == 1


def test_weights_are_averaged_where_training_may_stop_early(run, flowers, tmp_path):
    words = ("train", flowers, "--target", "kind", "--device", "cpu", "--epochs", 40)
    for options, decay in (
        (("--patience", 30), 1.0 - 1.0 / (4 * 2)),  # a tenth of the epochs, of two updates each
        (("--average", 3), 1.0 - 1.0 / (3 * 2)),
        (("--average", 0, "--patience", 30), None),
        ((), None),
    ):
        result = run(*words, "--report", "r.json", *options)
        optimizer = report_in(tmp_path)["optimizer"]
        assert optimizer.startswith("AdamW(" if decay is None else "EMA(")
        assert ("weights averaged over" in result.out) is (decay is not None)
        assert decay is None or f"decay={decay}" in optimizer


def test_mixed_precision_is_trained_reported_saved_and_predicted_with(run, tmp_path, flowers):
    words = ("train", flowers, "--target", "kind", "--device", "cpu", "--epochs", 60)
    result = run(
        *words, "--compute-dtype", "float16", "--out", "m.safetensors", "--report", "r.json"
    )
    assert result.code == 0, result.err
    assert "cpu in float32, computed in float16" in result.out
    report = report_in(tmp_path)
    assert (report["dtype"], report["compute_dtype"]) == ("float32", "float16")
    assert sum(report["history"]["skipped_steps"]) < 5 and report["test_accuracy"] > 0.9
    assert bp.load(tmp_path / "m.safetensors", "cpu").compute_dtype == "float16"
    assert run("predict", "m.safetensors", flowers, "--device", "cpu").code == 0
    on_strict = run("predict", "m.safetensors", flowers, "--device", "strict")
    assert on_strict.code == 0 and "computing in float32" in on_strict.err
    for dtype, expected in (
        ("float32", "expected 'bfloat16' or 'float16'"),
        ("bfloat16", "device 'cpu' has no dtype 'bfloat16'"),
    ):
        refused = run(*words, "--compute-dtype", dtype)
        assert refused.code == 2 and expected in refused.err and refused.err.count("\n") == 1
