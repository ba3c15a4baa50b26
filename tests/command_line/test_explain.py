"""Covers: `bp-arrays explain`: the notes' net, a trained model, errors for bad input."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import main


def test_the_notes_are_printed(capsys):
    assert main(["explain", "notes", "--sample", "2"]) == 0
    out = capsys.readouterr().out
    assert "h = Sigmoid(a⁽¹⁾)" in out
    assert "∂L/∂w₁₁ = [(y₁ − t₁)·y₁·(1 − y₁)·u₁₁" in out
    assert "Two slips of the notes" in out


def test_weights_and_files(tmp_path, capsys):
    page, latex = tmp_path / "page.html", tmp_path / "notes.md"
    words = ["explain", "notes", "--weight", "2.weight:3,2", "--weight", "0.bias:1"]
    assert main([*words, "--html", str(page), "--latex", str(latex)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("∂L/∂u₃₂ = ") and "∂L/∂b⁽¹⁾₁ = " in out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    written = latex.read_text(encoding="utf-8")
    assert written.count("$$") == 4 and r"\partial L}{\partial u_{32}}" in written


def test_weights_by_their_names_on_the_page(capsys):
    """Typed as printed, or as a keyboard allows."""
    names = {"w11": "∂L/∂w₁₁", "u₃₂": "∂L/∂u₃₂", "u3,2": "∂L/∂u₃₂", "b(1)2": "∂L/∂b⁽¹⁾₂"}
    for name, printed in names.items():
        assert main(["explain", "notes", "--weight", name]) == 0
        assert capsys.readouterr().out.startswith(f"{printed} = ")


def test_the_update_has_the_learning_rate_of_the_training(tmp_path, capsys):
    file = str(tmp_path / "notes.safetensors")
    words = ["train", "notes", "--device", "cpu", "--epochs", "2", "--quiet", "--out", file]
    assert main(words) == 0
    capsys.readouterr()
    for words, eta in ([], "2"), (["--eta", "0.3"], "0.3"):
        assert main(["explain", file, "notes", *words]) == 0
        assert f"gradients, and the update with η = {eta}\n" in capsys.readouterr().out
    model = bp.load(file, device="cpu")
    model.metadata["learning_rate"] = "fast"
    model.save(file)
    assert main(["explain", file, "notes"]) == 0
    assert "the update with η = 0.1\n" in capsys.readouterr().out


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with classes as words and one with values, each with a model trained on it."""
    folder = tmp_path_factory.mktemp("explain")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    kinds = np.where(x[:, 0] > 0, "warm", "cold")
    lines = [f"{a:.4f},{b:.4f},{k}" for (a, b), k in zip(x, kinds, strict=True)]
    (folder / "kinds.csv").write_text("\n".join(["a,b,kind", *lines]))
    lines = [f"{a:.4f},{b:.4f},{a - b:.4f}" for a, b in x]
    (folder / "values.csv").write_text("\n".join(["a,b,value", *lines]))
    for name, target in (("kinds", "kind"), ("values", "value")):
        words = ["train", str(folder / f"{name}.csv"), "--target", target, "--device", "cpu"]
        words += ["--layers", "4", "--epochs", "2", "--quiet"]
        assert main([*words, "--out", str(folder / f"{name}.safetensors")]) == 0
    return folder


@pytest.mark.parametrize("name", ["kinds", "values"])
def test_a_trained_model_is_explained_on_its_data(table, capsys, name):
    words = ["explain", str(table / f"{name}.safetensors"), str(table / f"{name}.csv")]
    assert main([*words, "--sample", "3", "--weight", "1.weight:2,1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("∂L/∂w₂₁ = ") and "by central differences" in out
    assert ("p₁ − t₁" in out) == (name == "kinds")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["notes", "digits"], "expected no data, got 'digits'"),
        (["notes", "--sample", "17"], "--sample: expected a number from 1 to 16, got 17"),
        (["notes", "--sample", "0"], "--sample: expected a number from 1 to 16, got 0"),
        (["notes", "--weight", "0.weight"], "expected NAME:I,J such as 0.weight:1,1, or w11"),
        (["notes", "--weight", "w19"], "expected indices 1 to 2, 1 to 3"),
        (["notes", "--weight", "v11"], "or a name of the page, one of w, b(1), u, b(2) with"),
        (["notes", "--weight", "1.weight:1,1"], "Known: 0.bias, 0.weight, 2.bias, 2.weight"),
        (["notes", "--eta", "-1"], "expected a finite number > 0"),
        (["nowhere.safetensors"], "expected the data too"),
        (["nowhere.safetensors", "digits"], "nowhere.safetensors"),
        (["notes", "--html", "/nowhere/page.html"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys):
    assert main(["explain", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("command", ["explain", "predict"])
@pytest.mark.parametrize("read", ["values.safetensors", "values.csv"])
def test_what_is_read_is_not_overwritten(table, capsys, command, read):
    before = (table / read).read_bytes()
    words = [str(table / "values.safetensors"), str(table / "values.csv")]
    option = {"explain": "--html", "predict": "--out"}[command]
    assert main([command, *words, option, str(table / read)]) == 2
    assert "would replace the input" in capsys.readouterr().err
    assert (table / read).read_bytes() == before


def test_data_without_targets_has_no_error_to_propagate(table, capsys):
    lines = (table / "values.csv").read_text().splitlines()
    (table / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines))
    words = ["explain", str(table / "values.safetensors"), str(table / "bare.csv")]
    assert main(words) == 2
    assert "expected targets, got none" in capsys.readouterr().err


def backward_of_output_bias(folder, capsys, *words):
    """Return "by backward" of the output's bias for row 2 of values.csv."""
    command = ["explain", str(folder / "m"), str(folder / "values.csv"), "--sample", "2"]
    assert main([*command, "--weight", "3.bias:1", *words]) == 0
    out = capsys.readouterr().out
    return float(re.search(r"by backward: +(\S+)", out)[1].replace("−", "-"))


DERIVATIVES = {
    "mean-squared-error": lambda r: 2.0 * r,
    "l2": lambda r: r,
    "mean-absolute-error": np.sign,
}


@pytest.mark.parametrize("loss", [None, *DERIVATIVES])
def test_the_loss_is_that_of_the_training(table, tmp_path, capsys, loss):
    (tmp_path / "values.csv").write_text((table / "values.csv").read_text())
    words = ["train", str(tmp_path / "values.csv"), "--target", "value", "--device", "cpu"]
    words += ["--layers", "4", "--epochs", "2", "--quiet", "--out", str(tmp_path / "m")]
    assert main([*words, *(["--loss", loss] if loss else [])]) == 0
    model = bp.load(tmp_path / "m", "cpu")
    a, b, t = np.loadtxt(tmp_path / "values.csv", delimiter=",", skiprows=1)[1]
    r = float(model.predict([[a, b]])[0, 0]) - t
    units = 1.0 / float(model.parameters["4.scale"][0])  # y = units · (output) + mean
    expected = DERIVATIVES[loss or "mean-squared-error"](r) * units
    assert backward_of_output_bias(tmp_path, capsys) == pytest.approx(expected, rel=1e-4)
    named = ["--loss", loss or "mean_squared_error"]
    assert backward_of_output_bias(tmp_path, capsys, *named) == pytest.approx(expected, rel=1e-4)


def test_a_file_that_does_not_name_its_loss(table, tmp_path, capsys):
    (tmp_path / "values.csv").write_text((table / "values.csv").read_text())
    model = bp.load(table / "values.safetensors", "cpu")
    schema = json.loads(model.metadata["meaning"])
    assert schema["loss"].pop("name") == "MeanSquaredError"
    assert schema.pop("loss") == {"reduction": "mean", "ignore_nan": False}
    model.metadata = {"meaning": json.dumps(schema)}
    model.save(tmp_path / "m")
    default = backward_of_output_bias(tmp_path, capsys)
    assert default == backward_of_output_bias(tmp_path, capsys, "--loss", "mean_squared_error")
    assert default == pytest.approx(2.0 * backward_of_output_bias(tmp_path, capsys, "--loss", "l2"))
