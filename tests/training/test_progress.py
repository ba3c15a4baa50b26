"""Covers: the progress bar in a pipe and in a terminal; for notebooks see tests/plots."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import types

import pytest

CODE = """
import bp_arrays as bp
model = bp.Model(bp.Linear(1), 1, device="cpu")
bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(), optimizer=bp.SGD(0.1), epochs=3,
       progress=True)
"""


def test_a_pipe_is_kept_quiet():
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_terminal_has_a_bar():
    pty, termios = map(pytest.importorskip, ("pty", "termios"))
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    result = subprocess.run([sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=theirs)
    shown = os.read(ours, 65536)  # while the other end is open: what was written, and no error
    os.close(theirs)
    os.close(ours)
    assert result.stdout == b"" and b"3/3" in shown and b"loss" in shown


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, closed, io.StringIO, object])
@pytest.mark.parametrize("notebook", [False, True])
def test_without_standard_streams_there_is_no_bar(monkeypatch, stream, notebook):
    if notebook and stream in (io.StringIO, object):
        pytest.skip("a notebook shows the bar on any stream")
    kernel = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", kernel if notebook else None)
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", out)
    exec(compile(CODE, "progress", "exec"), {})
    monkeypatch.undo()
    assert not isinstance(out, io.StringIO) or out.closed or out.getvalue() == ""
