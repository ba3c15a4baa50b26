"""scikit-learn's rules after each epoch: when to stop, and when to lower the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bp_arrays.estimators._network import Network
from bp_arrays.estimators._optimizers import EpochRate
from bp_arrays.estimators._parameters import StochasticParameters
from bp_arrays.estimators._record import Curves, TrainingRecord
from bp_arrays.estimators._samples import Samples
from bp_arrays.schedules import Schedule
from bp_arrays.training import Callback, Run

SMALLEST_RATE = 1e-6
"""An adaptive learning rate at or below this stops training instead of falling further."""

ADAPTIVE_FACTOR = 5.0


class Convergence(Callback):
    """Record each epoch, and stop training once the epochs no longer improve.

    An epoch improves if its loss is at least `tol` below the best one or, with held-out samples,
    if their score is at least `tol` above the best; the weights with the best score are restored
    at the end.

    Parameters
    ----------
    estimator : StochasticParameters
        Read only: its parameters, and its score.
    record : TrainingRecord
        Every epoch is written into it.
    curves : Curves
        The curves of the record.
    rate : float or Schedule
        The learning rate of the optimizer; "invscaling" and "adaptive" change an `EpochRate`.
    network : Network
        The network in training.
    rows : int
        Samples per epoch.
    held_out : Samples, optional
        Samples that are scored after each epoch; with early_stopping=True, the score decides.
    skip_orders : function
        Draws the orders of the rows of a number of epochs: called if training is resumed.
    """

    def __init__(
        self,
        estimator: StochasticParameters,
        record: TrainingRecord,
        curves: Curves,
        rate: float | Schedule,
        network: Network,
        rows: int,
        held_out: Samples | None,
        skip_orders: Callable[[int], None],
    ) -> None:
        self.estimator, self.record, self.curves, self.rate = estimator, record, curves, rate
        self.network, self.rows, self.held_out = network, rows, held_out
        self._skip_orders = skip_orders
        self._by_score = bool(estimator.early_stopping)
        self._best = network.model.vector, network.model.state_vector

    def on_start(self, run: Run) -> None:
        self.record.history = run.history
        self.record.epochs = 0
        if self._by_score:
            run.history.kept_by = "val_score"

    def on_epoch_end(self, run: Run) -> None:
        estimator, record = self.estimator, self.record
        record.samples_seen += self.rows
        loss = run.history["loss"][-1]
        score = math.nan
        if self.held_out is not None:
            score = estimator._score_of(self.network, self.held_out)
            run.history.record({"val_score": score})
        if not self._by_score:
            self._record_loss(loss)
        elif self._record_score(loss, run.history["val_loss"][-1], score):
            self._best = run.model.vector, run.model.state_vector
            run.history.kept_epoch = run.history.epochs
        if self._follows("invscaling") and isinstance(self.rate, EpochRate):
            decay = (record.samples_seen + 1) ** estimator.power_t
            self.rate.value = estimator.learning_rate_init / decay
        if self.curves.epochs_without_improvement > estimator.n_iter_no_change:
            self._converged(run)

    def on_end(self, run: Run) -> None:
        if self._by_score:
            self.network.model.set_vectors(*self._best)

    def state(self) -> dict[str, Any]:
        record, rate, to_numpy = self.record, self.rate, self.network.model.device.to_numpy
        return {
            "epochs": record.epochs,
            "samples_seen": record.samples_seen,
            "loss": record.loss,
            "curves": vars(self.curves),
            "rate": rate.value if isinstance(rate, EpochRate) else None,
            "best": [to_numpy(vector) for vector in self._best] if self._by_score else None,
            "best_epoch": record.history.kept_epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        record, model = self.record, self.network.model
        record.epochs, record.samples_seen = state["epochs"], state["samples_seen"]
        record.loss, record.history.kept_epoch = state["loss"], state["best_epoch"]
        vars(self.curves).update(state["curves"])
        if isinstance(self.rate, EpochRate):
            self.rate.value = state["rate"]
        if self._by_score:
            theta, others = (model.device.asarray(v, model.dtype) for v in state["best"])
            self._best = theta, others
        self._skip_orders(record.epochs)

    def restore_best(self) -> None:
        """Record an epoch whose loss is not finite, and restore the weights with the best score."""
        self._record_score(math.nan, math.nan, math.nan)
        self.network.model.set_vectors(*self._best)

    def _follows(self, rule: str) -> bool:
        """Return whether the learning rate changes by this rule of "sgd"."""
        solver = self.estimator.solver
        return isinstance(solver, str) and solver == "sgd" and self.estimator.learning_rate == rule

    def _record_loss(self, loss: float) -> None:
        """Record an epoch by its loss."""
        curves = self.curves
        self._append(loss)
        worse = loss > curves.best_loss - self.estimator.tol  # False for NaN, as in scikit-learn
        self._count(worse)
        if loss < curves.best_loss:
            curves.best_loss = loss

    def _record_score(self, loss: float, validation_loss: float, score: float) -> bool:
        """Record an epoch by the score of the held-out samples; return whether it is the best."""
        curves = self.curves
        self._append(loss)
        curves.validation_loss.append(validation_loss)
        curves.validation_score.append(score)
        if self.estimator.verbose:
            print(f"Validation score: {score:f}")
        worse = score < curves.best_validation_score + self.estimator.tol  # False for NaN
        self._count(worse)
        is_best = score > curves.best_validation_score
        if is_best:
            curves.best_validation_score = score
        return is_best

    def _append(self, loss: float) -> None:
        self.record.epochs += 1
        self.record.loss = loss
        self.curves.loss.append(loss)
        if self.estimator.verbose:
            print(f"Iteration {self.record.epochs}, loss = {loss:.8f}")

    def _count(self, worse: bool) -> None:
        count = self.curves.epochs_without_improvement
        self.curves.epochs_without_improvement = count + 1 if worse else 0

    def _converged(self, run: Run) -> None:
        """Lower an adaptive learning rate; stop if it cannot be lowered."""
        estimator, rate = self.estimator, self.rate
        monitored = "The validation score" if self._by_score else "The training loss"
        message = (
            f"{monitored} did not improve by {estimator.tol} in {estimator.n_iter_no_change} epochs"
        )
        adaptive = self._follows("adaptive")
        if adaptive and isinstance(rate, EpochRate) and rate.value > SMALLEST_RATE:
            rate.value /= ADAPTIVE_FACTOR
            self.curves.epochs_without_improvement = 0
            message += f": learning rate {rate.value:g}"
        else:
            run.stopped = "converged"
            message += ": stopping"
        if estimator.verbose:
            print(message)
