"""Fixtures: run the command line inside the test's process, and small files for it to read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from bp_arrays.command_line import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run `bp-arrays WORDS` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def flowers(tmp_path):
    """A .csv file with three classes that are easily told apart."""
    rng = np.random.default_rng(0)
    lines = ["width,height,kind"]
    for k, kind in enumerate(["daisy", "rose", "tulip"] * 20):
        width, height = rng.normal(size=2) * 0.1 + (k % 3, -(k % 3))
        lines.append(f"{width},{height},{kind}")
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def prices(tmp_path):
    """A .csv file with a target of the size of a house's price."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) * (1.0, 100.0, 0.01)
    price = 300_000.0 + 40_000.0 * x[:, 0] - 500.0 * x[:, 1]
    lines = ["rooms,area,age,price"]
    lines += [
        ",".join(map(repr, (*row, p))) for row, p in zip(x.tolist(), price.tolist(), strict=True)
    ]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
