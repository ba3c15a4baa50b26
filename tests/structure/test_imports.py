"""The house rules as tests: imports go one way, the maths knows no array library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bp_arrays

PACKAGE = Path(bp_arrays.__file__).parent

ROOMS = [  # from the top down; a room imports only from itself and from rooms below it
    ("command_line", "__main__"),
    ("estimators",),
    ("explanation",),
    ("testing",),
    ("training",),
    ("data",),
    ("readers",),
    ("model",),
    ("formats",),
    ("tables",),
    ("inputs",),
    ("execution",),
    ("losses",),
    ("optimizers",),
    ("schedules",),
    ("attention",),
    ("recurrence",),
    ("convolution",),
    ("normalization",),
    ("activations",),
    ("layers",),
    ("initializers",),
    ("random",),
    ("kernels",),
    ("distributed",),
    ("plots",),
    ("devices",),
    ("checks", "extras", "files", "names", "trees"),
    ("errors", "typing"),
]
HEIGHT = {room: -level for level, rooms in enumerate(ROOMS) for room in rooms}
MATHS = (
    "activations", "attention", "convolution", "layers", "losses", "normalization", "optimizers",
    "recurrence", "schedules",
)  # fmt: skip
"""Not the initializers: they draw once, on the host, and NumPy is what they draw with."""
ARRAY_LIBRARIES = {"numpy", "cupy", "torch", "jax", "scipy", "array_api_compat", "array_api_strict"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imported_modules(path: Path) -> list[str]:
    """Every module imported anywhere in a file, inside functions too."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "bp_arrays":
            modules += [f"bp_arrays.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module or "")
    return modules


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    here = room_of(path)
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] != "bp_arrays":
            continue
        if len(parts) == 1:
            assert here in ("command_line", "__main__"), f"{path} imports the whole package"
            continue
        there = parts[1]
        if there == "__version__":
            continue
        assert there == here or HEIGHT[there] < HEIGHT[here], f"{path}: {here} imports {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_private_modules_are_imported_by_their_own_room_only(path):
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "bp_arrays" and any(
            part.startswith("_") for part in parts[1:] if part != "__version__"
        ):
            assert parts[1] == room_of(path), f"{path} imports {module}: import the room's name"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room_of(path) in MATHS],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_the_maths_imports_no_array_library(path):
    libraries = {module.partition(".")[0] for module in imported_modules(path)}
    assert not libraries & ARRAY_LIBRARIES
    assert "importlib" not in libraries


def test_no_two_classes_share_a_name():
    homes = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_importing_brings_in_no_other_array_library():
    code = (
        "import sys, bp_arrays\n"
        "heavy = {'torch', 'jax', 'cupy', 'array_api_strict', 'matplotlib', 'sklearn', 'numba',\n"
        "         'IPython', 'tensorboard'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_public_names_are_there_and_sorted():
    missing = [name for name in bp_arrays.__all__ if not hasattr(bp_arrays, name)]
    assert missing == []
    assert len(set(bp_arrays.__all__)) == len(bp_arrays.__all__)
    assert (PACKAGE / "py.typed").exists()


def test_what_is_imported_when_asked_for_is_what_type_checkers_see():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module.partition(".")[2]
        for node in block.body
        for alias in node.names
        if isinstance(node, ast.ImportFrom) and node.module != "bp_arrays"
    }
    assert seen == bp_arrays.LAZY
    eager = {"data", "testing", *dir(bp_arrays.errors), "Device", "device", "devices"}
    assert set(bp_arrays.__all__) <= set(seen) | eager


def test_rooms_are_attributes_of_the_package_and_no_more_than_that_is_imported():
    code = (
        "import sys, bp_arrays as bp\n"
        "assert 'bp_arrays.layers' not in sys.modules\n"
        "assert 'array_api_compat.numpy' not in sys.modules\n"
        "assert callable(bp.devices) and callable(bp.layers.Linear)\n"
        "from bp_arrays import *\n"
        "assert Model is bp.Model and callable(bp.devices)\n"
        "import bp_arrays.devices\n"
        "assert callable(bp.devices)\n"
        "for room in bp.ROOMS: assert room in dir(bp) or getattr(bp, room)\n"
        "print(hasattr(bp, 'nothing'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr
