"""What the classifier and the regressor share: the network, its training, its attributes."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, shuffle

from bp_arrays.errors import InputError, NonFiniteLossError
from bp_arrays.estimators.convergence import Convergence, start_record
from bp_arrays.estimators.inputs import (
    HOST,
    computing_device,
    dtype_name,
    on_host,
    place_of,
    rows_of,
    validated_input,
)
from bp_arrays.estimators.lbfgs import minimize_lbfgs
from bp_arrays.estimators.network import first_values, model_with, perceptron, weight_lists
from bp_arrays.estimators.objectives import Objective
from bp_arrays.estimators.parameters import check_parameters, hidden_sizes
from bp_arrays.estimators.updates import AdamEpsilonHat, ClassicalMomentum, EpochRate
from bp_arrays.feeding import Batches, ModelDoor
from bp_arrays.model import Model
from bp_arrays.training import L2Penalty, fit
from bp_arrays.typing import Array

AUTO_BATCH = 200
"""Rows a step with batch_size="auto", as scikit-learn has it."""

PREDICTED_VALUES = 2**24
"""Input values that pass through at once in predictions, so that sparse data stays small."""

HostArray = np.ndarray[Any, Any]


class Perceptron(BaseEstimator, ABC):  # type: ignore[misc]
    """Base of the estimators; see `MLPClassifier` for the parameters."""

    def __init__(self, **parameters: Any) -> None:
        for name, value in parameters.items():
            setattr(self, name, value)

    # -- what the two estimators do differently ------------------------------------------------

    @abstractmethod
    def _validated(
        self, X: Any, y: Any, *, reset: bool, incremental: bool
    ) -> tuple[Any, HostArray]:
        """X and y, checked; attributes of the input are set if `reset`."""

    @abstractmethod
    def _objective(self) -> Objective:
        """What the network is trained on."""

    @abstractmethod
    def _targets(self, y: HostArray, objective: Objective) -> HostArray:
        """Validated y as the loss takes it."""

    @abstractmethod
    def _held_out_score(self, X: Any, y: HostArray, weight: HostArray | None) -> float:
        """How good predictions for X are; NaN if they are not finite."""

    # -- training ------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> Perceptron:
        check_parameters(self)
        sizes = hidden_sizes(self)
        if incremental and self.early_stopping:
            raise InputError(
                "partial_fit does not support early_stopping=True: a single pass has no later "
                "epochs to stop before"
            )
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._validated(X, on_host(y), reset=first, incremental=incremental)
        weight = _weights(sample_weight, X.shape[0])
        rng = self._random_state = check_random_state(self.random_state)

        objective = self._objective()
        targets = self._targets(y, objective)
        if first:
            self._start(X, [*sizes, self.n_outputs_], objective, rng)
        model = self._network()
        if self.solver == "lbfgs":
            self._fit_lbfgs(model, X, targets, weight, objective)
        else:
            self._fit_stochastic(model, X, y, targets, weight, objective, incremental)
        self._publish(model)
        if not np.isfinite(model.device.to_numpy(model.vector)).all():
            raise _not_finite()
        return self

    def _start(
        self, X: Any, sizes: list[int], objective: Objective, rng: np.random.RandomState
    ) -> None:
        """A network with new weights, and the attributes of a training that begins."""
        self.n_layers_ = len(sizes) + 1
        self.out_activation_ = objective.out_activation
        self._place = place_of(X)
        net = perceptron(sizes, self.activation, self.dropout, objective.last_layer)
        device = computing_device(self.device, X)
        self._publish(
            Model.from_values(
                net,
                (X.shape[1],),
                first_values(rng, self.activation),
                device=device,
                dtype=dtype_name(X, device),
            )
        )
        self.n_iter_, self.t_ = 0, 0
        if self.solver != "lbfgs":
            start_record(self)

    def _fit_lbfgs(
        self,
        model: Model,
        X: Any,
        targets: HostArray,
        weight: HostArray | None,
        objective: Objective,
    ) -> None:
        result = minimize_lbfgs(
            model,
            Batches(self._moved(X, model), targets, weight).feed(ModelDoor(model, objective.loss)),
            objective.loss,
            L2Penalty(self.alpha),
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=bool(self.verbose),
        )
        self.loss_ = float(result.fun)
        self.n_iter_ = min(int(result.nit), self.max_iter)
        if result.status != 0:
            warnings.warn(
                f"lbfgs stopped before it converged, after {self.n_iter_} iterations: "
                f"{result.message}. Raise max_iter or max_fun, or scale the data",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _fit_stochastic(
        self,
        model: Model,
        X: Any,
        y: HostArray,
        targets: HostArray,
        weight: HostArray | None,
        objective: Objective,
        incremental: bool,
    ) -> None:
        held_out = score = None
        if self.early_stopping:
            train, test = self._split(y)
            Xv, yv = rows_of(X, test, self._place), y[test]
            wv = None if weight is None else weight[test]
            held_out = (self._moved(Xv, model), targets[test]) + (() if wv is None else (wv,))
            X, targets = rows_of(X, train, self._place), targets[train]
            weight = None if weight is None else weight[train]

            def score() -> float:
                return self._held_out_score(Xv, yv, wv)

        rows = X.shape[0]
        if not (incremental and hasattr(self, "_optimizer")):
            self._rate = EpochRate(self.learning_rate_init)
            self._optimizer = self._new_optimizer(self._rate)
        convergence = Convergence(self, rows, self._rate, score)
        self.n_iter_ = 0
        epochs = 1 if incremental else self.max_iter
        try:
            self.history_ = fit(
                model,
                self._moved(X, model),
                targets,
                loss=objective.loss,
                optimizer=self._optimizer,
                epochs=int(epochs),
                batch_size=self._batch_rows(rows),
                shuffle=self._row_order(rows) if self.shuffle else False,
                seed=int(self._random_state.randint(2**31)) if self.dropout > 0.0 else 0,
                sample_weight=weight,
                penalty=L2Penalty(self.alpha),
                validation=held_out,
                callbacks=[convergence, *self.callbacks],
            )
        except NonFiniteLossError as error:
            if score is None or not self.validation_scores_:
                raise _not_finite() from error
            convergence.record(np.nan, np.nan)
            convergence.restore(model)
            return
        if self.history_.stopped == "interrupted":
            warnings.warn("training was interrupted by the user", stacklevel=4)
        elif self.history_.stopped is None and not incremental:
            warnings.warn(
                f"the loss still improved when training ended after max_iter={self.max_iter} "
                "epochs: raise max_iter",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _split(self, y: HostArray) -> tuple[HostArray, HostArray]:
        """The numbers of the samples to train on, and of those held out for the score."""
        train, test = train_test_split(
            np.arange(len(y)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=self._strata(y),
        )
        if len(test) < 2:
            raise InputError(
                f"The validation set is too small: {len(test)} of {len(y)} samples. Raise "
                "validation_fraction, or hand in more samples"
            )
        return train, test

    def _strata(self, y: HostArray) -> HostArray | None:
        """What the held-out samples should have in the same shares, if anything."""
        return None

    def _new_optimizer(self, rate: EpochRate) -> ClassicalMomentum | AdamEpsilonHat:
        if self.solver == "sgd":
            return ClassicalMomentum(rate, float(self.momentum), bool(self.nesterovs_momentum))
        return AdamEpsilonHat(rate, self.beta_1, self.beta_2, self.epsilon)

    def _batch_rows(self, rows: int) -> int:
        if isinstance(self.batch_size, str):
            return min(AUTO_BATCH, rows)
        if self.batch_size > rows:
            warnings.warn(
                f"batch_size={self.batch_size} is more than the {rows} samples there are: "
                "each epoch is one batch of all",
                stacklevel=5,
            )
        return min(int(self.batch_size), rows)

    def _row_order(self, rows: int) -> Any:
        """The order of each epoch, drawn from `random_state` as scikit-learn does."""
        order = np.arange(rows)

        def next_order(epoch: int) -> Any:
            nonlocal order
            order = shuffle(order, random_state=self._random_state)
            return order

        return next_order

    # -- the network behind coefs_ and intercepts_ ---------------------------------------------

    def _publish(self, model: Model) -> None:
        """Show a model's parameters as `coefs_` and `intercepts_`."""
        self._model = model
        self.coefs_, self.intercepts_ = weight_lists(model, self._place)
        self._shown = [*self.coefs_, *self.intercepts_]

    def _network(self) -> Model:
        """The model of `coefs_` and `intercepts_`: made anew if somebody replaced one of them."""
        arrays = [*self.coefs_, *self.intercepts_]
        shown = getattr(self, "_shown", [])
        if len(arrays) != len(shown) or any(a is not b for a, b in zip(arrays, shown, strict=True)):
            self._place = getattr(self, "_place", HOST)
            old: Model | None = getattr(self, "_model", None)
            objective = self._objective()
            net = perceptron(
                [*hidden_sizes(self), self.n_outputs_],
                self.activation,
                self.dropout,
                objective.last_layer,
            )
            device = computing_device(self.device, arrays[0]) if old is None else old.device
            dtype = dtype_name(np.asarray(on_host(arrays[0])), device)
            model = model_with(net, self.coefs_, self.intercepts_, device, dtype)
            if old is not None and old.parameter_count == model.parameter_count:
                model.training_state = old.training_state
            self._publish(model)
        return self._model

    def _moved(self, X: Any, model: Model) -> Any:
        """X where the model can take it: arrays of another device are moved, host data stays."""
        if self._place in (HOST, model.device):
            return X
        return model.device.asarray(X)

    def _outputs(self, X: Any) -> Array:
        """The network's raw outputs for X that has been validated, where X is."""
        model = self._network()
        y = model.predict(self._moved(X, model), max(1, PREDICTED_VALUES // X.shape[1]))
        return y if self._place in (HOST, model.device) else self._place.asarray(y)

    def _outputs_for(self, X: Any, method: str) -> Array:
        """The same for X as it came in; finite NumPy, tables, sparse matrices or arrays."""
        return self._outputs(validated_input(self, X, method=method))

    # -- what scikit-learn asks of every estimator ----------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        if hasattr(self, "_model"):
            self._network()
        state: dict[str, Any] = super().__getstate__()
        # views into the model's vector: kept once, cut anew afterwards
        hidden = ("coefs_", "intercepts_", "_shown") if "_model" in state else ()
        return {name: value for name, value in state.items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_model" in state:
            self._publish(self._model)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def _can_continue(self) -> bool:
        """Whether there is a partial_fit: only a stochastic solver has single passes."""
        if self.solver not in ("sgd", "adam"):
            raise AttributeError(
                f"partial_fit needs solver='sgd' or 'adam'; {self.solver!r} has no single passes"
            )
        return True


def _weights(sample_weight: Any, rows: int) -> HostArray | None:
    if sample_weight is None:
        return None
    weight = np.asarray(on_host(sample_weight), dtype=np.float64)
    if not weight.any():
        raise InputError("sample_weight: every weight is zero, so no sample counts")
    return np.full(rows, float(weight)) if weight.ndim == 0 else weight


def _not_finite() -> InputError:
    return InputError(
        "training ended with weights that are not finite: scale the data, for instance with "
        "StandardScaler, or lower learning_rate_init"
    )
