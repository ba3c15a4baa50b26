"""The update written over its vectors is the update, to the last bit: in pieces and compiled."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import (
    InPlaceUpdate,
    _background,
    _formula as formula,
    _update_loop as loops,
    fast_numpy as lean,
)
from bp_arrays.execution._in_place_update import BLOCK
from bp_arrays.optimizers import OPTIMIZERS, Optimizer

KINDS = {name: kind(0.1) for name, kind in OPTIMIZERS.items()} | {
    "SGD, momentum": bp.SGD(0.1, momentum=0.9),
    "SGD, Nesterov": bp.SGD(0.1, momentum=0.9, nesterov=True),
    "RMSProp, momentum": bp.RMSProp(0.1, momentum=0.9),
    "Chain": bp.Chain(bp.WeightDecay(0.1), bp.Adam(0.1)),
    "clipped": bp.Chain(bp.ClipByGlobalNorm(1.0), bp.Adam(0.1)),
}


def in_place(optimizer, theta):
    """The update, and the state it writes over."""
    state = optimizer.init(theta, np)
    scalars = len(optimizer.scalars(1, 0.1))
    update = InPlaceUpdate(
        optimizer.update, len(state), scalars, optimizer.elementwise, theta.dtype.name, lean
    )
    return update, state


def compare(optimizer, size, dtype, *, compiled):
    rng = np.random.default_rng(0)
    theta = rng.normal(size=size).astype(dtype)
    update, state = in_place(optimizer, theta)
    if compiled:
        assert update.wait_for_compiler()
    expected, expected_state = theta.copy(), optimizer.init(theta, np)
    for step in range(1, 5):
        g = rng.normal(size=size).astype(dtype)
        scalars = optimizer.scalars(step, 0.1)
        before = expected
        expected, expected_state = optimizer.update(expected, g.copy(), expected_state, scalars, np)
        update(theta, g, state, scalars)
        np.testing.assert_array_equal(theta, expected)
        np.testing.assert_array_equal(g, before, "the old θ must be where the gradient was")
        for one, other in zip(state, expected_state, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [1, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_in_pieces(name, size, dtype):
    compare(KINDS[name], size, dtype, compiled=False)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "clipped"])
def test_as_a_compiled_loop(name, dtype, tmp_path, monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed")
    monkeypatch.setattr(loops, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(loops, "_requests", {})
    compare(KINDS[name], 1001, dtype, compiled=True)
    assert list(tmp_path.glob("*.py"))
    monkeypatch.setattr(loops, "_requests", {})
    compare(KINDS[name], 7, dtype, compiled=True)  # read back from the disk


def test_a_home_that_cannot_be_written_only_costs_time(tmp_path, monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed")
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setattr(loops, "cache_folder", lambda: blocked / "cache")
    monkeypatch.setattr(loops, "_requests", {})
    compare(bp.Adam(0.1), 9, "float32", compiled=True)


class Remembers(Optimizer):
    """Hands its gradient and its state back as they are: nothing may be written over too soon."""

    def init(self, theta, xp):
        return xp.zeros_like(theta), xp.zeros_like(theta)

    def update(self, theta, g, state, scalars, xp):
        return theta - scalars[0] * state[0], (state[1], g)


def test_results_that_are_parts_of_the_input_are_copied_first():
    compare(Remembers(0.1), 2 * BLOCK, "float64", compiled=False)


class EveryOperation(Optimizer):
    """Numbers before and after arrays, numbers among themselves, signs, roots."""

    def update(self, theta, g, state, scalars, xp):
        eta = 2.0 * scalars[0] - 0.5 / scalars[0] + 4.0
        bounded = 1.0 / (1.0 + g * g) - (3.0 - g) / 7.0
        return -theta * eta + (bounded - xp.sqrt(theta * theta)) / 2.0, ()


@pytest.mark.parametrize("compiled", [False, True])
def test_every_operation_keeps_its_order(dtype, compiled, tmp_path, monkeypatch):
    if compiled:
        pytest.importorskip("numba", reason="Numba is not installed")
        monkeypatch.setattr(loops, "cache_folder", lambda: tmp_path)
    compare(EveryOperation(0.1), 101, dtype, compiled=compiled)


class Decides(Optimizer):
    def update(self, theta, g, state, scalars, xp):
        return (theta - g if float(xp.sum(g)) > 0 else theta + g), ()


def test_what_cannot_be_traced_is_left_to_numpy():
    update, _ = in_place(Decides(0.1), np.zeros(3))
    assert not update.wait_for_compiler()
    with pytest.raises(formula.NotElementwise, match="function sum"):
        formula.traced(Decides(0.1).update, 0, 1)
    theta, g = np.zeros(3), np.ones(3)
    update(theta, g, (), (0.1,))
    assert theta.tolist() == [-1.0, -1.0, -1.0]


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_compiler_is_only_asked_when_it_is_worth_it(monkeypatch, on_disk):
    asked = []
    monkeypatch.setattr(loops.LoopRequest, "start", lambda self: asked.append(self))
    monkeypatch.setattr(loops, "is_on_disk", lambda text, kind: on_disk)
    cost = _background.cost_of_loops(on_disk, not on_disk)
    request = loops.LoopRequest(one_operation(), "float32")
    request.spend(cost / 2)
    assert not asked
    request.spend(cost)
    assert asked == [request]


def test_the_compiler_is_asked_at_once_for_a_long_training_run(monkeypatch):
    asked = []
    monkeypatch.setattr(loops.LoopRequest, "start", lambda self: asked.append(self))
    cost = _background.cost_of_loops(1, 1)
    short, long = (loops.LoopRequest(one_operation(), "float32") for _ in range(2))
    for _ in range(_background.FIRST_STEPS):
        short.spend(cost / 1e4, steps_to_come=10**4)
        long.spend(cost / 1e4, steps_to_come=10**5)
    assert asked == [long]


def test_without_a_thread_numpy_continues(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "bp_arrays")

    def fails(thread):
        raise RuntimeError("can't start new thread")

    request = loops.LoopRequest(one_operation(), "float64")
    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", fails)
        for _ in range(2):
            request.spend(1e6)
    assert request.wait() is None and caplog.text.count("can't start new thread") == 1


def one_operation():
    return formula.traced(lambda theta, g, state, scalars, xp: (theta - g, ()), 0, 1)


def test_lean_functions_are_those_of_the_standard(dtype):
    dtype = np.dtype(dtype).type
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    x[0] = [np.nan, np.inf, -0.0]
    for condition in (x > 0, ~(x > 0), np.ones_like(x, dtype=bool)):
        one, other = lean.where(condition, x, 0.0), np.where(condition, x, dtype(0.0))
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))
    assert np.signbit(lean.where(x > 9.0, x, -0.0))[1:].all()
    np.testing.assert_array_equal(lean.where(x > 0, x, 1.0), np.where(x > 0, x, 1.0))
    np.testing.assert_array_equal(lean.where(x[:, :1] > 0, x, 0.0), np.where(x[:, :1] > 0, x, 0.0))
    for axis in (None, 0, -1, (0, 1)):
        np.testing.assert_array_equal(lean.sum(x, axis=axis), np.sum(x, axis=axis))
        np.testing.assert_array_equal(
            lean.max(x, axis=axis, keepdims=True), np.max(x, axis=axis, keepdims=True)
        )
