"""Training by batches: scikit-learn's rules around this library's `fit`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle

from bp_arrays.errors import InputError, NonFiniteLossError
from bp_arrays.estimators._convergence import Convergence
from bp_arrays.estimators._network import Network, not_finite
from bp_arrays.estimators._optimizers import AdamEpsilonHat, ClassicalMomentum, EpochRate
from bp_arrays.estimators._samples import Samples
from bp_arrays.training import L2Penalty, fit
from bp_arrays.typing import HostArray

AUTO_BATCH = 200
"""Rows a step with batch_size="auto", as scikit-learn has it."""


def fit_stochastic(
    estimator: Any, network: Network, samples: Samples, strata: HostArray | None, one_epoch: bool
) -> None:
    """Train the network until nothing improves any more, at most for `max_iter` epochs.

    Parameters
    ----------
    estimator : estimator
        Its parameters are followed, its record of the training is written.
    network : Network
    samples : Samples
        Some of them are held out with early_stopping=True.
    strata : array (samples,) or None
        What the held-out samples should have in the same shares.
    one_epoch : bool
        Whether one epoch is all, with the optimizer of the last call.
    """
    held_out: Samples | None = None
    if estimator.early_stopping:
        samples, held_out = _split(estimator, samples, strata)
    if not (one_epoch and hasattr(estimator, "_optimizer")):
        estimator._optimizer = _new_optimizer(estimator)
    convergence = Convergence(estimator, network, len(samples.y), held_out)
    rng = estimator._random_state
    try:
        fit(
            network.model,
            network.moved(samples.X),
            samples.targets,
            loss=network.objective.loss,
            optimizer=estimator._optimizer,
            epochs=1 if one_epoch else int(estimator.max_iter),
            batch_size=_batch_rows(estimator, len(samples.y)),
            shuffle=_row_order(rng, len(samples.y)) if estimator.shuffle else False,
            seed=int(rng.randint(2**31)) if estimator.dropout > 0.0 else 0,
            sample_weight=samples.weight,
            penalty=L2Penalty(estimator.alpha),
            validation=None if held_out is None else _as_validation(network, held_out),
            callbacks=[convergence, *estimator.callbacks],
        )
    except NonFiniteLossError as error:
        if held_out is None or not estimator.validation_scores_:
            raise not_finite() from error
        convergence.give_up()
        return
    stopped = estimator.history_.stopped
    if stopped == "interrupted":
        warnings.warn("training was interrupted by the user", stacklevel=5)
    elif stopped is None and not one_epoch:
        warnings.warn(
            f"the loss still improved when training ended after max_iter={estimator.max_iter} "
            "epochs: raise max_iter",
            ConvergenceWarning,
            stacklevel=5,
        )


def _split(estimator: Any, samples: Samples, strata: HostArray | None) -> tuple[Samples, Samples]:
    """The samples to train on, and those held out for the score."""
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
            f"The validation set is too small: {len(test)} of {rows} samples. Raise "
            "validation_fraction, or hand in more samples"
        )
    return samples.taken(train), samples.taken(test)


def _as_validation(network: Network, held_out: Samples) -> tuple[Any, ...]:
    given = (network.moved(held_out.X), held_out.targets)
    return given if held_out.weight is None else (*given, held_out.weight)


def _new_optimizer(estimator: Any) -> ClassicalMomentum | AdamEpsilonHat:
    this = estimator
    rate = EpochRate(this.learning_rate_init)
    if this.solver == "sgd":
        return ClassicalMomentum(rate, float(this.momentum), bool(this.nesterovs_momentum))
    return AdamEpsilonHat(rate, this.beta_1, this.beta_2, this.epsilon)


def _batch_rows(estimator: Any, rows: int) -> int:
    if isinstance(estimator.batch_size, str):
        return min(AUTO_BATCH, rows)
    if estimator.batch_size > rows:
        warnings.warn(
            f"batch_size={estimator.batch_size} is more than the {rows} samples there are: "
            "each epoch is one batch of all",
            stacklevel=6,
        )
    return min(int(estimator.batch_size), rows)


def _row_order(rng: np.random.RandomState, rows: int) -> Any:
    """The order of each epoch, drawn from `random_state` as scikit-learn does."""
    order = np.arange(rows)

    def next_order(epoch: int) -> HostArray:
        nonlocal order
        order = np.asarray(shuffle(order, random_state=rng))
        return order

    return next_order
