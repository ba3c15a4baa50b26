"""Pipelines of scalers and a network: the scalers as layers in front of the net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from bp_arrays.errors import InputError
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.inputs import InputSpec
from bp_arrays.layers import Layer, Sequential, Standardize
from bp_arrays.model import Entry, Model
from bp_arrays.typing import HostArray

SCALERS: dict[str, type[BaseEstimator]] = {
    kind.__name__: kind for kind in (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
}


@dataclass(frozen=True)
class PipelineSteps:
    """The parts of a pipeline.

    Parameters
    ----------
    scalers : tuple of (name, scaler)
        Fitted; without those steps that are "passthrough".
    name : str
        The name of the last step.
    estimator : NetworkEstimator
    """

    scalers: tuple[tuple[str, Any], ...]
    name: str
    estimator: NetworkEstimator

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that the first step was fitted on, empty if it had none."""
        first = self.scalers[0][1] if self.scalers else self.estimator
        return [str(name) for name in getattr(first, "feature_names_in_", ())]


def steps_of(estimator: Any, where: str) -> PipelineSteps:
    """Return the parts of an estimator, or of a pipeline of scalers that ends in one.

    Raises
    ------
    InputError
        For anything else, naming the step that is not a scaler.
    NotFittedError
        If a part is not fitted.
    """
    steps = [("", estimator)]
    if isinstance(estimator, Pipeline):
        steps = [
            (name, step) for name, step in estimator.steps if step not in (None, "passthrough")
        ]
    *scalers, (name, last) = steps
    if not isinstance(last, NetworkEstimator):
        raise InputError(
            f"{where}: expected an estimator such as bp.MLPClassifier, or a Pipeline that ends in "
            f"one, got {type(last).__name__}"
        )
    for step, scaler in scalers:
        if type(scaler) is not SCALERS.get(type(scaler).__name__) or getattr(scaler, "clip", False):
            raise InputError(
                f"{where}: expected {', '.join(SCALERS)} before the network, got step {step!r}, "
                f"{type(scaler).__name__}; pass the network, pipeline[-1], and keep the other "
                "steps with joblib.dump(pipeline[:-1], path)"
            )
        check_is_fitted(scaler)
    check_is_fitted(last)
    return PipelineSteps(tuple(scalers), name, last)


def extended_model(
    model: Model,
    scalers: tuple[tuple[str, Any], ...],
    tail: tuple[tuple[Layer, dict[str, HostArray]], ...] = (),
    dtype: str | None = None,
) -> Model:
    """Return a model that scales its input, computes the net, and then the layers of `tail`.

    Parameters
    ----------
    model : Model
    scalers : tuple of (name, scaler)
    tail : tuple of (layer, its parameters)
    dtype : str, optional
        By default that of the model.

    Returns
    -------
    Model
        On the CPU, or in mixed precision on the device of the model; without a training state.
    """
    sequential = isinstance(model.net, Sequential)
    layers = model.net.layers if isinstance(model.net, Sequential) else (model.net,)
    before = len(scalers)
    net = Sequential(*[Standardize()] * before, *layers, *(layer for layer, _ in tail))
    named: dict[str, HostArray] = {}
    for k, (_, scaler) in enumerate(scalers):
        mean, scale = mean_and_scale(scaler)
        named |= {f"{k}.mean": mean, f"{k}.scale": scale}
    for name, value in model.host_parameters().items():
        position, _, rest = name.partition(".") if sequential else ("0", "", name)
        named[f"{int(position) + before}.{rest}"] = value
    for k, (_, values) in enumerate(tail, start=before + len(layers)):
        named |= {f"{k}.{name}": value for name, value in values.items()}

    def value_of(entry: Entry) -> HostArray:
        return named[entry.name]

    compute_dtype = model.compute_dtype if dtype is None else None
    extended = Model.from_values(
        net,
        model.inputs,
        value_of,
        device="cpu" if compute_dtype is None else model.device,
        dtype=dtype or model.dtype,
        compute_dtype=compute_dtype,
    )
    extended.seed, extended.metadata = model.seed, dict(model.metadata)
    return extended


def mean_and_scale(scaler: Any) -> tuple[HostArray, HostArray]:
    """Return m and s of a scaler (x − m) / s, one of each per feature."""
    features = int(scaler.n_features_in_)
    zeros, ones = np.zeros(features), np.ones(features)
    if isinstance(scaler, MinMaxScaler):
        return -scaler.min_ / scaler.scale_, 1.0 / scaler.scale_
    if isinstance(scaler, RobustScaler):
        mean = scaler.center_
    else:
        mean = getattr(scaler, "mean_", None) if getattr(scaler, "with_mean", False) else None
    scale = getattr(scaler, "scale_", None)
    return (zeros if mean is None else mean), (ones if scale is None else scale)


def stripped_model(model: Model, net: Layer) -> Model:
    """Return a model without its first layers, which scale the input: the inverse of the above."""
    shape: Any = model.inputs
    assert isinstance(shape, InputSpec)
    inner = Model(
        net, shape, device=model.device, dtype=model.dtype, compute_dtype=model.compute_dtype
    )
    theta, state = model.current_vectors()
    with model.device.activate():
        inner.set_vectors(theta, state[state.shape[0] - inner.current_vectors()[1].shape[0] :])
    inner.seed, inner.metadata = model.seed, dict(model.metadata)
    inner.training_state = model.training_state
    return inner
