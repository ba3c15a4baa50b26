"""The maths is written in the array API standard and nothing else: its source says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bp_arrays

PACKAGE = Path(bp_arrays.__file__).parent
MATHS = (
    "activations", "attention", "convolution", "layers", "losses", "normalization", "optimizers",
    "recurrence", "schedules",
)  # fmt: skip
"""Not the initializers: they draw once, on the host, and NumPy is what they draw with."""
FILES = sorted(path for room in MATHS for path in (PACKAGE / room).glob("*.py"))

CREATION = {"asarray", "arange", "empty", "eye", "full", "linspace", "ones", "zeros"}
TO_THE_HOST = {"astype", "cpu", "detach", "item", "numpy", "to_numpy", "tobytes", "tolist"}
BY_VALUE = {"bool", "complex", "float", "int"}
"""Built-in functions that fetch one number of an array."""

AFTER_2024_12 = {"broadcast_shapes", "isin"}

Complaints = Iterator[str]


def is_namespace(node: ast.AST) -> bool:
    """Whether this is xp or ctx.xp."""
    return getattr(node, "id", None) == "xp" or getattr(node, "attr", None) == "xp"


def without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(value=None)
    return tree


def names_beyond_the_standard(tree: ast.AST) -> Complaints:
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_namespace(node.value):
            if not hasattr(strict, node.attr):
                yield f"line {node.lineno}: xp.{node.attr} is not in the standard"
            if node.attr in AFTER_2024_12:
                yield f"line {node.lineno}: xp.{node.attr} is newer than 2024.12"
            if node.attr in ("linalg", "fft"):
                yield f"line {node.lineno}: xp.{node.attr} is an extension that may be missing"


def arrays_made_anywhere(tree: ast.AST) -> Complaints:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if is_namespace(node.func.value) and node.func.attr in CREATION:
            given = {keyword.arg for keyword in node.keywords}
            if not {"dtype", "device"} <= given:
                yield f"line {node.lineno}: xp.{node.func.attr} without dtype and device"


def numbers_read_on_the_host(tree: ast.AST) -> Complaints:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in TO_THE_HOST:
            if not is_namespace(node.value):
                yield f"line {node.lineno}: .{node.attr}"
        elif isinstance(node, ast.FunctionDef):
            arrays = handed_in(node) - {"self", "ctx", "xp"}
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and getattr(call.func, "id", None) in BY_VALUE:
                    about = {getattr(part, "id", None) for part in ast.walk(call)}
                    if about & arrays and not shapes_only(call):
                        yield f"line {call.lineno}: {ast.unparse(call)}"


def handed_in(function: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in function.args.args}


def shapes_only(call: ast.Call) -> bool:
    """Whether a call is about a shape, which every library has on the host."""
    return ".shape" in ast.unparse(call) or ".ndim" in ast.unparse(call)


def things_changed_in_place(tree: ast.AST) -> Complaints:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        given = handed_in(function)
        for node in ast.walk(function):
            targets = [node.target] if isinstance(node, ast.AugAssign) else []
            if isinstance(node, ast.Assign):
                targets = [t for t in node.targets if isinstance(t, ast.Subscript)]
            for target in targets:
                owner = getattr(target, "value", target)
                if getattr(owner, "id", None) in given:
                    yield f"line {node.lineno}: {function.name} changes {owner.id}"


def steps_backwards(tree: ast.AST) -> Complaints:
    for node in ast.walk(tree):
        if isinstance(node, ast.Slice) and isinstance(node.step, ast.UnaryOp):
            yield f"line {node.lineno}: [{ast.unparse(node)}], which PyTorch lacks"


RULES = {
    names_beyond_the_standard: ["xp.einsum(a, b)", "f = ctx.xp.isin", "xp.linalg.norm(a)"],
    arrays_made_anywhere: ["xp.zeros(3, dtype=d)", "ctx.xp.asarray(1.0, device=ctx.device)"],
    numbers_read_on_the_host: [
        "a.item()",
        "a.astype(d)",
        "def forward(self, a):\n    return float(a)",
        "def forward(self, a):\n    return 2 if bool(xp.any(a > 0)) else 3",
    ],
    things_changed_in_place: [
        "def forward(self, a):\n    a *= 2.0",
        "def forward(self, a):\n    a[0] += 2.0",
        "def forward(self, a):\n    a[:, 0] = 2.0",
    ],
    steps_backwards: ["a[::-1]", "a[:, 4:0:-2]"],
}
"""Each rule, and what it must object to."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_maths_keeps_the_rule(rule, path):
    tree = without_docstrings(ast.parse(path.read_text(encoding="utf-8")))
    assert list(rule(tree)) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [(rule, source) for rule, sources in RULES.items() for source in sources],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_rule_can_be_broken(rule, source):
    assert len(list(rule(ast.parse(source)))) == 1
