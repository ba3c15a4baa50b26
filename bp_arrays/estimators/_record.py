"""`TrainingRecord`: losses, scores and counts of training, published as fitted attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from bp_arrays.optimizers import Optimizer
from bp_arrays.training import History


@dataclass
class Curves:
    """Losses and scores of each epoch of the stochastic solvers, and the best of them.

    Parameters
    ----------
    scored : bool
        Whether held-out samples are scored after each epoch; otherwise the loss is monitored.
    loss : list of float
        The training loss of each epoch.
    validation_loss, validation_score : list of float
        Loss and score on the held-out samples; empty unless `scored`.
    best_loss, best_validation_score : float
        The lowest loss, the highest score; only the monitored one changes.
    epochs_without_improvement : int
        Epochs in a row in which the monitored value did not improve by `tol`.
    """

    scored: bool
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    best_loss: float = math.inf
    best_validation_score: float = -math.inf
    epochs_without_improvement: int = 0

    def continued(self, *, scored: bool) -> Curves:
        """Return a copy to append to; after a change of `scored` only the losses continue."""
        if scored != self.scored:
            return Curves(scored, list(self.loss))
        return replace(
            self,
            loss=list(self.loss),
            validation_loss=list(self.validation_loss),
            validation_score=list(self.validation_score),
        )


@dataclass
class TrainingRecord:
    """Everything that training an estimator records, apart from the weights.

    Each call of `fit` writes into a new record and publishes it at the end; a call that fails
    leaves the fitted attributes unchanged.

    Parameters
    ----------
    epochs : int
        Epochs, or iterations of "lbfgs", of the last call: `n_iter_`.
    samples_seen : int
        Epochs times samples, over all calls: `t_`.
    loss : float
        The last loss: `loss_`.
    history : History
        The series of the last call: `history_`.
    curves : Curves or None
        None as long as only "lbfgs" has trained.
    optimizer : Optimizer or None
        The optimizer of the last call, with which `partial_fit` continues.
    """

    epochs: int = 0
    samples_seen: int = 0
    loss: float = math.nan
    history: History = field(default_factory=History)
    curves: Curves | None = None
    optimizer: Optimizer | None = None

    def publish(self, estimator: Any) -> None:
        """Write the record into the fitted attributes that scikit-learn documents."""
        estimator.n_iter_ = self.epochs
        estimator.t_ = self.samples_seen
        estimator.loss_ = self.loss
        estimator.history_ = self.history
        curves = self.curves
        if curves is None:
            return
        estimator._no_improvement_count = curves.epochs_without_improvement  # scikit-learn's name
        estimator.loss_curve_ = curves.loss
        estimator.best_loss_ = None if curves.scored else curves.best_loss
        estimator.validation_loss_curve_ = curves.validation_loss if curves.scored else None
        estimator.validation_scores_ = curves.validation_score if curves.scored else None
        estimator.best_validation_score_ = curves.best_validation_score if curves.scored else None
