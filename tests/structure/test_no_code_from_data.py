"""No data becomes code: no eval, pickle, YAML or shell in the package, with few exceptions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bp_arrays

PACKAGE = Path(bp_arrays.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml",
    "subprocess", "pty", "code", "codeop", "builtins",
}  # fmt: skip
FORBIDDEN_CALLS = {
    "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.startfile",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "builtins.eval", "builtins.exec",
    "torch.load", "pandas.read_pickle", "pd.read_pickle",
}  # fmt: skip

ALLOWED = {
    ("execution/_fast_numpy.py", "builtins"): "for min and max, which its own functions hide",
    ("execution/_program.py", "exec"): "a replayed step: names and numbers of slots, written here",
    ("execution/_program.py", "compile"): "the same source",
    ("execution/_update_loop.py", "exec"): "a fused loop: the formula of an optimizer or kernel",
    ("execution/_update_loop.py", "compile"): "the same source",
    ("training/runners/_reuse.py", "pickle"): "dumps alone, as a key; nothing is ever loaded",
    ("testing/_provenance.py", "subprocess"): "git rev-parse, with constant words",
    (
        "testing/_workers.py",
        "subprocess",
    ): "the watchdog: this Python, constant source, two numbers",
}
"""Uses that run nothing from a file or an argument of the user, and why that is so."""


def uses(source: str) -> Iterator[str]:
    """Yield the names of what could run data as code."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[0] for alias in node.names]
            yield from (module for module in modules if module in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").partition(".")[0]
            names = {f"{module}.{alias.name}" for alias in node.names}
            yield from names & FORBIDDEN_CALLS
            if module in FORBIDDEN_MODULES:
                yield module
        elif isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
            yield node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in FORBIDDEN_CALLS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from (
                f"{keyword.arg}={ast.unparse(keyword.value)}"
                for keyword in node.keywords
                if keyword.arg in ("allow_pickle", "shell")
                and ast.unparse(keyword.value) != "False"
            )


def test_nothing_in_the_package_runs_data_but_what_is_allowed():
    found = {
        (path.relative_to(PACKAGE).as_posix(), use)
        for path in FILES
        for use in uses(path.read_text(encoding="utf-8"))
    }
    assert found - set(ALLOWED) == set(), "read the data in another way, or say why it is safe"
    assert set(ALLOWED) - found == set(), "an entry that is not needed any more"


@pytest.mark.parametrize(
    "line",
    [
        "eval(text)",
        "run = exec",
        "import pickle",
        "from pickle import loads",
        "import yaml as y",
        "from os import system",
        "os.system(name)",
        "np.load(path, allow_pickle=True)",
        "run(words, shell=True)",
        "torch.load(path)",
        "__import__(name)",
        "import builtins; builtins.eval(x)",
        "from builtins import eval as e",
    ],
)
def test_each_way_is_seen(line):
    assert list(uses(line))


def test_a_file_of_numpy_is_always_read_without_objects():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert options.get("allow_pickle") == "False", f"{path}:{node.lineno}"
