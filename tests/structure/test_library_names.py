"""`devices` is the only room that knows the array libraries by name: nobody else compares names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bp_arrays

PACKAGE = Path(bp_arrays.__file__).parent
LIBRARIES = {"numpy", "cupy", "torch", "jax", "strict", "array_api_strict"}
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "devices")
)


def comparisons(source: str) -> Iterator[str]:
    """Each comparison with the name of an array library, by its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            operands = [node.pattern]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "startswith":
            operands = node.args
        else:
            continue
        for part in (part for operand in operands for part in ast.walk(operand)):
            if isinstance(part, ast.Constant) and part.value in LIBRARIES:
                yield f"line {part.lineno}: compared with {part.value!r}"
            if getattr(part, "attr", "") == "backend":
                yield f"line {part.lineno}: the name of a library is compared"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_room_but_devices_compares_names_of_libraries(path):
    found = list(comparisons(path.read_text(encoding="utf-8")))
    assert not found, "ask a property of Device (runs_as, is_host, ...) instead"


@pytest.mark.parametrize(
    "line",
    [
        "if device.backend == 'jax': pass",
        "x = name in ('numpy', 'cupy')",
        "x = name.startswith('torch')",
        "x = device.backend != library",
        "match name:\n    case 'strict': pass",
    ],
)
def test_the_search_finds_each_way_to_compare(line):
    assert list(comparisons(line))
