"""Covers: `bp-arrays train`: training, output, files."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line._recipe import SCHEDULES
from bp_arrays.command_line._standardizing import input_scale, output_scale
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
    scale = input_scale(x, one_unit=False)
    np.testing.assert_allclose(scale["mean"], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(scale["scale"], x.std(axis=0), rtol=1e-9)
    shared = input_scale(x, one_unit=True)["scale"]
    np.testing.assert_allclose(shared, np.sqrt(x.var(axis=0).mean()) * np.ones(3))


def test_a_feature_that_never_changes_is_not_divided_by_its_noise():
    x = np.column_stack([np.full(1000, 0.1), np.arange(1000.0), np.zeros(1000)])
    assert input_scale(x, one_unit=False)["scale"][[0, 2]].tolist() == [1.0, 1.0]


def test_the_scale_of_outputs_is_the_inverse_of_that_of_inputs():
    t = np.random.default_rng(0).normal(size=(50, 2)) * 7.0 + 100.0
    there, back = input_scale(t, one_unit=False), output_scale(t)
    z = (t - there["mean"]) / there["scale"]
    np.testing.assert_allclose((z - back["mean"]) / back["scale"], t)


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
