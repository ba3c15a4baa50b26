"""Covers: errors of every command: one line on stderr, exit code 2, nothing trained or written."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line import _train as train


@pytest.fixture
def fails(run, monkeypatch):
    """Run, and assert one line of error, no output, no training."""

    def trained(*args, **kwargs):
        raise AssertionError("the training began")

    monkeypatch.setattr(train, "fit", trained)

    def fails(*words, message):
        result = run(*words)
        assert result.code == 2
        lines = [line for line in result.err.splitlines() if "device 'auto' is" not in line]
        assert len(lines) == 1 and lines[0].startswith("bp-arrays: error: ")
        assert message in lines[0]
        assert "trained" not in result.out and "Traceback" not in result.out
        return lines[0]

    return fails


COMMAND_LINES = {
    "": "expected a command",
    "trian digits": "unknown command 'trian': did you mean 'train'",
    "train": "required: DATA; see bp-arrays train --help",
    "train digits --epoch 3": "unexpected '--epoch': did you mean --epochs?",
    "train digits notes": "unexpected 'notes'",
    "train digits --epochs": "argument --epochs: expected one argument",
    "train digits --epochs 0": "--epochs: expected an integer >= 1, got '0'",
    "train digits --epochs 1.5": "--epochs: expected an integer >= 1, got '1.5'",
    "train digits --batch -3": "--batch: expected an integer >= 1",
    "train digits --seed -1": "--seed: expected an integer >= 0",
    "train digits --rate 0": "--rate: expected a finite number > 0",
    "train digits --rate nan": "--rate: expected a finite number > 0",
    "train digits --rate fast": "--rate: expected a number, got 'fast'",
    "train digits --dropout 1": "--dropout: expected a fraction in [0, 1)",
    "train digits --validation 1": "--validation: expected a fraction in [0, 1)",
    "train digits --test -0.1": "--test: expected",
    "train digits --layers 64,": "--layers: expected an integer >= 1, got ''",
    "train digits --layers 64,0": "--layers: expected an integer >= 1, got '0'",
    "train digits --task clustering": "--task: invalid choice",
    "train digits --task regression": "task: expected a file, got 'digits', which has its own task",
    "train notes --task classification": "task: expected a file, got 'notes'",
    "train digits --activation relo": "did you mean 'ReLU'",
    "train digits --loss cros_entropy": "did you mean 'CrossEntropy'",
    "train digits --optimizer adm": "did you mean 'Adam'",
    "train digits --schedule cosin": "did you mean 'cosine'",
    "bench": "required: --layers",
    "bench --layers 784": "at least two classes, such as 784,512,10, got 784",
    "bench --layers none": "got none",
    "bench --layers 784,1": "at least two classes",
    "bench --layers 784,x": "--layers: expected an integer",
    "bench --layers 4,3 --batch 0": "--batch: expected an integer >= 1",
    "bench --layers 4,3 --steps 0": "--steps: expected an integer >= 1",
    "bench --layers 4,3 --device gpu": "did you mean 'cuda'",
    "bench --layers 4,3 --device cuda:99": "device 'cuda:99' cannot be used",
    "bench --layers 4,3 --device cpu --dtype float31": "no dtype 'float31'",
    "bench --layers 4,3 --dtype float31": "dtype='float31')",
    "bench --layers 4,3 --optimizer adm": "did you mean 'Adam'",
    "bench --layers 4,3 --json nowhere/b.json": ": no folder ",
    "train digits --device gpu0": "unknown device 'gpu0'",
    "train digits --device cuda:99": "device 'cuda:99' cannot be used",
    "train digits --dtype float31": "no dtype 'float31'",
    "train digits --target y": "drop target",
    "train digit": "did you mean 'digits'",
    "train missing.csv": "there is no file 'missing.csv'",
    "train notes --loss cross_entropy": "--loss cross_entropy: expected classes",
    "train notes --loss binary_cross_entropy": "--loss binary_cross_entropy: expected classes",
    "train digits --out no/such/m": ": no folder ",
    "train digits --report no/such/r.json": "--report no/such/r.json: no folder",
    "train digits --plot no/such/p.png": "--plot no/such/p.png: no folder",
    "train digits --out .": "is not a regular file",
    "train digits --out same --report same": "--report and --out name the same file",
    "predict missing digits": "there is no model file missing",
    "predict": "required: MODEL, DATA",
    "devices --all": "unexpected '--all'",
}


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines(fails, tmp_path, line):
    fails(*line.split(), message=COMMAND_LINES[line])
    assert list(tmp_path.iterdir()) == []


CONTENTS = {
    "one.csv": ("a,y\n1,only\n2,only\n3,only\n", "expected two classes or more, got only 'only'"),
    "text.csv": (
        "a,y\n1,0.5\nx,1.5\n3,2.5\n",
        "line 3, column 'a': expected a number, got the text",
    ),
    "infinite.csv": (
        "a,y\n1,0.5\n-inf,1.5\n3,2.5\n",
        "line 3, column 'a': expected a finite number, got -inf",
    ),
    "row.csv": ("a,y\n1,0.5\n", "expected a row for training besides the 1 held out, got 1 row"),
    "empty.csv": ("", "expected a header line"),
    "huge.csv": (
        "a,y\n1e308,0.5\n1,1.5\n",
        "feature 'a' reaches 1e+308, and the largest number in float64 is 1.8e+308; change its",
    ),
    "bad.npz": ("PK", "not a readable .npz archive"),
    "bad.npy": ("", "expected two .npy files, got one"),
    "images-idx3-ubyte": ("\0\0\x08\x03", "truncated"),
    "other.bin": ("hello", "got a file of unknown format"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files(fails, tmp_path, name):
    content, message = CONTENTS[name]
    (tmp_path / name).write_text(content)
    target = ["--target", "y"] if name.endswith(".csv") else []
    fails("train", name, *target, message=message)


ROUGH = {
    "a,y\n1e300,0.5\n1,1.5\n": "feature 'a' reaches 1e+300, and the largest number in float32 is",
    "a,y\n1,1e300\n2,1.5\n": "target 'y' reaches 1e+300",
    "a,y\n1e-45,1\n2e-45,2\n3e-45,3\n4e-45,4\n": "feature 'a' varies by",
    "a,y\n1,1e-45\n2,2e-45\n3,3e-45\n4,4e-45\n": "target 'y' varies by",
    "a,y\n1,1000000.01\n2,1000000.02\n3,1000000.03\n4,1000000.05\n": (
        "target 'y' has values near 1e+06 that vary by 0.0"
    ),
    "a,y\n16777217,1\n16777218,2\n16777219,3\n16777220,4\n": "which float32 cannot tell apart",
}


@pytest.mark.parametrize("content", ROUGH)
def test_values_that_the_requested_dtype_cannot_represent(fails, tmp_path, content):
    (tmp_path / "rough.csv").write_text(content)
    words = ("train", "rough.csv", "--target", "y", "--task", "regression", "--device", "cpu")
    fails(*words, "--dtype", "float32", "--out", "m", message=ROUGH[content])
    fails(*words, "--dtype", "float32", message="use --dtype float64")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("content", ROUGH)
def test_values_that_the_default_dtype_cannot_represent_are_learned_in_float64(
    run, tmp_path, content
):
    (tmp_path / "rough.csv").write_text(content)
    words = ("train", "rough.csv", "--target", "y", "--task", "regression", "--device", "cpu")
    result = run(*words, "--epochs", 1, "--out", "m")
    assert result.code == 0 and "cpu in float64" in result.out
    assert ROUGH[content] in result.err and result.err.count("\n") == 1
    assert result.err.endswith(": training in float64\n")
    assert bp.load(tmp_path / "m", "cpu").dtype == "float64"


def test_a_target_must_be_named_and_exist(fails, flowers):
    fails("train", flowers, message="--target with one of: width, height, kind")
    fails("train", flowers, "--target", "kinds", message="did you mean 'kind'")
    fails(
        "train",
        flowers,
        "--target",
        "kind",
        "--task",
        "regression",
        message="line 2, column 'kind': expected a number, got the text 'daisy'",
    )


def test_no_output_may_replace_the_input(fails, flowers):
    before = flowers.read_bytes()
    fails("train", flowers, "--target", "kind", "--out", flowers, message="would replace the input")
    fails("train", f"{flowers},x.npy", "--out", flowers, message="would replace the input")
    assert flowers.read_bytes() == before


def test_nor_a_device_file(fails):
    fails("train", "digits", "--out", "/dev/null", message="is not a regular file")


def test_a_folder_that_cannot_be_written_to(fails, monkeypatch):
    from bp_arrays.command_line import _output_files as outputs

    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(outputs.tempfile, "TemporaryFile", refuse)
    fails("train", "digits", "--out", "m", message="is not writable, Permission denied")


def test_plot_without_matplotlib(fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fails("train", "digits", "--plot", "p.png", message='pip install "bp_arrays[plot]"')


def test_plot_of_no_known_kind(fails):
    pytest.importorskip("matplotlib")
    fails("train", "digits", "--plot", "p.xyz", message="expected an image format, got 'xyz'")
    fails("train", "digits", "--plot", "p", message="use .png, .pdf or .svg")


@pytest.mark.parametrize("words", ["--rate 1e30", "--rate 1e18 --activation gelu --no-standardize"])
def test_a_loss_that_is_not_finite(run, tmp_path, words):
    """Nor do the library's warnings of overflow stand beside the line."""
    result = run(
        *("train", "digits", "--device", "cpu", "--optimizer", "sgd", "--out", "m", "--quiet"),
        *words.split(),
    )
    assert result.code == 2 and result.err.count("\n") == 1
    assert "NaN or infinite in epoch 1" in result.err and not (tmp_path / "m").exists()


def test_an_overflow_that_ends_well_is_no_warning(run):
    words = "--loss l2 --activation softplus --optimizer sgd --rate 1e18 --quiet"
    result = run("train", "digits", "--device", "cpu", "--epochs", 2, *words.split())
    assert result.code == 0 and result.err == ""


def test_more_memory_than_there_is(run, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError("Unable to allocate 559. GiB")

    monkeypatch.setattr(train, "Model", fail)
    result = run("train", "digits", "--device", "cpu", "--quiet")
    assert result.code == 2
    assert result.err.startswith("bp-arrays: error: out of memory; use less data")


def test_a_message_of_several_lines_becomes_one(run, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("a library said\n  much at once")

    monkeypatch.setattr(train, "open_dataset", fail)
    result = run("train", "digits", "--device", "cpu", "--quiet")
    assert result == (2, "", "bp-arrays: error: a library said much at once\n")


def test_ctrl_c_outside_the_training(run, monkeypatch):
    def press(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "open_dataset", press)
    result = run("train", "digits", "--device", "cpu", "--quiet")
    assert result == (130, "", "bp-arrays: interrupted\n")


@pytest.mark.parametrize("option", ["--out", "--report", "--plot"])
def test_a_write_that_fails_leaves_the_old_file(run, tmp_path, monkeypatch, option):
    pytest.importorskip("matplotlib")

    def full(handle):
        raise OSError(28, "No space left on device")

    old = tmp_path / ("file.html" if option == "--report" else "file.png")
    old.write_text("what was there before")
    monkeypatch.setattr(os, "fsync", full)
    result = run("train", "notes", "--device", "cpu", "--epochs", 1, "--quiet", option, old)
    assert result == (2, "", "bp-arrays: error: No space left on device\n")
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "what was there before"


def test_a_link_is_followed_not_replaced(run, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "m")
    assert run("train", "notes", "--epochs", 1, "--out", "link").code == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "m").is_file()


def test_predictions_that_are_classes_of_numbers(run, tmp_path):
    """A class is what the table calls it, also where the table writes it 1.0."""
    x = np.repeat([[0.0], [1.0]], 20, axis=0)
    (tmp_path / "d.csv").write_text("a,y\n" + "".join(f"{v},{v}\n" for v in x[:, 0]))
    run("train", "d.csv", "--target", "y", "--device", "cpu", "--out", "m")
    for spelling, score in {"1": "100.00%", "1.0": "100.00%", "2": "know: 2"}.items():
        (tmp_path / "e.csv").write_text(f"a,y\n1,{spelling}\n")
        result = run("predict", "m", "e.csv", "--device", "cpu")
        assert result.out.splitlines()[1].startswith("1.0,") and score in result.err
    (tmp_path / "e.csv").write_text("a,y\n1,1\n1,1.0\n")  # two names: only one is the class
    result = run("predict", "m", "e.csv", "--device", "cpu")
    assert "50.00% (classes the model does not know: 1)" in result.err


def test_classes_that_are_one_float_are_classes_of_their_own(run, tmp_path):
    ids = [f"900719925474099{2 + k % 4}" for k in range(200)]
    lines = [f"{k},{name}" for k, name in enumerate(ids)]
    (tmp_path / "ids.csv").write_text("\n".join(["a,id", *lines]))
    words = ("--target", "id", "--device", "cpu", "--quiet", "--epochs", 1, "--out", "m")
    assert run("train", "ids.csv", *words, "--report", "r.json").code == 0
    assert json.loads((tmp_path / "r.json").read_text())["data"]["classes"] == sorted(set(ids))
    names = [line.split(",")[0] for line in run("predict", "m", "ids.csv").out.splitlines()[1:]]
    assert set(names) <= set(ids)


def test_a_module_in_the_current_folder_is_a_device(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no_arrays.py").write_text("x = 1\n")
    installed = [folder for folder in sys.path if folder not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", installed.copy())
    fails("train", "digits", "--device", "no_arrays", message="the module no_arrays lacks asarray")
    assert sys.path == [*installed, ""]  # installed modules go before those of a folder
