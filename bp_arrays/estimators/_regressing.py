"""`NetworkRegressor`: what all regressors do: predict values and score them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import TrainingObjective, regressing
from bp_arrays.estimators._samples import Samples, moved_to_host
from bp_arrays.losses import Loss
from bp_arrays.typing import Array, HostArray


class NetworkRegressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """Base class of the regressors, with scikit-learn's methods."""

    loss: str | Loss

    def predict(self, X: Any) -> Array:
        """Predict the values.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)

        Returns
        -------
        array (samples,), or (samples, outputs) if there are several
        """
        network, y = self._outputs_for(X, "predict")
        with network.input_device.activate():
            return _predicted(network.objective, y)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R²; with several outputs, their mean.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, outputs)
        sample_weight : array (samples,), optional

        Returns
        -------
        float

        Notes
        -----
        Computed on the host, so that it is the same for every array library.
        """
        predicted = moved_to_host(self.predict(X))
        return float(
            r2_score(moved_to_host(y), predicted, sample_weight=moved_to_host(sample_weight))
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # -- what differs from classifiers ---------------------------------------------------------

    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        pass  # a regressor has no classes

    def _objective_for(self, y: HostArray) -> tuple[TrainingObjective, HostArray, int]:
        targets = y[:, None] if y.ndim == 1 else y
        return regressing(self.loss, targets), targets, targets.shape[1]

    def _explained_target(self, t: HostArray, loss: Loss) -> HostArray:
        return np.reshape(t, (1, -1)).astype(np.float64)

    def _output_names(self, network: Network) -> tuple[str, ...]:
        names = self._target_names
        return names if (len(names),) == network.model.output_shape else ()

    def _score_of(self, network: Network, samples: Samples) -> float:
        predicted = moved_to_host(_predicted(network.objective, network.outputs(samples.X)))
        if not np.isfinite(predicted).all():
            return np.nan
        return float(r2_score(samples.y, predicted, sample_weight=samples.weight))


def _predicted(objective: TrainingObjective, y: Array) -> Array:
    return one_column(objective.values(y))


def one_column(y: Array) -> Array:
    """Return values of one output as (samples,)."""
    return y[:, 0] if y.shape[1] == 1 else y
