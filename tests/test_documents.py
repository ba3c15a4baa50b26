"""The README and each page of docs/ run from top to bottom and print what they say they print.

Python blocks are executed in order, in one namespace a page; a `text` block is what the block
before it printed; a `console` block is commands and what they print; `sh` blocks are commands. In
what is shown, "..." stands for anything. A block with `title="x.py"` is a file that later blocks
use. A comment above a block says what it needs, or why it is not run; such blocks are reported.
"""

from __future__ import annotations

import contextlib
import doctest
import gzip
import importlib.util
import io
import re
import shlex
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import main
from bp_arrays.readers import read_digits

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r'^(?:<!-- (?P<mark>[^\n]+) -->\n)?```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n'
    r"(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str | None
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def obstacle(self) -> str | None:
        """Why this block cannot run here, if it cannot."""
        kind, _, what = self.mark.partition(": ")
        if kind == "not run":
            return what
        if kind == "needs" and what == "cuda":
            found = bp.device("cuda").availability()
            return None if found.usable else f"needs cuda, but {found.reason}"
        if kind == "needs":
            return None if importlib.util.find_spec(what) else f"needs {what}: not installed"
        return None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["title"],
            match["mark"] or "",
            match["text"],
        )
        for match in BLOCK.finditer(text)
    ]


def alike(shown: str, printed: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown, printed, flags)


def run_python(block: Block, namespace: dict[str, object]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(block.text, str(block), "exec"), namespace)
    return out.getvalue()


def run_command(command: str) -> tuple[int, str]:
    """The exit code of a `bp-arrays` command, and all that it printed."""
    words = shlex.split(command, comments=True)
    assert words[0] == "bp-arrays", f"{command!r} is not run here: say so above it"
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            code = main(words[1:])
        except SystemExit as leaving:  # --help
            code = int(leaving.code or 0)
    out.flush()
    return code, out.buffer.getvalue().decode()


def run_console(block: Block) -> None:
    for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = session.partition("\n")
        code, printed = run_command(command)
        assert code == (2 if "error:" in shown else 0), f"{block}: {command}: {code}\n{printed}"
        assert alike(shown, printed), f"{block}: {command} shows\n{shown}\nbut\n{printed}"


def run_shell(block: Block) -> None:
    if block.mark == "run by README.md":
        assert block.text in README.read_text(encoding="utf-8"), f"{block}: not as in the README"
    elif block.mark == "main command":
        code, printed = run_command(block.text[block.text.index("bp-arrays ") :])
        assert code == 0, printed
    elif block.mark != "test command":  # which is what runs this
        for command in block.text.splitlines():
            code, printed = run_command(command)
            assert code == 0, f"{block}: {command}: {code}\n{printed}"


def give_what_the_readme_supposes(namespace: dict[str, object]) -> None:
    """The user's own files and layer that its commands and lines are about."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 2))
    lines = [f"{a},{b},{a - 2 * b}" for a, b in rows]
    Path("table.csv").write_text("\n".join(["size,age,price", *lines]) + "\n")
    pixels = read_digits().x[:5]
    np.savetxt("new.csv", pixels, fmt="%d", delimiter=",", comments="",
               header=",".join(f"p{k}" for k in range(64)))  # fmt: skip
    species = np.arange(90) % 3
    birds = rng.normal(size=(90, 2)) + 3.0 * species[:, None]
    lines = [f"{'ABC'[k]},{['Biscoe', 'Dream', ''][j % 3]},{a if j % 7 else ''},{b}"
             for j, (k, (a, b)) in enumerate(zip(species, birds, strict=True))]  # fmt: skip
    Path("penguins.csv").write_text("\n".join(["species,island,bill,mass", *lines]) + "\n")
    images = rng.integers(0, 256, size=(40, 4, 4)).astype(np.uint8)
    labels = (np.arange(40) % 4).astype(np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        Path(f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    namespace["MyLayer"] = bp.Tanh
    namespace["on_rows"] = lambda forward: forward  # decorates the method shown of a layer


def idx(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, dtype=">i4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("BP_ARRAYS_DEVICE", "cpu")
    monkeypatch.setenv("COLUMNS", "100")
    # `bp-arrays check` removes its folder of compiled functions, which JAX would keep writing to
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses look their module up
    if page == README:
        give_what_the_readme_supposes(module.__dict__)
    printed: str | None = ""
    for block in blocks(page):
        if block.obstacle:
            printed = None
        elif block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed = run_python(block, module.__dict__)
        elif block.language == "text" and printed is not None:
            assert alike(block.text, printed), f"{block} shows\n{block.text}\nbut\n{printed}"
        elif block.language == "console":
            run_console(block)
        elif block.language == "sh":
            run_shell(block)
    for name, loaded in sys.modules.copy().items():  # the page's own files
        if str(getattr(loaded, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page) if block.obstacle], ids=str
)
def test_a_block_that_cannot_run_here(block):
    pytest.skip(f"{block}: {block.obstacle}")


def test_every_block_is_of_a_kind_that_is_run():
    known = {"python", "text", "console", "sh", "toml", "yaml"}
    assert {block.language for page in PAGES for block in blocks(page)} <= known
    marks = {block.mark.partition(": ")[0] for page in PAGES for block in blocks(page)}
    assert marks <= {"", "not run", "needs", "run by README.md", "main command", "test command"}
