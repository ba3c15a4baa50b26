"""Base class of all estimators: fitting, the trained network, scikit-learn's protocol."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.estimators._metadata import metadata_of, target_names
from bp_arrays.estimators._network import Network, not_finite
from bp_arrays.estimators._objectives import TrainingObjective
from bp_arrays.estimators._record import TrainingRecord
from bp_arrays.estimators._samples import (
    SPARSE,
    Samples,
    dtype_name,
    floats,
    input_device,
    moved_to_host,
    readable_input,
    validated_input,
    validated_weight,
)
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.typing import Array, HostArray


class NetworkEstimator(BaseEstimator, ABC):  # type: ignore[misc]
    """Base class of the estimators: what does not depend on the net or on the kind of targets."""

    warm_start: bool
    random_state: Any
    compute_dtype: str | None

    # -- to be implemented by the subclasses ---------------------------------------------------

    @abstractmethod
    def _check_parameters(self, *, incremental: bool) -> None:
        """Raise InputError for a parameter that does not depend on the data."""

    @abstractmethod
    def _learn_targets(self, y: HostArray, *, incremental: bool) -> None:
        """Learn the classes from y, or check that they are those of the last call."""

    @abstractmethod
    def _objective_for(self, y: HostArray) -> tuple[TrainingObjective, HostArray, int]:
        """Return the objective, y in the form its loss expects, and the number of outputs."""

    @abstractmethod
    def _score_of(self, network: Network, samples: Samples) -> float:
        """Score a network's predictions; NaN if they are not finite."""

    @abstractmethod
    def _net_for(self, objective: TrainingObjective, outputs: int, X: Any) -> Layer:
        """Return the net for such data."""

    @abstractmethod
    def _first_model(self, net: Layer, X: Any) -> Model:
        """Return a model with initial weights."""

    @abstractmethod
    def _next_model(self, net: Layer, X: Any) -> Model:
        """Return the trained model, to continue with."""

    @abstractmethod
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
        """Train a network; held_out are the user's own validation samples."""

    def _weight_of(self, sample_weight: HostArray | None, y: HostArray) -> HostArray | None:
        """Return the weight of each sample in the loss."""
        return sample_weight

    def _strata(self, y: HostArray) -> HostArray | None:
        """Return the labels by which held-out samples are stratified, or None."""
        return None

    # -- fitting -------------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: Any = None,
        checkpoint: Any = None,
        resume: Any = None,
        *,
        incremental: bool,
    ) -> None:
        self._check_parameters(incremental=incremental)
        if checkpoint is not None or resume is not None:
            _check_repeatable(self.random_state)
        first = not self._has_weights() or not (self.warm_start or incremental)
        names = target_names(y)
        X, y = self._validated(X, y, reset=first)
        self._learn_targets(y, incremental=incremental)
        weight = self._weight_of(validated_weight(sample_weight, X.shape[0]), y)
        objective, targets, outputs = self._objective_for(y)
        if not first and outputs != self.n_outputs_:
            raise InputError(
                f"y: expected targets for the {self.n_outputs_} outputs of the trained network, "
                f"but y and the loss need {outputs}; to start over, fit with warm_start=False"
            )
        held_out = self._validation_samples(validation, input_device(X), outputs)
        self._random_state = check_random_state(self.random_state)
        net = self._net_for(objective, outputs, X)
        model = self._first_model(net, X) if first else self._next_model(net, X)
        network = Network(model, input_device(X), objective)
        samples = Samples(X, y, targets, weight)
        record = TrainingRecord()
        if not first and hasattr(self, "_record"):
            record = replace(self._record)
        before = model.vector, model.state_vector
        try:
            self._train(
                network,
                samples,
                record,
                held_out,
                one_epoch=incremental,
                checkpoint=checkpoint,
                resume=resume,
            )
            if not np.isfinite(model.device.to_numpy(model.vector)).all():
                raise not_finite()
        except BaseException:  # the weights, like the record, stay those of the last call
            model.set_vectors(*before)
            raise
        self.n_outputs_: int = outputs
        self.out_activation_: str = objective.out_activation
        self._record: TrainingRecord = record
        self._target_names: tuple[str, ...] = names
        record.publish(self)
        self._publish(network)
        model.metadata |= metadata_of(self, network)

    def _validated(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, HostArray]:
        """Check X and y, y on the host; `reset` sets the attributes that describe X."""
        X = readable_input(X)
        with input_device(X).activate():  # scikit-learn makes arrays on CuPy's current device
            X, y = validate_data(
                self,
                X,
                moved_to_host(y),
                multi_output=True,
                y_numeric=is_regressor(self),
                reset=reset,
                **self._accepted(X),
            )
        y = y.toarray() if hasattr(y, "toarray") else y
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _dtype_for(self, X: Any, device: Device) -> str:
        """Return the dtype of a model for data of the dtype of X: float32 in mixed precision."""
        return "float32" if self.compute_dtype else dtype_name(X.dtype, device)

    def _accepted(self, X: Any) -> dict[str, Any]:
        """Return the arguments of scikit-learn's check of X: its dtypes and kinds."""
        return {"dtype": floats(X), "accept_sparse": SPARSE}

    def _validation_samples(self, validation: Any, device: Device, outputs: int) -> Samples | None:
        """Check the user's own validation data like the data of `fit`.

        Raises
        ------
        InputError
            If it is not (X, y) or (X, y, sample_weight), or does not fit the data of `fit`.
        """
        if validation is None:
            return None
        if not (isinstance(validation, (tuple, list)) and 2 <= len(validation) <= 3):
            raise InputError(
                "fit(validation=): expected (X, y) or (X, y, sample_weight), got "
                f"{type(validation).__name__}"
            )
        X, y, *weights = validation
        try:
            X, y = self._validated(X, y, reset=False)
            if input_device(X) != device:
                raise InputError(
                    f"X: expected an array on {str(device)!r}, as X of fit, got one on "
                    f"{str(input_device(X))!r}"
                )
            if len(y) < 2:
                raise InputError("y: expected 2 samples or more, got 1")
            weight = validated_weight(weights[0] if weights else None, X.shape[0])
            _, targets, expected = self._objective_for(y)
            if expected != outputs:
                raise InputError(f"y: expected {outputs} outputs, as in fit, got {expected}")
            return Samples(X, y, targets, self._weight_of(weight, y))
        except ValueError as error:
            raise InputError(f"fit(validation=): {' '.join(str(error).split())}") from None

    # -- files ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, training_state: bool = True) -> None:
        """Write this fitted estimator to a model file, without pickle; see `bp.save_estimator`."""
        from bp_arrays.estimators._saving import save_estimator

        save_estimator(self, path, training_state=training_state)

    def to_onnx(self, path: str | os.PathLike[str], *, dtype: str | None = None) -> None:
        """Write an ONNX file that computes `predict_proba`, or `predict`; see `bp.to_onnx`."""
        from bp_arrays.estimators._onnx import to_onnx

        to_onnx(self, path, dtype=dtype)

    # -- the trained network --------------------------------------------------------------------

    @property
    def model_(self) -> Model:
        """The trained network as a `bp.Model`, to save, export or explain."""
        check_is_fitted(self)
        return self._trained().model

    def _has_weights(self) -> bool:
        """Return whether there are weights to continue with."""
        return hasattr(self, "_network")

    def _publish(self, network: Network) -> None:
        """Store a trained network."""
        self._network = network

    def _trained(self) -> Network:
        """Return the trained network."""
        return self._network

    def _outputs_for(self, X: Any, method: str) -> tuple[Network, Array]:
        """Return the network and its raw outputs for X: an array, a table, a sparse matrix."""
        check_is_fitted(self)
        network = self._trained()
        X = validated_input(
            self, X, device=network.input_device, method=method, accepted=self._accepted
        )
        return network, network.outputs(X)

    def _explained(
        self, x: Any, t: Any, loss: Loss | None
    ) -> tuple[Model, HostArray, HostArray, Loss, tuple[str, ...], tuple[str, ...]]:
        """Return the arguments of `bp.explain` for a sample, and the names of inputs and outputs.

        Raises
        ------
        InputError
            For a sample that does not have the columns of `fit`, or a target that y did not have.
        """
        check_is_fitted(self)
        network = self._trained()
        if network.is_ensemble:
            raise InputError(
                "explain: expected a net without Ensemble; explain one member, a model of the "
                "ensemble's net with the parameters w[m], see Ensemble in the reference"
            )
        loss = network.objective.loss if loss is None else loss
        names = tuple(map(str, getattr(self, "feature_names_in_", ())))
        if names and hasattr(x, "index") and getattr(x, "ndim", 0) == 1:  # a row, as a Series
            x = x.to_frame().T.infer_objects()
        if names and hasattr(x, "columns"):
            missing = [name for name in names if name not in x.columns]
            if missing:
                raise InputError(f"explain(x=): expected the column {missing[0]!r}, as in fit")
            x = x[list(names)]
        return (
            network.model,
            np.asarray(moved_to_host(x), dtype=np.float64),
            self._explained_target(np.asarray(moved_to_host(t)), loss),
            loss,
            names,
            self._output_names(network),
        )

    @abstractmethod
    def _explained_target(self, t: HostArray, loss: Loss) -> HostArray:
        """Return the target of one sample in the form that a loss expects."""

    @abstractmethod
    def _output_names(self, network: Network) -> tuple[str, ...]:
        """Return a name for each output of the net, or ()."""

    # -- scikit-learn's protocol ----------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def _check_repeatable(random_state: Any) -> None:
    """Raise InputError unless the same random numbers can be drawn again when training resumes."""
    if not isinstance(random_state, Integral) or isinstance(random_state, bool):
        raise InputError(
            f"fit(checkpoint=, resume=): expected a whole number as random_state, got "
            f"{random_state!r:.60}; the order of the samples must be drawn again to resume"
        )
