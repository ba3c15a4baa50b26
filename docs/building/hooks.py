"""MkDocs hooks: insert source, help texts and GPU evidence into pages, and draw formulas.

A link whose title is one of three words is replaced by its target when the site is built, so that
a page cannot drift from the code; in plain Markdown it remains a working link:

    [`Linear.forward`](../bp_arrays/layers/_linear.py "source")      a piece of a file, or all of it
    [`bp-arrays train`](../bp_arrays/command_line/_train.py "help")  the help of a command
    [what is recorded](../bp_arrays/testing/_evidence.py "evidence") the line of the GPU evidence

Formulas between dollars become MathML, which browsers draw without a script; the site includes the
part of the font STIX Two Math that they need.
"""

from __future__ import annotations

import ast
import html
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAKEN = re.compile(
    r'^\[`?(?P<name>[^\]`]+)`?\]\((?P<path>[^) ]+) "(?P<kind>source|help|evidence)"\)$', re.M
)
FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.S
)

PRIMED = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
PRIME = r"<mrow>\1<mo lspace='0' rspace='0'>′</mo></mrow>"  # the sign is raised already
LEFT_OUT = "\0"
FONT_RANGES = (  # Latin, Greek, punctuation, arrows, operators, brackets, mathematical letters
    (0x20, 0x7F), (0xA0, 0x100), (0x370, 0x400), (0x2000, 0x2070), (0x2100, 0x2150),
    (0x2190, 0x2300), (0x2308, 0x230C), (0x27E8, 0x27EA), (0x1D400, 0x1D800),
)  # fmt: skip


def filled_in(markdown: str, folder: Path) -> str:
    """Return the Markdown of a page in this folder, its marked links replaced by their targets.

    Raises
    ------
    LookupError
        If a file has no definition of that name.
    OSError
        If there is no such file.
    """

    def take(match: re.Match[str]) -> str:
        name, path, kind = match["name"], folder / match["path"], match["kind"]
        if kind == "source":
            return _fenced(source(path, name), path)
        if kind == "help":
            return f"```text\n{command_help(name)}```"
        from bp_arrays.testing import cuda_line

        return f"**{cuda_line()}.**"

    return TAKEN.sub(take, markdown)


def source(path: Path, name: str) -> str:
    """Return a whole file if `name` is its name, otherwise the class or function of that name.

    Of a class or function, docstrings and the types of arguments are omitted: the page around it
    says what it does, and the lines fit.

    Raises
    ------
    LookupError
        If there is none of that name.
    """
    text = path.read_text(encoding="utf-8")
    if name == path.name:
        return text
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        node = _part(node, part, f"{path.name} has no {name}")
    assert isinstance(node, (ast.ClassDef, ast.FunctionDef))
    lines = text.splitlines()
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef):
            _without_types(part, lines)
        if isinstance(part, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(part):
            doc = part.body[0]
            lines[doc.lineno - 1 : doc.end_lineno] = [LEFT_OUT] * (doc.end_lineno - doc.lineno + 1)
    first = min([node, *node.decorator_list], key=lambda part: part.lineno)
    kept = [line for line in lines[first.lineno - 1 : node.end_lineno] if line != LEFT_OUT]
    return textwrap.dedent("\n".join(kept)) + "\n"


def command_help(command: str) -> str:
    """Return the output of the command with --help, 88 columns wide."""
    words = command.split()[1:]
    return subprocess.run(
        [sys.executable, "-m", "bp_arrays", *words, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "88", "NO_COLOR": "1"},
    ).stdout


def as_mathml(page: str) -> str:
    """Return the HTML of a page with its formulas as MathML."""
    from latex2mathml.converter import convert

    def draw(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        return PRIMED.sub(PRIME, convert(html.unescape(match["latex"]).strip(), display=display))

    return FORMULA.sub(draw, page)


def write_font(path: Path) -> None:
    """Write the font of the formulas: a part of STIX Two Math (SIL Open Font License)."""
    from fontTools import subset

    carrier = importlib.util.find_spec("ziamath")  # a package that includes the font
    assert carrier is not None and carrier.origin is not None
    whole = Path(carrier.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    options = subset.Options(flavor="woff", layout_features=["*"])
    font = subset.load_font(str(whole), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=[code for start, end in FONT_RANGES for code in range(start, end)])
    chosen.subset(font)
    subset.save_font(font, str(path), options)


def on_page_markdown(markdown, page, config, files):
    """Fill in the Markdown of each page; called by MkDocs."""
    return filled_in(markdown, Path(page.file.abs_src_path).parent)


def on_page_content(html, page, config, files):
    """Draw the formulas of each page; called by MkDocs."""
    return as_mathml(html)


def on_post_build(config):
    """Write the font after the site is built; called by MkDocs."""
    write_font(Path(config.site_dir) / "assets" / "formulas.woff")


def _part(node: ast.AST, name: str, missing: str) -> ast.AST:
    for child in ast.iter_child_nodes(node):
        if getattr(child, "name", None) == name:
            return child
    raise LookupError(missing)


def _without_types(function: ast.FunctionDef, lines: list[str]) -> None:
    """Put the head of a function on one line, its arguments without types."""
    start = end = function.lineno - 1
    while not lines[end].endswith(":"):
        end += 1
    indent = lines[start][: function.col_offset]
    for argument in function.args.args + function.args.kwonlyargs:
        argument.annotation = None
    head = f"{indent}def {function.name}({ast.unparse(function.args)}):"
    lines[start : end + 1] = [head] + [LEFT_OUT] * (end - start)


def _fenced(code: str, path: Path) -> str:
    return f'```python title="{path.resolve().relative_to(ROOT).as_posix()}"\n{code}```'
