"""The scripts of docs/examples run as a user starts them, quickly, and do what they claim."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bp_arrays.data import read_digits

SCRIPTS = Path(__file__).parent.parent / "docs" / "examples"
LIMIT = 60


def run(script: str, folder: Path, *words: str) -> str:
    """What the script prints, warnings being errors."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS / script), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


def test_digits_are_read(tmp_path):
    printed = run("read_digits.py", tmp_path, "--device", "cpu")
    [share] = re.findall(r"([\d.]+)% of 360 test digits", printed)
    assert float(share) > 96.0
    assert "its outputs differ by 0.0e+00 at most" in printed
    assert (tmp_path / "digits.safetensors").exists()
    assert "<html" in (tmp_path / "worst.html").read_text(encoding="utf-8")


def test_the_network_in_a_pipeline_does_better_than_the_mean(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    printed = run("disease_progression.py", tmp_path)
    errors = dict(re.findall(r"^  (.+?) +([\d.]+)$", printed, re.MULTILINE))
    assert float(errors["the network"]) < 0.85 * float(errors["the mean, always"])
    assert float(errors["the network"]) < 1.1 * float(errors["ridge regression"])


def test_a_table_with_texts_and_missing_values_is_predicted(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("pandas", reason="pandas is not installed")
    rng = np.random.default_rng(0)
    lines = ["island,length,mass,species"]
    for k in range(120):
        island, length = rng.choice(["Biscoe", "Dream", ""]), rng.normal(40 + 9 * (k % 2), 2)
        mass = "" if k % 10 == 0 else f"{rng.normal(4000, 300):.0f}"
        lines.append(f"{island},{length:.1f},{mass},{['Adelie', 'Gentoo'][k % 2]}")
    lines.append("Dream,40.0,4000,")
    (tmp_path / "birds.csv").write_text("\n".join(lines))
    printed = run("mixed_table.py", tmp_path, "birds.csv", "--target", "species")
    assert "120 rows, 2 columns of numbers, 1 of texts" in printed
    [score] = re.findall(r"the network +([\d.]+)", printed)
    assert float(score) > 0.8
    assert (tmp_path / "network.safetensors").exists()


def test_a_loss_is_the_same_everywhere(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    devices = ("--device", "cpu", "--device", "strict")
    printed = run("own_loss_everywhere.py", tmp_path, *devices)
    assert "all agree" in printed
    rows = re.findall(r"^(\S+) +(0\.\d+) +(0\.\d+) +(\d+)%$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["cpu", "strict"]
    assert rows[0][1:] == rows[1][1:]
    assert 70 <= int(rows[0][3]) <= 90


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write whole numbers below 256 as an IDX file: the sizes of the axes, then the numbers."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def test_a_convolutional_network_reads_images_from_a_file(tmp_path):
    digits = read_digits()
    write_idx(tmp_path / "few-images-idx3-ubyte", digits.x[:600].reshape(-1, 8, 8))
    write_idx(tmp_path / "few-labels-idx1-ubyte", digits.t[:600])
    options = ("few-images-idx3-ubyte", "--device", "cpu", "--epochs", "10")
    printed = run("convolutional_digits.py", tmp_path, *options)
    [share] = re.findall(r"([\d.]+)% of 120 images held out", printed)
    assert float(share) > 80.0


def test_a_gpt_learns_a_text_and_continues_it(tmp_path):
    lines = ["the cat sat on the mat", "the dog sat on the cat"]
    text = "\n".join(lines[k % 2] for k in range(400))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    small = ("--blocks", "1", "--features", "32", "--window", "16", "--steps", "200")
    printed = run("char_gpt.py", tmp_path, "text.txt", "--device", "cpu", *small)
    [loss] = re.findall(r"step 200: .* validation loss ([\d.]+)", printed)
    assert float(loss) < 0.8  # 2.6 if all characters were as likely
    assert len(printed.partition("it writes:\n\n")[2]) == 301
    words = ("sample", "gpt.safetensors", "--prompt", "the dog", "--temperature", "0")
    command = [sys.executable, "-m", "bp_arrays", *words, "--length", "11", "--device", "cpu"]
    sampled = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sampled.stdout == "the dog sat on the\n"


def test_every_script_is_run_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'run("{path.name}"' in source for path in SCRIPTS.glob("*.py"))


def test_the_next_character_is_predicted(tmp_path):
    text = SCRIPTS.parent / "mathematics.md"  # any text
    short = ("--lines", "1200", "--time", "16", "--epochs", "6", "--device", "cpu")
    printed = run("next_character.py", tmp_path, str(text), *short)
    lstm, frequencies = map(float, re.findall(r"^  .+ (\d\.\d+)$", printed, re.MULTILINE))
    assert lstm < 0.9 * frequencies
