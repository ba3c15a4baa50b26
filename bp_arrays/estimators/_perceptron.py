"""Base class of the estimators: their parameters, fitting, fitted attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._lbfgs import fit_lbfgs
from bp_arrays.estimators._network import (
    Network,
    first_values,
    hidden_layers,
    not_finite,
    perceptron,
    set_weights,
)
from bp_arrays.estimators._objectives import TrainingObjective
from bp_arrays.estimators._parameters import check_parameters, hidden_sizes
from bp_arrays.estimators._record import TrainingRecord
from bp_arrays.estimators._samples import (
    SPARSE,
    Samples,
    computing_device,
    dtype_name,
    floats,
    input_device,
    moved_to_host,
    readable_input,
    validated_input,
    validated_weight,
)
from bp_arrays.estimators._stochastic import fit_stochastic
from bp_arrays.layers import Sequential
from bp_arrays.model import Model
from bp_arrays.training import Callback
from bp_arrays.typing import Array, HostArray


@dataclass(eq=False, repr=False)
class Perceptron(BaseEstimator, ABC):  # type: ignore[misc]
    """Base class of the estimators; `MLPClassifier` and `MLPRegressor` document the parameters."""

    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: int | str = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
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
    callbacks: Sequence[Callback] = ()

    # -- to be implemented by the subclasses ---------------------------------------------------

    @abstractmethod
    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        """Learn the classes from y, or check that they are those of the last call."""

    @abstractmethod
    def _objective_for(self, y: HostArray) -> tuple[TrainingObjective, HostArray, int]:
        """Return the objective, y in the form its loss expects, and the number of outputs."""

    @abstractmethod
    def _score_of(self, network: Network, samples: Samples) -> float:
        """Score a network's predictions; NaN if they are not finite."""

    def _weight_of(self, sample_weight: HostArray | None, y: HostArray) -> HostArray | None:
        """Return the weight of each sample in the loss."""
        return sample_weight

    def _strata(self, y: HostArray) -> HostArray | None:
        """Return the labels by which held-out samples are stratified, or None."""
        return None

    # -- fitting -------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> None:
        check_parameters(self, incremental=incremental)
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validated(X, y, reset=first)
        self._learn_targets(y, incremental=incremental)
        weight = self._weight_of(validated_weight(sample_weight, X.shape[0]), y)
        objective, targets, outputs = self._objective_for(y)
        if not first and outputs != self.n_outputs_:
            raise InputError(
                f"y: expected targets for the {self.n_outputs_} outputs of the trained network, "
                f"but y and the loss need {outputs}; to start over, fit with warm_start=False"
            )
        self._random_state = check_random_state(self.random_state)
        net = self._net(objective, outputs)
        model = self._first_model(net, X) if first else self._next_model(net, X)
        network = Network(model, input_device(X), objective)
        samples = Samples(X, y, targets, weight)
        record = TrainingRecord()
        if not first and hasattr(self, "_record"):
            record = replace(self._record)
        if first:
            self.n_layers_ = len(hidden_sizes(self)) + 2
        self.n_outputs_: int = outputs
        self.out_activation_: str = objective.out_activation
        before = model.vector
        try:
            self._train(network, samples, record, one_epoch=incremental)
            if not np.isfinite(model.device.to_numpy(model.vector)).all():
                raise not_finite()
        except BaseException:  # the weights, like the record, stay those of the last call
            model.vector = before
            raise
        self._record: TrainingRecord = record
        record.publish(self)
        self._publish(network)

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, HostArray]:
        """Check X and y, y on the host; `reset` sets the attributes that describe X."""
        X = readable_input(X)
        with input_device(X).activate():  # scikit-learn makes arrays on CuPy's current device
            X, y = validate_data(
                self,
                X,
                moved_to_host(y),
                accept_sparse=SPARSE,
                multi_output=True,
                y_numeric=is_regressor(self),
                dtype=floats(X),
                reset=reset,
            )
        y = y.toarray() if hasattr(y, "toarray") else y
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _net(self, objective: TrainingObjective, outputs: int) -> Sequential:
        sizes = hidden_sizes(self)
        return perceptron(
            sizes,
            hidden_layers(sizes, self.activation),
            outputs,
            dropout=self.dropout,
            last_layer=objective.last_layer,
        )

    def _first_model(self, net: Sequential, X: Any) -> Model:
        device = computing_device(self.device, X)
        return Model.from_values(
            net,
            (X.shape[1],),
            first_values(self._random_state, self.activation),
            device=device,
            dtype=dtype_name(X.dtype, device),
        )

    def _next_model(self, net: Sequential, X: Any) -> Model:
        """Return the trained model, or one with its weights if `set_params` changed the net."""
        device = computing_device(self.device, X)
        old = self._trained().model if hasattr(self, "_network") else None
        if old is not None and old.net == net and old.device == device:
            return old
        dtype = dtype_name(X.dtype if old is None else old.dtype, device)
        model = Model(net, np.shape(self.coefs_[0])[0], device=device, dtype=dtype)
        set_weights(model, self.coefs_, self.intercepts_)
        if old is not None and old.training_state is not None:
            model.training_state = old.training_state.moved_to(device, dtype)
        return model

    def _train(
        self, network: Network, samples: Samples, record: TrainingRecord, *, one_epoch: bool
    ) -> None:
        if self.solver == "lbfgs":
            fit_lbfgs(self, record, network, samples)
        else:
            fit_stochastic(self, record, network, samples, self._strata(samples.y), one_epoch)

    def _can_continue(self) -> bool:
        """Raise AttributeError unless the solver is stochastic: "lbfgs" has no partial_fit."""
        if self.solver not in ("sgd", "adam"):
            raise AttributeError(
                f"partial_fit requires solver='sgd' or 'adam', got {self.solver!r}"
            )
        return True

    # -- the network behind coefs_ and intercepts_ ---------------------------------------------

    @property
    def model_(self) -> Model:
        """The trained network as a `bp.Model`, to save, export or explain."""
        check_is_fitted(self)
        return self._trained().model

    def _publish(self, network: Network) -> None:
        """Publish a network's parameters as `coefs_` and `intercepts_`."""
        self._network = network
        self.coefs_, self.intercepts_ = network.weight_lists()
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

    def _outputs_for(self, X: Any, method: str) -> tuple[Network, Array]:
        """Return the network and its raw outputs for X: an array, a table, a sparse matrix."""
        check_is_fitted(self)
        network = self._trained()
        return network, network.outputs(
            validated_input(self, X, device=network.input_device, method=method)
        )

    # -- scikit-learn's protocol ----------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags
