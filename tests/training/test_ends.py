"""Covers: the end of training in `fit`: the last update, callbacks, the best epoch."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest

import bp_arrays as bp

ROWS = 64
X = np.random.default_rng(0).normal(size=(ROWS, 2))
T = X[:, :1] * 2.0


class Watch(bp.Callback):
    """The validation losses of epochs, and how often training ended."""

    def __init__(self):
        self.losses, self.ends = [], []

    def on_epoch_end(self, run):
        self.losses.append(run.history["val_loss"][-1])

    def on_end(self, run):
        self.ends.append(run.history.stopped)


class Series(bp.Callback):
    """Replace a series of the history by given values."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, run):
        run.history["loss"][-1] = self.values[run.history.epochs - 1]


def linear(device="cpu", dtype="float32"):
    return bp.Model(bp.Linear(1), 2, device=device, dtype=dtype, seed=0)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_last_update_is_checked(device, compiled):
    model = bp.Model(bp.Linear(1), 1, device=device, seed=0)
    before = device.to_numpy(model.vector)
    with pytest.raises(bp.NonFiniteLossError, match="last update of epoch 1"):
        bp.fit(
            model, [[1e15]], [[1e15]], loss=bp.MeanSquaredError(), optimizer=bp.SGD(1e25),
            compiled=compiled,
        )  # fmt: skip
    np.testing.assert_array_equal(device.to_numpy(model.vector), before)


def test_callbacks_hear_of_the_end_and_the_best_epoch_is_restored_after_divergence(device):
    model, watch = linear(device), Watch()
    with pytest.raises(bp.NonFiniteLossError):
        bp.fit(
            model, X, T, loss=bp.MeanSquaredError(), batch_size=ROWS, epochs=200,
            optimizer=bp.SGD(bp.Exponential(0.05, 1.5)), validation=(X, T),
            callbacks=[bp.EarlyStopping(patience=100), watch],
        )  # fmt: skip
    assert watch.ends == ["not finite"]
    loss = bp.evaluate(model, X, T, loss=bp.MeanSquaredError())["loss"]
    assert loss == pytest.approx(min(watch.losses), rel=1e-5)


def test_ctrl_c_within_an_epoch_keeps_the_best_one():
    class Data:
        epoch = 0

        def __iter__(self):
            self.epoch += 1
            for k in range(0, ROWS, 8):
                if self.epoch == 4 and k == 32:
                    os.kill(os.getpid(), signal.SIGINT)
                yield X[k : k + 8], T[k : k + 8] + (50.0 if self.epoch == 4 else 0.0)

    model = linear()
    history = bp.fit(
        model, Data(), loss=bp.MeanSquaredError(), optimizer=bp.SGD(0.05), epochs=20,
        validation=(X, T), callbacks=[bp.EarlyStopping(patience=50)],
    )  # fmt: skip
    assert history.stopped == "interrupted"
    loss = bp.evaluate(model, X, T, loss=bp.MeanSquaredError())["loss"]
    assert loss == pytest.approx(min(history["val_loss"]), rel=1e-5)


@pytest.mark.parametrize("first", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_never_the_best(first):
    stopping = bp.EarlyStopping(patience=3, monitor="loss")
    history = bp.fit(
        linear(), X, T, loss=bp.MeanSquaredError(), optimizer=bp.SGD(0.01), epochs=20,
        callbacks=[Series([first, 0.5, 0.25, first, first, 0.5, *[0.5] * 20]), stopping],
    )  # fmt: skip
    assert stopping.best_epoch == history.best_epoch("loss") == 3
    assert history.epochs == 6 and history.stopped == "early stopping"


def test_epochs_without_any_finite_value_count_for_the_patience():
    stopping = bp.EarlyStopping(patience=3, monitor="loss")
    history = bp.fit(
        linear(), X, T, loss=bp.MeanSquaredError(), optimizer=bp.SGD(0.01), epochs=20,
        callbacks=[Series([math.nan] * 20), stopping],
    )  # fmt: skip
    assert (history.epochs, stopping.best_epoch) == (3, None)


def test_every_started_callback_hears_of_the_end_also_after_errors():
    class Fails(bp.Callback):
        def on_epoch_end(self, run):
            raise ValueError("in the epoch")

        def on_end(self, run):
            raise RuntimeError("at the end")

    watch, late = Watch(), Watch()

    class NeverStarts(bp.Callback):
        def on_start(self, run):
            raise ValueError("at the start")

    def run(*callbacks):
        bp.fit(
            linear(), X, T, loss=bp.MeanSquaredError(), optimizer=bp.SGD(0.01),
            validation=(X, T), callbacks=callbacks,
        )  # fmt: skip

    with pytest.raises(RuntimeError, match="at the end") as caught:
        run(Fails(), watch)
    assert "in the epoch" in str(caught.value.__context__)
    assert watch.ends == ["error"]
    with pytest.raises(ValueError, match="at the start"):
        run(watch, NeverStarts(), late)
    assert (len(watch.ends), late.ends) == (2, [])


def test_callbacks_of_lbfgs_hear_of_the_end_after_an_error():
    class Fails(bp.Callback):
        def on_epoch_end(self, run):
            raise ValueError("in the epoch")

    class Ends(bp.Callback):
        stopped = None

        def on_end(self, run):
            self.stopped = run.history.stopped

    ends = Ends()
    estimator = bp.MLPRegressor(solver="lbfgs", callbacks=[ends, Fails()])
    with pytest.raises(ValueError, match="in the epoch"):
        estimator.fit(X, T[:, 0])
    assert ends.stopped == "error"


@pytest.mark.parametrize("compiled", [True, False])
def test_an_underflow_to_zero_is_no_error_whatever_numpy_is_told(compiled):
    with np.errstate(all="raise"):
        model = bp.Model(
            bp.Sequential(bp.Linear(64), bp.Sigmoid(), bp.Linear(3)), 2, device="cpu", seed=0
        )
        bp.fit(
            model, 100 * X, np.arange(ROWS) % 3, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.5),
            epochs=20, compiled=compiled,
        )  # fmt: skip
        model.predict(100 * X)
        bp.evaluate(model, 100 * X, np.arange(ROWS) % 3, loss=bp.CrossEntropy())
