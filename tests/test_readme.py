"""The README's Python runs as it stands, and what it shows of the source is the source."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [block for kind, block in found if kind == language]


def test_the_tour_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    [tour] = [block for block in blocks("python") if "import bp_arrays" in block]
    exec(compile(tour, "README.md", "exec"), {})
    accuracy, shapes = capsys.readouterr().out.strip().splitlines()
    assert float(accuracy) > 0.9
    assert "(20, 30)" in shapes


def test_models_go_to_other_tools_and_back(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    [code] = [block for block in blocks("python") if "to_onnx" in block]
    net = bp.Sequential(bp.Linear(30), bp.Sigmoid(), bp.Linear(2))
    before = bp.Model(net, input_shape=(20,), device="cpu", seed=0)
    there = {"bp": bp, "model": before}
    exec(compile(code, "README.md", "exec"), there)
    assert there["model"].net == net
    for name, value in before.parameters.items():
        np.testing.assert_array_equal(there["model"].parameters[name], value)
    assert (tmp_path / "model.onnx").exists()


def test_what_is_seen_of_the_tour(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    [tour] = [block for block in blocks("python") if "import bp_arrays" in block]
    [seeing] = [block for block in blocks("python") if "history.plot" in block]
    exec(compile(tour + seeing, "README.md", "exec"), {})
    assert (tmp_path / "curves.png").exists() and any((tmp_path / "runs/first").iterdir())


def test_the_derivation_shown_is_the_one_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [code] = [block for block in blocks("python") if "bp.explain" in block]
    exec(compile(code, "README.md", "exec"), {"bp": bp})
    [shown] = [block for block in blocks("") if block.startswith("∂L/∂w₁₁")]
    assert capsys.readouterr().out == shown
    assert (tmp_path / "notes.html").exists()


class WithoutTypes(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
        return node


def test_the_layer_shown_is_the_layer():
    [shown] = [block for block in blocks("python") if "def forward" in block]
    source = textwrap.dedent(inspect.getsource(bp.Linear.forward))
    assert ast.dump(WithoutTypes().visit(ast.parse(source))) == ast.dump(ast.parse(shown))


def test_both_commands_are_marked():
    text = README.read_text()
    for marker in ("<!-- main command -->", "<!-- test command -->"):
        assert re.search(rf"{marker}\n```sh\npython3 -m venv", text)


def test_what_is_said_of_gpus_is_what_was_recorded():
    from bp_arrays.testing.evidence import cuda_line

    [said] = re.findall(r"<!-- evidence -->(.*?)<!-- /evidence -->", README.read_text(), re.DOTALL)
    assert " ".join(said.split()) == cuda_line(), "write the line of the evidence into the README"
