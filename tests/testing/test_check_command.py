"""Covers: `bp-arrays check`: exit codes, the report file, and the printed text."""

from __future__ import annotations

import json
import sys

import pytest

import bp_arrays as bp
from bp_arrays.command_line import main


def test_it_prints_the_matrix_and_writes_the_report(tmp_path, capsys):
    path = tmp_path / "report.json"
    words = ["check", "--device", "cpu", "--device", "strict", "--only", "tanh"]
    assert main([*words, "--dtype", "float32", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Tanh" in out and "PASS" in out and "cases on cpu, strict: all agree" in out
    assert "torch.autograd" in out or "central differences" in out or "complex step" in out
    report = json.loads(path.read_text())
    assert {"devices", "cases", "disagreements", "versions", "machine", "commit"} <= set(report)
    assert [device["name"] for device in report["devices"]] == ["cpu", "strict"]
    assert report["disagreements"] == []


def test_a_quick_check_is_of_the_two_usual_dtypes(capsys):
    words = ["check", "--quick", "--device", "cpu", "--only", "relu"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "QUICK" in out and "all, float32" in out and "all, float16" not in out
    assert main([*words, "--dtype", "float16"]) == 0
    assert "all, float16" in capsys.readouterr().out


def test_a_required_device_that_does_not_run_is_exit_code_1(capsys):
    if bp.device("cuda").availability().usable:
        pytest.skip("CUDA is there")
    words = ["check", "--device", "cpu", "--only", "identity", "--require", "cuda"]
    assert main(words) == 1
    assert "NOT RUN    cuda:0" in capsys.readouterr().out


LAYERS = """
from dataclasses import dataclass
import bp_arrays as bp

@dataclass(frozen=True)
class Cube(bp.Layer):
    def forward(self, params, a, ctx):
        return a * a * a, lambda delta: (3.0 * delta * a * a, {})

@dataclass(frozen=True)
class Scale(bp.Layer):
    by: float
    def forward(self, params, a, ctx):
        return a * self.by, lambda delta: (delta, {})  # forgets the factor

class Fussy(bp.Layer):
    def __init__(self):
        raise ValueError("not today")

twice = Scale(2.0)
number = 3
"""


@pytest.fixture
def own_layers(tmp_path, monkeypatch):
    modules = {
        "own_layers": LAYERS,
        "broken": "1 / 0",
        "leaves": "raise SystemExit(0)",
        "nothing": "import os",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_own_layers_are_checked_by_name(own_layers, capsys):
    words = ["--device", "cpu", "--device", "strict", "--input-shape", "3"]
    assert main(["check", "own_layers:Cube", *words]) == 0
    assert "all agree" in capsys.readouterr().out
    assert main(["check", "own_layers:Cube", "own_layers:twice", *words]) == 1
    out = capsys.readouterr().out
    assert "Scale, ordinary on every device, float64: dx is 5.0e-01 from central differences" in out
    assert "everywhere 0.5 times it" in out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_layers", "expected MODULE:NAME"),
        ("nowhere.to_be:Found", "no module 'nowhere'"),
        ("own_layers:Cub", "has no 'Cub'; it defines Cube, Scale, Fussy, twice"),
        ("own_layers:Fussy", "Fussy() raised ValueError('not today')"),
        ("broken:Layer", "importing broken raised ZeroDivisionError"),
        ("leaves:Layer", "importing leaves raised SystemExit(0)"),
        ("nothing:Layer", "nothing has no 'Layer'; it defines no layer or loss"),
        ("bp_arrays:Layer", "Layer is the abstract base class"),
        ("bp_arrays:Loss", "Loss is the abstract base class"),
        ("own_layers:Scale", "Scale requires arguments"),
        ("own_layers:number", "expected a layer or a loss, got 3"),
    ],
)
def test_components_that_cannot_be_found_are_exit_code_2(own_layers, capsys, spec, message):
    assert main(["check", spec, "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err


def test_a_page_and_a_report_that_names_itself(tmp_path, capsys):
    words = ["check", "--device", "cpu", "--only", "tanh", "--require", "torch:mps"]
    page = tmp_path / "report.html"
    main([*words, "--html", str(page), "--json", str(tmp_path)])
    [report] = tmp_path.glob("check-cpu-*.json")
    assert json.loads(report.read_text())["required"] == ["torch:mps"]
    text = page.read_text()
    assert "Tanh" in text and "Not run" in text and "<script" not in text and "http" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "linaer"], "did you mean 'Linear'"),
        (["--only", ""], "expected part of a component's name"),
        (["--device", "cdua"], "did you mean 'cuda'"),
        (["--require", "gpu"], "did you mean 'cuda'"),
        (["--dtype", "flaot32"], "did you mean 'float32'"),
        (["--jsn", "x"], "did you mean --json"),
        (["--input-shape", "3"], "--input-shape: expected a custom layer too"),
        (["own_layers:Cube", "--input-shape", ""], "expected numbers such as 4"),
        (["own_layers:Cube", "--input-shape", "0"], "expected positive integers"),
        (["own_layers:Cube", "--only", "tanh"], "--only selects among the library's components"),
        (["--json", "nowhere/report.json"], ": no folder "),
        (["--html", "."], "is not a regular file"),
        (["--json", "same", "--html", "same"], "name the same file"),
    ],
)
def test_bad_words_are_exit_code_2_and_one_line(own_layers, capsys, words, message):
    assert main(["check", *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_nothing_run_is_exit_code_1(capsys):
    assert main(["check", "--device", "cpu", "--dtype", "bfloat16", "--only", "tanh"]) == 1
    assert "NOT RUN    cpu: " in capsys.readouterr().out


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    words = ["check", "--device", "cpu", "--only", "identity", "--dtype", "float32"]
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(words) == 0
    assert "cpu: 1 of 10 cases" in capsys.readouterr().err
