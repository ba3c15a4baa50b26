"""Covers: `bp-arrays explain`: the notes' net, a trained model, errors for bad input."""

from __future__ import annotations

import numpy as np
import pytest

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
        (["notes", "--weight", "w11"], "expected NAME:I,J such as 0.weight:1,1"),
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
