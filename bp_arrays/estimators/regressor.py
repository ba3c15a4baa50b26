"""The multi-layer perceptron that predicts numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from bp_arrays.devices import Device, device_of
from bp_arrays.estimators.inputs import floats, on_host
from bp_arrays.estimators.objectives import Objective, regressing
from bp_arrays.estimators.perceptron import HostArray, Perceptron
from bp_arrays.losses import Loss
from bp_arrays.training import Callback
from bp_arrays.typing import Array


class MLPRegressor(RegressorMixin, Perceptron):  # type: ignore[misc]
    """PARAMETERS"""

    def __init__(
        self,
        loss: str | Loss = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int | float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        device: str | Device | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        super().__init__(
            loss=loss,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            learning_rate=learning_rate,
            learning_rate_init=learning_rate_init,
            power_t=power_t,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            verbose=verbose,
            warm_start=warm_start,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            n_iter_no_change=n_iter_no_change,
            max_fun=max_fun,
            dropout=dropout,
            device=device,
            callbacks=callbacks,
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on data; with `warm_start`, from the weights of the last call.

        Parameters
        ----------
        X : array, sparse matrix or table (samples, features)
        y : array (samples,) or (samples, outputs)
        sample_weight : array (samples,), optional
            How much each sample counts, 0 or more.

        Returns
        -------
        self

        Raises
        ------
        InputError, ValueError
            For parameters or data that do not fit, or if the weights grow beyond all bounds.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    @available_if(lambda estimator: estimator._can_continue())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train on data for one epoch, from the weights there are; as `fit` otherwise."""
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """The predicted values, (samples,), or (samples, outputs) if there are several."""
        check_is_fitted(self)
        return self._predicted(self._outputs_for(X, "predict"))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    # -- what differs from the classifier ------------------------------------------------------

    def _validated(
        self, X: Any, y: Any, *, reset: bool, incremental: bool
    ) -> tuple[Any, HostArray]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=floats(X),
            reset=reset,
        )
        y = y.toarray() if hasattr(y, "toarray") else y
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _objective(self) -> Objective:
        return regressing(self.loss)

    def _targets(self, y: HostArray, objective: Objective) -> HostArray:
        y = y[:, None] if y.ndim == 1 else y
        self.n_outputs_ = y.shape[1]
        return y

    def _held_out_score(self, X: Any, y: HostArray, weight: HostArray | None) -> float:
        predicted = on_host(self._predicted(self._outputs(X)))
        if not np.isfinite(predicted).all():
            return np.nan
        return float(r2_score(y, predicted, sample_weight=weight))

    def _predicted(self, y: Array) -> Array:
        y = self._objective().activated(y, device_of(y).xp)
        return y[:, 0] if y.shape[1] == 1 else y
