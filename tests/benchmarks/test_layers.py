"""The benchmark of layers: its rows, its turns, its table."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bp_arrays as bp
from benchmarks import layers
from benchmarks.layers import OURS, TORCH, Row, Times, measure, products_alone, table


def test_contestants_take_turns():
    turns = []
    steps = {name: lambda name=name: turns.append(name) for name in (OURS, TORCH)}
    times = measure("a layer", steps, rounds=3)
    assert [len(rounds) for rounds in times.rounds.values()] == [3, 3]
    assert turns.index(TORCH) < len(turns) - 1 - turns[::-1].index(OURS)


def test_the_table_divides_our_time_by_theirs():
    times = Times("a layer", {OURS: [2.0, 4.0, 3.0], TORCH: [4.0, 4.0, 4.0]})
    assert "| a layer | **3.00** |  | 4.00 (0.75) |  |" in table([times])
    assert times.entry()["ratio"] == {TORCH: 0.75}


def test_a_layer_that_is_missing_is_named():
    row = Row("a layer", ("Linear", "NoSuchLayer"), lambda: None)
    assert row.missing() == ["NoSuchLayer"]
    assert {row.name for row in layers.rows()} >= {"char-GPT", "CNN", "char-LSTM"}


def test_a_layer_runs_forward_and_backward():
    step = layers.layer_step(bp.Linear(3), (4,), layers.numbers(5, 4))
    step()
    products_alone(layers.dense(5, 4, 3))()


@pytest.mark.parametrize("limited", [False, True])
def test_one_thread(monkeypatch, limited):
    commands = []
    monkeypatch.setattr(
        layers.subprocess, "run",
        lambda command, env, check: commands.append(command) or SimpleNamespace(returncode=3),
    )  # fmt: skip
    for name, value in layers.ONE_THREAD.items():
        monkeypatch.setenv(name, value if limited else "8")
    assert layers.run_on_one_thread(["layers"]) == (None if limited else 3)
    assert len(commands) == (0 if limited else 1)
