"""The number of BLAS threads is the faster one, and afterwards it is what it was.

Covers: the choice by simulated times of steps, the setting of the process, the history.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import (
    BlasThreads,
    StepRecorder,
    ThreadChoice,
    _blas_threads,
    largest_product,
)
from bp_arrays.training.runners import _step_threads
from bp_arrays.training.runners._reuse import recordings


def simulate(choice, seconds_of, steps):
    """Make steps that take `seconds_of(threads)`; return the time of all."""
    total = 0.0
    for _ in range(steps):
        seconds = seconds_of(choice.threads)
        choice.record(seconds)
        total += seconds
    return total


QUIET = {1: 0.010, 2: 0.006, 4: 0.004, 8: 0.003}
BUSY = {1: 0.010, 2: 0.100, 4: 0.150, 8: 0.200}


@pytest.mark.parametrize("most", [2, 4, 8])
def test_on_a_quiet_machine_all_threads_are_used(most):
    choice = ThreadChoice(most)
    total = simulate(choice, QUIET.get, 500)
    assert choice.best == most
    assert total < 1.25 * 500 * QUIET[most]


def test_on_a_busy_machine_the_trials_cost_little():
    choice = ThreadChoice(8)
    total = simulate(choice, BUSY.get, 500)
    assert choice.best == 1
    assert total < 1.05 * 500 * BUSY[1]


def test_the_choice_follows_the_machine():
    choice = ThreadChoice(2)
    for seconds, best in ((QUIET, 2), (BUSY, 1), (QUIET, 2)):
        simulate(choice, seconds.get, 2000)
        assert choice.best == best


def test_more_threads_that_gain_little_are_not_used():
    choice = ThreadChoice(2)
    simulate(choice, {1: 0.0100, 2: 0.0098}.get, 500)
    assert choice.best == 1


class Library:
    """A BLAS library as threadpoolctl shows it."""

    def __init__(self, number):
        self.number = number
        self.log = []

    def get_num_threads(self):
        return self.number

    def set_num_threads(self, number):
        self.number = number
        self.log.append(number)


@pytest.fixture
def library(monkeypatch):
    """A BLAS of four threads in place of NumPy's."""
    recordings.clear()  # with the choices of other tests
    blas, fake = BlasThreads(), Library(4)
    blas._libraries = [fake]
    monkeypatch.setattr(_step_threads, "blas_threads", blas)
    return fake


def test_the_number_is_restored_after_an_exception(library):
    blas = _step_threads.blas_threads
    with pytest.raises(KeyError), blas.choosing() as chooses:
        assert chooses and blas.most() == 4
        blas.use(1)
        assert library.number == 1
        raise KeyError
    assert library.number == 4


def test_a_second_training_run_leaves_the_number_alone(library):
    blas, seen = _step_threads.blas_threads, []

    def second():
        with blas.choosing() as chooses:
            seen.append(chooses)

    with blas.choosing():
        blas.use(2)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert library.number == 2
    assert seen == [False] and library.number == 4


X = np.random.default_rng(0).normal(size=(512, 128))


def train(net, **settings):
    model = bp.Model(net, 128, device="cpu", seed=0)
    settings = {"loss": bp.L2Loss(), "optimizer": bp.SGD(1e-6), "batch_size": 256} | settings
    return bp.fit(model, X, X[:, :16], **settings)


LARGE, TINY = bp.Sequential(bp.Linear(64), bp.Linear(16)), bp.Linear(16)


def test_training_begins_with_one_thread_and_says_so(library):
    inside = []

    class Look(bp.Callback):
        def on_epoch_end(self, run):
            inside.append(library.number)

    history = train(LARGE, callbacks=[Look()])
    assert history.blas_threads == 1 and library.log[0] == 1
    assert inside == [4] and library.number == 4


@pytest.fixture
def clock(library, monkeypatch):
    """A clock by which a step takes 10 ms on one thread, less on more."""
    now = [0.0]

    def perf_counter():
        now[0] += 0.010 / library.number
        return now[0]

    monkeypatch.setattr(_step_threads, "time", SimpleNamespace(perf_counter=perf_counter))


def test_fit_chooses_by_the_time_of_its_steps(library, clock):
    history = train(LARGE, epochs=60)
    assert history.blas_threads == 4
    assert set(library.log) == {1, 2, 4} and library.number == 4


def test_single_steps_choose_too_and_the_next_training_run_begins_with_their_choice(library, clock):
    model = bp.Model(LARGE, 128, device="cpu", seed=0)
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(1e-6))
    for _ in range(120):
        trainer.step(X[:256], X[:256, :16])
    assert trainer.runner.blas_threads == 4
    library.log.clear()
    assert train(LARGE).blas_threads == 4 and set(library.log) <= {2, 4}


def test_a_tiny_net_leaves_blas_alone(library):
    assert train(TINY, batch_size=16).blas_threads is None
    assert library.log == []


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_that_saves_checkpoints_leaves_blas_alone(library, tmp_path, accumulate):
    history = train(LARGE, checkpoint=bp.Checkpoint(tmp_path), accumulate=accumulate)
    assert history.blas_threads is None and library.log == []
    assert train(LARGE, accumulate=accumulate).blas_threads == 1


def test_operation_by_operation_blas_is_left_alone(library):
    assert train(LARGE, compiled=False).blas_threads is None
    assert library.log == []


def test_one_thread_leaves_nothing_to_choose(library):
    library.number = 1
    assert train(LARGE).blas_threads is None
    assert library.log == []


def test_a_number_that_the_user_has_set_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert BlasThreads().most() == 1


def test_the_blas_of_numpy_is_found(monkeypatch):
    pytest.importorskip("threadpoolctl")
    for name in _blas_threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    blas = BlasThreads()
    before = blas.most()
    if not blas._libraries:
        pytest.skip("threadpoolctl does not know the BLAS of this NumPy")
    with blas.choosing():
        blas.use(before + 1)
        assert blas.most() == before + 1
    assert blas.most() == before


def test_the_largest_product_is_that_of_matrices():
    recorder = StepRecorder()
    a, b = recorder.memory((64, 100), np.float32), recorder.memory((100, 50), np.float32)
    _ = a @ b, recorder.memory((3, 2), np.float32) @ recorder.memory((2, 3), np.float32)
    assert largest_product(recorder.instructions) == 64 * 100 * 50
    row = recorder.memory((1, 100), np.float32)
    recorder.instructions.clear()
    _ = row @ recorder.memory((100, 200), np.float32)
    assert largest_product(recorder.instructions) == 100 * 200
    recorder.instructions.clear()
    _ = row @ b
    assert largest_product(recorder.instructions) == 0


def test_a_number_that_another_thread_sets_is_left_alone(library, monkeypatch, caplog):
    """threadpoolctl then ignores every other thread of the program, without a word."""
    monkeypatch.setattr(library, "set_num_threads", lambda number: None)
    with caplog.at_level("INFO", "bp_arrays"):
        history = train(LARGE, epochs=3)
    assert history.blas_threads is None
    assert "another thread of the program has set it" in caplog.text
    assert library.number == 4


def test_training_in_a_second_thread_says_what_blas_did():
    """With threadpoolctl itself: the first thread that sets the number keeps it to itself."""
    blas = _step_threads.blas_threads
    if blas.most() == 1:
        pytest.skip("BLAS has one thread, or its number is set")
    set_by = []

    def set_to_one():
        with blas.choosing():
            set_by.append((blas.use(1), blas._current()[0] == 1))

    with blas.choosing():
        blas.use(blas.most())  # by this thread
    thread = threading.Thread(target=set_to_one)
    thread.start()
    thread.join()
    [(said, done)] = set_by
    assert said == done
