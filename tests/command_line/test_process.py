"""Covers: exit codes, streams, imports and broken pipes, in a real process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bp_arrays
from bp_arrays.command_line import main

PYTHON = [sys.executable, "-m", "bp_arrays"]


def process(*words, **options):
    return subprocess.run(
        [*PYTHON, *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )


def test_version_and_help():
    assert process("--version").stdout == f"bp-arrays {bp_arrays.__version__}\n"
    for words in (["--help"], ["train", "--help"], ["predict", "--help"], ["devices", "--help"]):
        result = process(*words)
        assert result.returncode == 0 and result.stdout.startswith("usage: bp-arrays")
        assert result.stderr == ""


def test_every_command_is_in_the_overview_and_has_its_file():
    from bp_arrays.command_line import COMMANDS

    overview = process("--help").stdout
    for name in COMMANDS:
        assert f"  {name}" in overview
        module = __import__(f"bp_arrays.command_line._{name}", fromlist=["run"])
        assert callable(module.run) and callable(module.add_arguments) and module.__doc__


def test_devices_prints_the_table():
    result = process("devices")
    assert result.returncode == 0
    assert any(line.split()[:2] == ["cpu", "yes"] for line in result.stdout.splitlines())
    assert "strict:device1" in result.stdout
    said = result.stdout.count("training: ") + result.stdout.count("-> ")
    assert said == len(bp_arrays.devices())


def test_training_in_a_process_of_its_own(tmp_path):
    result = process("train", "notes", "--device", "cpu", "--epochs", 2, "--out", tmp_path / "m")
    assert result.returncode == 0 and result.stderr == ""  # no bar where nobody watches
    assert result.stdout.splitlines()[-1].startswith("trained 2-3-2 sigmoid on notes")
    (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes()[:-1])
    result = process("predict", tmp_path / "m", "notes")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "truncated or damaged" in result.stderr


def test_an_error_is_one_line_without_traceback():
    result = process("train", "digits", "--activation", "relo")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("bp-arrays: error: unknown activation 'relo'")
    assert result.stderr.count("\n") == 1


def test_help_needs_no_heavy_library():
    code = (
        "import sys\n"
        "from bp_arrays.command_line import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'jax', 'cupy', 'matplotlib', 'tqdm', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == "[]"


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX system")
@pytest.mark.parametrize("words", [["predict", "m", "d.csv"], ["devices"], ["train", "notes"]])
def test_a_reader_that_has_left_is_no_reason_for_a_traceback(tmp_path, words):
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    bp_arrays.Model(bp_arrays.Identity(), input_shape=(2,), device="cpu").save(tmp_path / "m")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bp_arrays", *words]
    environment = {**os.environ, "BP_ARRAYS_DEVICE": "cpu"}
    result = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, text=True
    )
    os.close(writing)
    assert result.returncode == 141
    assert "Traceback" not in result.stderr and "Broken" not in result.stderr


def test_names_outside_the_terminals_alphabet(tmp_path):
    (tmp_path / "d.csv").write_text("a,y\n" + "0,größe\n1,東\n" * 10, encoding="utf-8")
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = ["train", tmp_path / "d.csv", "--target", "y", "--epochs", 1, "--out", tmp_path / "m"]
    assert process(*words, env=plain).returncode == 0
    words = ["predict", tmp_path / "m", tmp_path / "d.csv"]
    result = process(*words, env=plain, encoding="utf-8")
    assert result.returncode == 0 and "Traceback" not in result.stderr
    rows = result.stdout.splitlines()  # data, which an escape would change
    assert rows[0] == "prediction,probability" and len(rows) == 21
    assert {row.split(",")[0] for row in rows[1:]} <= {"größe", "東"}
    process(*words, "--out", tmp_path / "p.csv", env=plain)
    assert (tmp_path / "p.csv").read_text(encoding="utf-8") == result.stdout


SHELL = pytest.mark.skipif(os.name != "posix", reason="redirections of a POSIX shell")


def in_shell(words, redirection, folder):
    """Run `bp-arrays WORDS` with a redirection such as `>&-`, which closes standard output."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *PYTHON, *words],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
    )


@SHELL
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_process_without_standard_streams(tmp_path, redirection):
    (tmp_path / "d.csv").write_text("a,y\n1,2\n2,4\n3,6\n4,8\n5,10\n")
    cpu = ["--device", "cpu"]
    words = ["train", "d.csv", "--target", "y", "--epochs", "1", "--out", "m", *cpu]
    result = in_shell(words, redirection, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    result = in_shell(["predict", "m", "d.csv", "--out", "p.csv", *cpu], redirection, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "p.csv").read_text().startswith("prediction\n")
    result = in_shell(["train", "none.csv", "--target", "y"], redirection, tmp_path)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == ("2>&-" not in redirection)  # the line of the error


@SHELL
@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["devices"]])
def test_an_output_that_cannot_be_written(tmp_path, words):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    result = in_shell(words, "> /dev/full", tmp_path)
    assert result.returncode == 2
    assert result.stderr == "bp-arrays: error: No space left on device\n"


@SHELL
def test_an_error_that_nobody_reads(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [*PYTHON, "train", "none.csv"]
    result = subprocess.run(command, stdout=writing, stderr=writing, cwd=tmp_path)
    os.close(writing)
    assert result.returncode == 2


class WriteOnly:
    """The least that `sys.stdout` may be, says Python's documentation: an object with `write`."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, closed, io.StringIO, WriteOnly])
def test_streams_that_a_host_program_put_in_place(monkeypatch, tmp_path, stream):
    monkeypatch.chdir(tmp_path)
    out, err = stream(), stream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    codes = [main(["train", "notes", "--device", "cpu", "--epochs", "1"]), main(["trane"])]
    streams = sys.stdout, sys.stderr
    monkeypatch.undo()
    assert codes == [0, 2] and streams == (out, err)
    if stream in (io.StringIO, WriteOnly):
        texts = [each.text if stream is WriteOnly else each.getvalue() for each in streams]
        assert texts[0].splitlines()[-1].startswith("trained 2-3-2")
        assert texts[1].startswith("bp-arrays: error: unknown command 'trane'")
        assert texts[1].count("\n") == 1
