"""The README's Python runs as it stands, and what it shows of the source is the source."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from pathlib import Path

import bp_arrays as bp

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return [block for kind, block in found if kind == language]


def test_the_first_block_trains_a_network_that_predicts_well(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    first = blocks("python")[0]
    exec(compile(first, "README.md", "exec"), {})
    scores = ast.literal_eval(capsys.readouterr().out)
    assert scores["accuracy"] > 0.9


ORDER = [
    "Install",
    "Train on your array",
    "In scikit-learn, from a CSV file",
    "From a table, at the command line",
    "On a GPU, with CuPy",
    "Devices",
    "The same gradients everywhere, and the right ones",
    "Every number, written out",
    "Files, ONNX, PyTorch",
    "Long runs, and several processes",
    "Plots and logging",
    "Development",
]


def test_a_reader_meets_first_what_most_came_for():
    headings = re.findall(r"^## (.+)$", README.read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in ORDER] == ORDER


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


def test_there_are_as_many_cases_as_it_says():
    from bp_arrays.testing import cases

    [said] = re.findall(r"more than (\d+) cases on\s+each", README.read_text())
    everywhere = sum(len({"float32", "float64"} & set(case.dtypes)) for case in cases())
    assert everywhere > int(said)


def test_what_is_said_of_gpus_is_what_was_recorded():
    from bp_arrays.testing import cuda_line

    [said] = re.findall(r"<!-- evidence -->(.*?)<!-- /evidence -->", README.read_text(), re.DOTALL)
    recorded = cuda_line(stale=False)  # it names its commit, so it stays true when code changes
    assert " ".join(said.split()) == recorded, "python -m benchmarks record writes this line"


def test_every_link_leads_to_a_file_and_pictures_are_small():
    root = README.parent
    links = set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text()))
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (root / link).exists()] == []
    pictures = [root / link for link in local if link.endswith(".png")]
    assert len(pictures) == 2
    assert all(picture.stat().st_size < 150_000 for picture in pictures)
