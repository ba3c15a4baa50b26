"""scikit-learn's rules after each epoch: when to stop, and when to lower the learning rate."""

from __future__ import annotations

import math
from typing import Any

from bp_arrays.estimators._network import Network
from bp_arrays.estimators._samples import Samples
from bp_arrays.training import Callback, Run

SMALLEST_RATE = 1e-6
"""An adaptive learning rate that is this small already stops instead of falling further."""

ADAPTIVE_FACTOR = 5.0


class Convergence(Callback):
    """Keeps an estimator's record of its epochs, and stops when they bring nothing any more.

    An epoch brings something if its loss is at least `tol` below the best one, or, with
    held-out samples, if their score is at least `tol` above the best; then the best-scoring
    weights are kept.

    Parameters
    ----------
    estimator : estimator
        Whose attributes are written.
    network : Network
        What is trained.
    rows : int
        Samples in an epoch.
    held_out : Samples, optional
        What is scored after each epoch.
    """

    def __init__(
        self, estimator: Any, network: Network, rows: int, held_out: Samples | None
    ) -> None:
        self.estimator, self.network, self.rows, self.held_out = estimator, network, rows, held_out
        self._best_vector = network.model.vector

    def on_start(self, run: Run) -> None:
        self.estimator.history_ = run.history
        self.estimator.n_iter_ = 0

    def on_epoch_end(self, run: Run) -> None:
        this = self.estimator
        this.t_ += self.rows
        score = None
        if self.held_out is not None:
            this.validation_loss_curve_.append(run.history["val_loss"][-1])
            score = this._score_of(self.network, self.held_out)
        if self._record(run.history["loss"][-1], score):
            self._best_vector = run.model.vector
        if this.solver == "sgd" and this.learning_rate == "invscaling":
            rate = this.learning_rate_init / (this.t_ + 1) ** this.power_t
            this._optimizer.learning_rate.value = rate
        if this._no_improvement_count > this.n_iter_no_change:
            self._converged(run)

    def on_end(self, run: Run) -> None:
        if self.held_out is not None:
            self.network.model.vector = self._best_vector

    def give_up(self) -> None:
        """Record an epoch whose loss is not finite, and go back to the weights that scored best."""
        self.estimator.validation_loss_curve_.append(math.nan)
        self._record(math.nan, math.nan)
        self.network.model.vector = self._best_vector

    def _record(self, loss: float, score: float | None) -> bool:
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
        this, rate = self.estimator, self.estimator._optimizer.learning_rate
        what = "The training loss" if self.held_out is None else "The validation score"
        message = f"{what} did not improve by {this.tol} in {this.n_iter_no_change} epochs"
        adapts = this.solver == "sgd" and this.learning_rate == "adaptive"
        if adapts and rate.value > SMALLEST_RATE:
            rate.value /= ADAPTIVE_FACTOR
            this._no_improvement_count = 0
            message += f": learning rate {rate.value:g}"
        else:
            run.stopped = "converged"
            message += ": stopping"
        if this.verbose:
            print(message)


def start_record(estimator: Any) -> None:
    """The attributes of an estimator before its first epoch."""
    estimator.loss_curve_ = []
    _watch(estimator)


def resume_record(estimator: Any) -> None:
    """Go on with the record there is, as far as the same is watched as before."""
    if not hasattr(estimator, "loss_curve_"):  # trained by lbfgs so far
        start_record(estimator)
        return
    scored = getattr(estimator, "validation_scores_", None) is not None
    if scored != estimator.early_stopping:
        _watch(estimator)


def _watch(estimator: Any) -> None:
    """Watch the loss or, with early_stopping, the score, from nothing."""
    held_out = estimator.early_stopping
    estimator._no_improvement_count = 0
    estimator.best_loss_ = None if held_out else math.inf
    estimator.best_validation_score_ = -math.inf if held_out else None
    estimator.validation_scores_ = [] if held_out else None
    estimator.validation_loss_curve_ = [] if held_out else None
