"""The benchmark of layers: its rows, its turns, its table."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bp_arrays as bp
from benchmarks import layers
from benchmarks.layers import OURS, TORCH, Row, Times, measure, products_alone


def test_contestants_take_turns():
    turns = []
    steps = {name: lambda name=name: turns.append(name) for name in (OURS, TORCH)}
    times = measure("a layer", steps, rounds=3)
    assert [len(rounds) for rounds in times.rounds.values()] == [3, 3]
    assert turns.index(TORCH) < len(turns) - 1 - turns[::-1].index(OURS)


def test_our_time_is_divided_by_theirs():
    times = Times("a layer", {OURS: [2.0, 4.0, 3.0], TORCH: [4.0, 4.0, 4.0]})
    assert times.entry()["milliseconds"] == {OURS: 3.0, TORCH: 4.0}
    assert times.entry()["ratio"] == {TORCH: 0.75}


def test_a_layer_that_is_missing_is_named():
    row = Row("a layer", ("Linear", "NoSuchLayer"), lambda: None)
    assert row.missing() == ["NoSuchLayer"]
    assert {row.name for row in layers.rows()} >= {"char-GPT", "CNN", "char-LSTM"}


@pytest.mark.parametrize("name", ["cpu", "strict"])
def test_a_layer_runs_forward_and_backward(name):
    step = layers.layer_step(bp.Linear(3), (4,), layers.numbers(5, 4), name)
    step()
    products_alone(layers.dense(5, 4, 3))()


@pytest.mark.parametrize("number", [1, 2])
def test_the_benchmark_starts_again_with_so_many_threads(monkeypatch, number):
    started = []

    def run(command, env, check):
        started.append((command, env))
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(layers.subprocess, "run", run)
    for name in layers.THREADS:
        monkeypatch.setenv(name, "8")
    assert layers.run_with_threads(["layers"], number) == 3
    [(command, env)] = started
    assert command[1:] == ["-m", "benchmarks", "layers"]
    assert {env[name] for name in layers.THREADS} == {str(number)}
    monkeypatch.setattr(layers.os, "environ", env)
    assert layers.run_with_threads(["layers"], number) is None
    assert layers.threads() == number
