"""Each page of the documentation runs from top to bottom and prints what it says it prints."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
import types
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parent.parent / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses look their module up
    printed = ""
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "text":
            same = doctest.OutputChecker().check_output(text, printed, doctest.ELLIPSIS)
            assert same, f"{page.name} shows\n{text}\nbut this was printed\n{printed}"
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, page.name, "exec"), module.__dict__)
        printed = out.getvalue()


def test_there_are_pages():
    assert PAGES
