"""Covers: fit(checkpoint=, resume=) of the estimators."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
CLASSES, VALUES = RNG.integers(0, 3, 120), X @ RNG.normal(size=5)


class Interrupts(bp.Callback):
    """Presses Ctrl-C at the end of the third epoch."""

    def on_epoch_end(self, run):
        if run.history.epochs == 3:
            signal.raise_signal(signal.SIGINT)


def scored(**settings):
    return bp.MLPClassifier((8,), early_stopping=True, dropout=0.2, **settings)


def adaptive(**settings):
    rates = {"learning_rate": "adaptive", "learning_rate_init": 0.05, "n_iter_no_change": 1}
    return bp.MLPRegressor(hidden_layer_sizes=(8,), solver="sgd", **rates, **settings)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("make", "y"), [(scored, CLASSES), (adaptive, VALUES)])
def test_resumed_estimators_are_the_uninterrupted_ones(make, y, tmp_path):
    settings = {"max_iter": 8, "random_state": 2, "batch_size": 50}
    uninterrupted = make(**settings).fit(X, y)
    checkpoint = bp.Checkpoint(tmp_path, every="1 hour")
    make(callbacks=[Interrupts()], **settings).fit(X, y, checkpoint=checkpoint)
    resumed = make(**settings).fit(X, y, resume=tmp_path)
    for name in ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_"):
        assert getattr(resumed, name) == getattr(uninterrupted, name), name
    assert resumed.history_.kept_epoch == uninterrupted.history_.kept_epoch
    for first, second in zip(resumed.coefs_, uninterrupted.coefs_, strict=True):
        np.testing.assert_array_equal(first, second)


def test_checkpoints_need_a_solver_with_epochs_and_a_seed(tmp_path):
    with pytest.raises(bp.InputError, match="requires a solver such as 'adam', got 'lbfgs'"):
        bp.MLPClassifier(solver="lbfgs", random_state=0).fit(X, CLASSES, checkpoint=tmp_path)
    with pytest.raises(bp.InputError, match="expected a whole number as random_state, got None"):
        bp.MLPClassifier().fit(X, CLASSES, checkpoint=tmp_path)
