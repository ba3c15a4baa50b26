"""Covers: `bp-arrays train` on a text."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.command_line._text_job import RandomWindows, Text

SMALL = ("--layers", "16,16", "--window", 12, "--device", "cpu")


@pytest.fixture
def text(tmp_path):
    """A text whose next character is certain within a line: the alphabet, é included."""
    path = tmp_path / "letters.txt"
    path.write_text("abcdefghé\n" * 300, encoding="utf-8")
    return path


def test_a_text_is_learned_and_written(run, text, tmp_path):
    result = run("train", text, *SMALL, "--epochs", 1, "--out", "m.safetensors",
                 "--report", "r.json", "--seed", 3)  # fmt: skip
    assert result.code == 0 and result.err == ""
    plan, last = result.out.splitlines()[:-1], result.out.splitlines()[-1]
    assert "10 different characters, 2700 for training, the last 300 for validation" in plan[0]
    value, bits = map(float, re.findall(r"loss (\S+), (\S+) bits", last)[0])
    assert value < 0.1 and bits == pytest.approx(value / np.log(2.0), abs=0.006)
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["history"]["val_loss"] == [pytest.approx(value, abs=1e-4)]
    assert report["layers"] == [16, 16] and report["characters"] == 10
    model = bp.load(tmp_path / "m.safetensors", device="cpu")
    x, t = Text.read(str(text), 0.1, 12).validation_windows(12)
    witness = bp.evaluate(model, x, t, loss=bp.CrossEntropy())["loss"]
    assert witness == pytest.approx(value, abs=1e-4)
    words = ("--prompt", "abc", "--length", 8, "--temperature", 0, "--device", "cpu")
    assert run("sample", "m.safetensors", *words).out == "abcdefghé\na\n"


def test_a_run_that_is_resumed_is_the_one_that_was_not(run, text, tmp_path):
    more = ("--layers", "8", "--window", 8, "--batch", 2, "--device", "cpu", "--quiet")
    assert run("train", text, *more, "--epochs", 2, "--out", "whole").code == 0
    folder = ("--checkpoint", "c", "--checkpoint-every", "300 steps")
    assert run("train", text, *more, "--epochs", 2, *folder).code == 0
    (tmp_path / "c" / "step-000000001000.safetensors").unlink()  # 900 is in the second epoch
    assert run("train", text, *more, "--epochs", 2, "--resume", "c", "--out", "two").code == 0
    whole, two = (bp.load(tmp_path / name, device="cpu").parameters for name in ("whole", "two"))
    for name, value in whole.items():
        np.testing.assert_array_equal(value, two[name])


def test_a_model_of_characters_writes_text_and_nothing_else(run, text):
    more = ("--layers", 8, "--window", 8, "--batch", 1, "--epochs", 1, "--validation", 0)
    result = run("train", text, *more, "--device", "cpu", "--out", "m")
    assert "for validation" not in result.out and "GPT of 1 block, width 8, 1 head" in result.out
    for command in ("predict", "explain"):
        more = ("--sample", 1) if command == "explain" else ()
        result = run(command, "m", text, *more)
        assert result.code == 2 and "bp-arrays sample m writes text" in result.err


def test_settings_of_texts_are_those_of_the_command_line(run, text, tmp_path):
    small = ("--layers", 8, "--window", 8, "--batch", 2, "--device", "cpu", "--quiet")
    more = ("--average", 0.5, "--report", "r.json", "--checkpoint", "c", "--validation", 0)
    assert run("train", text, *small, *more, "--epochs", 1).code == 0
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert report["optimizer"].startswith("EMA(") and report["compute_dtype"] is None
    (tmp_path / "other.txt").write_text("abcdefghé\n" * 299 + "abcdefgéh\n", encoding="utf-8")
    resume = ("--average", 0.5, "--validation", 0, "--epochs", 2, "--resume", "c")
    for data, options in (("other.txt", ()), (text, ("--batch", 3))):
        result = run("train", data, *small, *resume, *options)
        assert result.code == 2 and "expected the data of the checkpoint" in result.err
    assert run("train", text, *small, *resume).code == 0  # another decay and schedule


def test_windows_are_of_the_text_and_differ_between_epochs(text):
    read = Text.read(str(text), 0.0, 5)
    model = bp.Model(bp.Linear(1), 1, device="cpu")
    windows = RandomWindows(read.train, 5, 3, 0, model)
    first, again = ([x.tolist() for x, _ in windows] for _ in range(2))
    bp.fit(model, [[1.0]], [[1.0]], loss=bp.L2Loss(), optimizer=bp.SGD(0.1))
    second = [x.tolist() for x, _ in windows]
    assert first == again != second and len(first) == 500
    for x, t in windows:
        assert x.shape == t.shape == (3, 5)
        np.testing.assert_array_equal(x[:, 1:], t[:, :-1])
        words = ["".join(read.vocabulary[k] for k in (*row, end)) for row, end in
                 zip(x.tolist(), t[:, -1].tolist(), strict=True)]  # fmt: skip
        assert all(word in "abcdefghé\n" * 3 for word in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "a"), "--target: expected a table or images, got the text .*letters.txt"),
        (("--no-standardize",), "--standardize: expected a table or images"),
        (("--layers", "16,8"), "--layers: expected for a text the width of each block, all alike"),
        (("--layers", "none"), "--layers: .*128,128,128,128, got none"),
        (("--window", "4000"), "expected more than --window 4000 characters for training"),
        (("--window", "400"), "for validation, got 300 of 3000; .* --validation 0"),
        (("--patience", "2", "--validation", "0"), "--patience: expected --validation above 0"),
    ],
)
def test_bad_options_are_one_line(run, text, words, message):
    result = run("train", text, "--device", "cpu", *words)
    assert result.code == 2 and result.out == ""
    assert len(result.err.splitlines()) == 1 and re.search(message, result.err)


def test_files_that_are_no_text_are_one_line(run, tmp_path, flowers):
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1") * 100)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "same.txt").write_bytes(b"aaaa" * 100)
    for name, message in {
        "latin.txt": "expected a text in UTF-8, got the byte 0xe9 at position 0",
        "empty.txt": "two characters or more, got an empty file",
        "same.txt": "two characters or more, got only 'a'",
        "missing.txt": "missing.txt",
    }.items():
        result = run("train", name, "--device", "cpu")
        assert result.code == 2 and message in result.err and len(result.err.splitlines()) == 1
    result = run("train", flowers, "--target", "kind", "--window", 3)
    assert result.code == 2 and "--window: expected a text, .txt" in result.err
