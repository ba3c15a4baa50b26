"""The maths is written in the array API standard and nothing else: its source says so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bp_arrays

PACKAGE = Path(bp_arrays.__file__).parent
MATHS = ("activations", "losses", "layers", "initializers", "optimizers", "schedules")
FILES = sorted(path for room in MATHS for path in (PACKAGE / room).glob("*.py"))

CREATION = {"asarray", "arange", "empty", "eye", "full", "linspace", "ones", "zeros"}
TO_THE_HOST = {"astype", "cpu", "detach", "item", "numpy", "to_numpy", "tobytes", "tolist"}
AFTER_2024_12 = {"broadcast_shapes", "isin"}


def namespace_calls(tree):
    """(name, call) for every xp.name(...) and ctx.xp.name(...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if getattr(owner, "id", None) == "xp" or getattr(owner, "attr", None) == "xp":
                yield node.func.attr, node


def without_docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(value=None)
    return tree


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def tree(request):
    return without_docstrings(ast.parse(request.param.read_text()))


def test_only_names_of_the_standard(tree):
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    for name, call in namespace_calls(tree):
        assert hasattr(strict, name), f"line {call.lineno}: xp.{name} is not in the standard"
        assert name not in AFTER_2024_12, f"line {call.lineno}: xp.{name} is newer than 2024.12"


def test_arrays_are_made_with_a_dtype_and_on_a_device(tree):
    for name, call in namespace_calls(tree):
        if name in CREATION:
            given = {keyword.arg for keyword in call.keywords}
            assert {"dtype", "device"} <= given, f"line {call.lineno}: xp.{name} without both"


def test_nothing_is_read_back_to_the_host(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            namespace = getattr(node.value, "id", None) == "xp" or (
                getattr(node.value, "attr", None) == "xp"
            )
            assert namespace or node.attr not in TO_THE_HOST, f"line {node.lineno}: .{node.attr}"


def test_nothing_handed_in_is_changed_in_place(tree):
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        handed_in = {argument.arg for argument in function.args.args}
        for node in ast.walk(function):
            if isinstance(node, ast.AugAssign):
                name = getattr(node.target, "id", getattr(node.target, "value", None))
                assert name not in handed_in, f"line {node.lineno}: {function.name} changes {name}"
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    owner = getattr(getattr(target, "value", None), "id", None)
                    assert not (isinstance(target, ast.Subscript) and owner in handed_in), (
                        f"line {node.lineno}: {function.name} writes into {owner}"
                    )
