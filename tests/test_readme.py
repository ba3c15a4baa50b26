"""The README's Python runs as it stands, and what it shows of the source is the source."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import bp_arrays as bp

README = Path(__file__).parent.parent / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_tour_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    [tour] = [block for block in blocks("python") if "import bp_arrays" in block]
    exec(compile(tour, "README.md", "exec"), {})
    accuracy, shapes = capsys.readouterr().out.strip().splitlines()
    assert float(accuracy) > 0.9
    assert "(20, 30)" in shapes


def test_the_layer_shown_is_the_layer():
    [shown] = [block for block in blocks("python") if "def forward" in block]
    source = inspect.getsource(bp.Linear.forward)
    without_types = re.sub(r"(\w+): \w+(?=[,)])|\) -> [^:]*?:\n", 
                           lambda m: m[1] or "):\n", source)  # fmt: skip
    assert [line.strip() for line in shown.splitlines() if line.strip()] == [
        line.strip() for line in without_types.splitlines() if line.strip()
    ]


def test_both_commands_are_marked():
    text = README.read_text()
    for marker in ("<!-- main command -->", "<!-- test command -->"):
        assert re.search(rf"{marker}\n```sh\npython3 -m venv", text)
