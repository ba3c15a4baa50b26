"""Covers: `measure_speed`: counts and definitions, not times."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from bp_arrays.command_line import _speed as speed_module
from bp_arrays.command_line._speed import Speed, measure_speed, operations


def test_the_operations_are_those_of_the_products_by_hand():
    # forward, ∂L/∂w of each layer, ∂L/∂x of all but the first; a multiplication and an addition
    assert operations((3, 2), 5) == 2 * 2 * 5 * 3 * 2
    assert operations((7, 4, 2), 1) == 2 * (7 * 4 * 2 + 4 * 2 * 3)


def test_rates_follow_from_the_median():
    speed = Speed("cpu", "", (3, 2), 10, 4, (5.0, 2.0, 100.0), "plain", 0.0)
    assert speed.microseconds_per_step == 5.0
    assert speed.samples_per_second == pytest.approx(2e6)
    assert speed.gigaflops == pytest.approx(operations((3, 2), 10) / 5.0 / 1e3)


def test_as_many_steps_as_asked_for_and_more_than_one_epoch():
    seen = []
    speed = measure_speed(
        (4, 3), 8, bp.device("strict"), bp.SGD(0.1), dtype="float64", steps=7, progress=seen.append
    )
    assert (speed.steps_per_epoch, len(speed.microseconds)) == (7, 5)
    assert seen == list(range(1, 1 + speed_module.WARM + 5))
    assert speed.path == "plain" and speed.device == "strict"
    assert 0.0 < speed.loss < 10.0


def test_an_epoch_is_bounded_by_memory_and_by_work(monkeypatch):
    counted = speed_module.steps_per_epoch
    assert counted((64, 32, 10), 32, None) == 500
    assert counted((64, 32, 10), 32, 3) == 3
    assert counted((4096, 4096, 10), 4096, None) == 4
    rows = 128 * counted((784, 512, 10), 128, None)
    assert 4 * 784 * rows <= speed_module.DATA_BYTES


def test_the_path_that_ran_is_named():
    pytest.importorskip("jax", reason="JAX is not installed")
    speed = measure_speed((4, 3), 8, bp.device("jax:cpu"), bp.SGD(0.1), steps=2)
    assert speed.path == "jax.jit"
