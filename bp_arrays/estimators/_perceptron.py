"""Base class of the perceptrons: their parameters, their net, and scikit-learn's attributes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._lbfgs import fit_lbfgs
from bp_arrays.estimators._network import (
    Network,
    first_values,
    hidden_layers,
    perceptron,
    set_weights,
)
from bp_arrays.estimators._objectives import TrainingObjective
from bp_arrays.estimators._parameters import check_parameters, hidden_sizes, is_lbfgs
from bp_arrays.estimators._record import TrainingRecord
from bp_arrays.estimators._samples import Samples, computing_device
from bp_arrays.estimators._stochastic import fit_stochastic
from bp_arrays.layers import Layer
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.schedules import Schedule
from bp_arrays.training import Callback


@dataclass(eq=False, repr=False)
class Perceptron(NetworkEstimator):
    """Base class of the estimators; `MLPClassifier` and `MLPRegressor` document the parameters."""

    _: KW_ONLY
    solver: str | Optimizer = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float | Schedule = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool | int = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: int | float = 10
    max_fun: int = 15000
    dropout: float = 0.0
    device: str | Device | None = None
    compute_dtype: str | None = None
    callbacks: Sequence[Callback] = ()

    # -- fitting -------------------------------------------------------------------------------

    def _check_parameters(self, *, incremental: bool) -> None:
        check_parameters(self, incremental=incremental)

    def _net_for(self, objective: TrainingObjective, outputs: int, X: Any) -> Layer:
        sizes = hidden_sizes(self)
        return perceptron(
            sizes,
            hidden_layers(sizes, self.activation),
            outputs,
            dropout=self.dropout,
            last_layer=objective.last_layer,
        )

    def _first_model(self, net: Layer, X: Any) -> Model:
        device = computing_device(self.device, X)
        return Model.from_values(
            net,
            (X.shape[1],),
            first_values(self._random_state, self.activation),
            device=device,
            dtype=self._dtype_for(X, device),
            compute_dtype=self.compute_dtype,
        )

    def _next_model(self, net: Layer, X: Any) -> Model:
        """Return the trained model, or one with its weights if `set_params` changed the net."""
        device = computing_device(self.device, X)
        old = self._trained().model if hasattr(self, "_network") else None
        computed = self.compute_dtype
        if old is not None and (old.net, old.device, old.compute_dtype) == (net, device, computed):
            return old
        dtype = self._dtype_for(X if old is None else old, device)
        features = np.shape(self.coefs_[0])[0]
        model = Model(net, features, device=device, dtype=dtype, compute_dtype=computed)
        set_weights(model, self.coefs_, self.intercepts_)
        if old is not None and old.training_state is not None:
            model.training_state = old.training_state.moved_to(device, dtype, computed)
        return model

    def _train(
        self,
        network: Network,
        samples: Samples,
        record: TrainingRecord,
        held_out: Samples | None,
        *,
        one_epoch: bool,
        checkpoint: Any,
        resume: Any,
    ) -> None:
        if not is_lbfgs(self):
            strata = self._strata(samples.y)
            stopped = fit_stochastic(
                self, record, network, samples, strata, one_epoch, held_out, checkpoint, resume
            )
            if stopped is None and not one_epoch:
                warnings.warn(
                    f"training stopped at max_iter={self.max_iter} epochs while it was still "
                    "improving; raise max_iter",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        elif checkpoint is not None or resume is not None:
            raise InputError(
                "fit(checkpoint=, resume=): requires a solver such as 'adam', got 'lbfgs'"
            )
        elif held_out is None:
            fit_lbfgs(self, record, network, samples)
        else:
            raise InputError("fit(validation=): requires a solver such as 'adam', got 'lbfgs'")

    def _can_continue(self) -> bool:
        """Raise AttributeError unless the solver is stochastic: "lbfgs" has no partial_fit."""
        if is_lbfgs(self):
            raise AttributeError("partial_fit requires a solver such as 'adam', got 'lbfgs'")
        return True

    # -- the network behind coefs_ and intercepts_ ---------------------------------------------

    def _has_weights(self) -> bool:
        return hasattr(self, "coefs_")

    def _publish(self, network: Network) -> None:
        """Publish a network's parameters as `coefs_` and `intercepts_`."""
        super()._publish(network)
        self.coefs_, self.intercepts_ = network.weight_lists()
        self.n_layers_ = len(self.coefs_) + 1
        self._published = [*self.coefs_, *self.intercepts_]

    def _trained(self) -> Network:
        """Return the network, with the arrays that replaced some of `coefs_` or `intercepts_`."""
        arrays, published = [*self.coefs_, *self.intercepts_], self._published
        replaced = len(arrays) != len(published) or any(
            a is not b for a, b in zip(arrays, published, strict=True)
        )
        if replaced:
            set_weights(self._network.model, self.coefs_, self.intercepts_)
            self._publish(self._network)
        return self._network

    # -- scikit-learn's protocol ----------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        if hasattr(self, "_network"):
            self._trained()
        state: dict[str, Any] = super().__getstate__()
        # views into the model's vector: pickled with the model, published again by __setstate__
        hidden = ("coefs_", "intercepts_", "_published") if "_network" in state else ()
        return {name: value for name, value in state.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_network" in state:
            self._publish(self._network)
