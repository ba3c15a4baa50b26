"""scikit-learn's rules after each epoch: when to stop, and when to lower the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bp_arrays.estimators.updates import EpochRate
from bp_arrays.training import Callback
from bp_arrays.training.callbacks import Run

SMALLEST_RATE = 1e-6
"""An adaptive learning rate that is this small already stops instead of falling further."""

ADAPTIVE_FACTOR = 5.0


class Convergence(Callback):
    """Keeps an estimator's record of its epochs, and stops when they bring nothing any more.

    An epoch brings something if its loss is at least `tol` below the best one, or, with a score
    on held-out data, if that is at least `tol` above the best; then the best-scoring weights
    are kept.

    Parameters
    ----------
    estimator : estimator
        Whose attributes are written.
    rows : int
        Samples in an epoch.
    rate : EpochRate
        The learning rate, for the rules that change it.
    score : function, optional
        From nothing to the score on held-out data.
    """

    def __init__(
        self,
        estimator: Any,
        rows: int,
        rate: EpochRate,
        score: Callable[[], float] | None = None,
    ) -> None:
        self.estimator, self.rows, self.rate, self.score = estimator, rows, rate, score
        self._best_vector: Any = None

    def on_start(self, run: Run) -> None:
        self._best_vector = run.model.vector

    def on_epoch_end(self, run: Run) -> None:
        this = self.estimator
        this.t_ += self.rows
        if self.record(run.history["loss"][-1], None if self.score is None else self.score()):
            self._best_vector = run.model.vector
        if this.solver == "sgd" and this.learning_rate == "invscaling":
            self.rate.value = this.learning_rate_init / (this.t_ + 1) ** this.power_t
        if this._no_improvement_count > this.n_iter_no_change:
            self._converged(run)

    def on_end(self, run: Run) -> None:
        self.restore(run.model)

    def restore(self, model: Any) -> None:
        """Give the model the weights with the best score, if scores were taken."""
        if self.score is not None:
            model.vector = self._best_vector

    def record(self, loss: float, score: float | None) -> bool:
        """Write an epoch's loss and score into the estimator; is it the best of all?"""
        this = self.estimator
        this.n_iter_ += 1
        this.loss_ = loss
        this.loss_curve_.append(loss)
        if this.verbose:
            print(f"Iteration {this.n_iter_}, loss = {loss:.8f}")
        if score is None:
            improves = not loss > this.best_loss_ - this.tol
            best = loss < this.best_loss_
            if best:
                this.best_loss_ = loss
        else:
            this.validation_scores_.append(score)
            if this.verbose:
                print(f"Validation score: {score:f}")
            improves = not score < this.best_validation_score_ + this.tol
            best = score > this.best_validation_score_
            if best:
                this.best_validation_score_ = score
        this._no_improvement_count = 0 if improves else this._no_improvement_count + 1
        return bool(best)

    def _converged(self, run: Run) -> None:
        this = self.estimator
        what = "The training loss" if self.score is None else "The validation score"
        message = f"{what} did not improve by {this.tol} in {this.n_iter_no_change} epochs"
        adapts = this.solver == "sgd" and this.learning_rate == "adaptive"
        if adapts and self.rate.value > SMALLEST_RATE:
            self.rate.value /= ADAPTIVE_FACTOR
            this._no_improvement_count = 0
            message += f": learning rate {self.rate.value:g}"
        else:
            run.stopped = "converged"
            message += ": stopping"
        if this.verbose:
            print(message)


def start_record(estimator: Any) -> None:
    """The attributes of an estimator before its first epoch."""
    estimator.n_iter_, estimator.t_ = 0, 0
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    if estimator.early_stopping:
        estimator.validation_scores_ = []
        estimator.best_validation_score_ = -math.inf
        estimator.best_loss_ = None
    else:
        estimator.validation_scores_ = None
        estimator.best_validation_score_ = None
        estimator.best_loss_ = math.inf
