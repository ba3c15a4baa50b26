"""Training by batches: scikit-learn's rules on top of this library's `fit`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle

from bp_arrays.errors import InputError, NonFiniteLossError
from bp_arrays.estimators._convergence import Convergence
from bp_arrays.estimators._network import Network, not_finite
from bp_arrays.estimators._optimizers import new_optimizer
from bp_arrays.estimators._parameters import StochasticParameters
from bp_arrays.estimators._record import Curves, TrainingRecord
from bp_arrays.estimators._samples import Samples
from bp_arrays.training import L2Penalty, fit
from bp_arrays.typing import HostArray

AUTO_BATCH = 200
"""Samples per step with batch_size="auto", as in scikit-learn."""


def fit_stochastic(
    estimator: StochasticParameters,
    record: TrainingRecord,
    network: Network,
    samples: Samples,
    strata: HostArray | None,
    one_epoch: bool,
    held_out: Samples | None = None,
    checkpoint: Any = None,
    resume: Any = None,
) -> str | None:
    """Train the network until it no longer improves, for at most `max_iter` epochs.

    Parameters
    ----------
    estimator : StochasticParameters
        Read only: its parameters, and its score.
    record : TrainingRecord
        Every epoch is written into it.
    network : Network
    samples : Samples
        Some of them are held out with early_stopping=True.
    strata : array (samples,) or None
        Labels that the held-out samples should have in the same proportions.
    one_epoch : bool
        Train for one epoch only, with the optimizer of the last call.
    held_out : Samples, optional
        Validation samples of the user, in place of those held out.
    checkpoint, resume : optional
        As for `bp.fit`.

    Returns
    -------
    str or None
        Why training stopped before the last epoch.
    """
    if estimator.early_stopping and held_out is None:
        samples, held_out = _split(estimator, samples, strata)
    optimizer = record.optimizer if one_epoch else None
    if optimizer is None:
        optimizer = new_optimizer(estimator)
    record.optimizer = optimizer
    if record.curves is None:
        record.curves = Curves(scored=estimator.early_stopping)
    else:
        record.curves = record.curves.continued(scored=estimator.early_stopping)
    rng = estimator._random_state
    order = RowOrder(rng, len(samples.y))
    convergence = Convergence(
        estimator,
        record,
        record.curves,
        optimizer.learning_rate,
        network,
        len(samples.y),
        held_out,
        order.skip,
    )
    try:
        fit(
            network.model,
            network.moved(samples.X),
            samples.targets,
            loss=network.training_loss,
            optimizer=optimizer,
            epochs=1 if one_epoch else int(estimator.max_iter),
            batch_size=_batch_rows(estimator, len(samples.y)),
            shuffle=order if estimator.shuffle else False,
            seed=int(rng.randint(2**31)) if estimator.dropout > 0.0 else 0,
            sample_weight=samples.weight,
            penalty=L2Penalty(estimator.alpha),
            validation=None if held_out is None else _as_validation(network, held_out),
            callbacks=[convergence, *estimator.callbacks],
            checkpoint=checkpoint,
            resume=resume,
        )
    except NonFiniteLossError as error:
        if not estimator.early_stopping or not record.curves.validation_score:
            raise not_finite() from error
        convergence.restore_best()
        return "not finite"
    stopped = record.history.stopped
    if stopped == "interrupted":
        warnings.warn("training was interrupted by the user", stacklevel=5)
    return stopped


def _split(
    estimator: StochasticParameters, samples: Samples, strata: HostArray | None
) -> tuple[Samples, Samples]:
    """Split into the samples to train on and the samples held out for the score."""
    rows, fraction = len(samples.y), estimator.validation_fraction
    try:
        train, test = train_test_split(
            np.arange(rows),
            random_state=estimator._random_state,
            test_size=fraction,
            stratify=strata,
        )
    except ValueError as error:  # a part or a class would be too small
        raise InputError(
            f"early_stopping=True cannot hold out validation_fraction={fraction} of the {rows} "
            f"samples: {error}"
        ) from None
    if len(test) < 2:
        raise InputError(
            f"The validation set is too small: expected 2 samples or more, got {len(test)} of "
            f"{rows}; raise validation_fraction, or pass more samples"
        )
    return samples.take(train), samples.take(test)


def _as_validation(network: Network, held_out: Samples) -> tuple[Any, ...]:
    arrays = (network.moved(held_out.X), held_out.targets)
    return arrays if held_out.weight is None else (*arrays, held_out.weight)


def _batch_rows(estimator: StochasticParameters, rows: int) -> int:
    if isinstance(estimator.batch_size, str):
        return min(AUTO_BATCH, rows)
    if estimator.batch_size > rows:
        warnings.warn(
            f"batch_size={estimator.batch_size} exceeds the number of samples, {rows}: "
            "each epoch is one batch",
            stacklevel=6,
        )
    return min(int(estimator.batch_size), rows)


class RowOrder:
    """The order of the rows in each epoch, drawn from `random_state` as scikit-learn does.

    Parameters
    ----------
    rng : RandomState
    rows : int
    """

    def __init__(self, rng: np.random.RandomState, rows: int) -> None:
        self._rng, self._order = rng, np.arange(rows)

    def __call__(self, epoch: int) -> HostArray:
        self._order = np.asarray(shuffle(self._order, random_state=self._rng))
        return self._order

    def skip(self, epochs: int) -> None:
        """Draw the orders of epochs that an interrupted run has completed."""
        for epoch in range(epochs):
            self(epoch)
