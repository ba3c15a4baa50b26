"""What the site takes from the source is there, and its reference leaves no public name out."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import bp_arrays as bp
from bp_arrays.layers import Linear

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

spec = importlib.util.spec_from_file_location("hooks", DOCS / "building" / "hooks.py")
assert spec is not None and spec.loader is not None
hooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hooks)


def found(path: str) -> object:
    """The object of a dotted path; a module of a name goes before anything else of it."""
    parts = path.split(".")
    for k in range(len(parts), 0, -1):
        try:
            place = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for name in parts[k:]:
            place = getattr(place, name)
        return place
    raise LookupError(path)


def without_heads(code: str) -> list[str]:
    return [line for line in code.splitlines() if not line.lstrip().startswith("def ")]


def documented() -> list[object]:
    pages = (page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    return [found(path) for text in pages for path in re.findall(r"^::: (\S+)$", text, re.M)]


ROOMS = ["", "data", "estimators", "explanation", "testing", "training"]


@pytest.mark.parametrize("room", ROOMS)
def test_the_reference_has_every_public_name(room):
    if room == "estimators":
        pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    module = importlib.import_module(f"bp_arrays.{room}".rstrip("."))
    public = {name: getattr(module, name) for name in module.__all__}
    there = {id(each) for each in documented()}
    assert [
        name
        for name, value in public.items()
        if (isinstance(value, type) or inspect.isfunction(value)) and id(value) not in there
    ] == []


def test_the_command_line_reference_has_every_command():
    from bp_arrays.command_line import COMMANDS

    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert re.findall(r'^\[`bp-arrays (\w+)`\].*"help"\)$', page, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_what_a_page_takes_from_the_source_is_there(page, monkeypatch):
    monkeypatch.setattr(hooks, "command_help", "the help of {}\n".format)
    text = hooks.filled_in(page.read_text(encoding="utf-8"), page.parent)
    assert not re.search(r'"(source|help|evidence)"\)', text)


def test_a_piece_of_source_is_the_source_less_its_types():
    shown = hooks.source(ROOT / "bp_arrays/layers/_linear.py", "Linear.forward")
    assert "\ndef forward(self, params, x, ctx):\n    xp = ctx.xp\n" in shown
    assert "    def backward(delta):\n" in shown
    source = textwrap.dedent(inspect.getsource(Linear.forward))
    assert without_heads(shown) == without_heads(source)


def test_the_decorator_of_a_function_is_shown():
    shown = hooks.source(ROOT / "bp_arrays/layers/_linear.py", "Linear.forward")
    assert shown.startswith("@on_rows")


def test_docstrings_are_left_out_of_a_class():
    shown = hooks.source(ROOT / "bp_arrays/activations/_sigmoid.py", "Tanh")
    assert '"""' not in shown
    assert "return delta * ((1.0 - h) * (1.0 + h)), {}" in shown


def test_a_missing_piece_is_an_error():
    with pytest.raises(LookupError, match=r"no Linear\.backwards"):
        hooks.source(ROOT / "bp_arrays/layers/_linear.py", "Linear.backwards")


def test_the_help_of_a_command_is_what_it_prints():
    assert hooks.command_help("bp-arrays devices").startswith("usage: bp-arrays devices")


def test_the_mathematics_has_every_part_of_the_maths():
    text = (DOCS / "mathematics.md").read_text(encoding="utf-8")
    kinds = (bp.Layer, bp.Loss, bp.optimizers.Optimizer, bp.optimizers.Transform)
    initial = (bp.initializers.Initializer, bp.schedules.Schedule)
    for name in bp.__all__:
        value = getattr(bp, name)
        if isinstance(value, type) and issubclass(value, (*kinds, *initial)) and value not in kinds:
            assert re.search(rf"\b{name}\b", text), f"{name} has no place in the mathematics"
