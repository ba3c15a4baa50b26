"""`save_estimator` and `load_estimator`: fitted estimators in model files, without pickle."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sklearn.pipeline import Pipeline

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import DataError, DeviceUnavailableError, InputError
from bp_arrays.estimators._classifier import MLPClassifier
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._json import decoded, encoded
from bp_arrays.estimators._labels import Labels
from bp_arrays.estimators._metadata import MEANING
from bp_arrays.estimators._network import Network
from bp_arrays.estimators._objectives import TrainingObjective
from bp_arrays.estimators._optimizers import EpochRate
from bp_arrays.estimators._pipelines import (
    SCALERS,
    PipelineSteps,
    extended_model,
    steps_of,
    stripped_model,
)
from bp_arrays.estimators._record import Curves, TrainingRecord
from bp_arrays.estimators._regressor import MLPRegressor
from bp_arrays.estimators._samples import HOST
from bp_arrays.estimators._sequential import SequentialClassifier, SequentialRegressor
from bp_arrays.formats import part_from_json, to_json
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.model import Model, load
from bp_arrays.optimizers import Optimizer
from bp_arrays.training import History

KEY = "estimator"
"""The key of the description in the metadata of a model file."""

VERSION = 1
"""Increased when the meaning of the description changes; a later one is refused."""

ESTIMATORS: dict[str, type[NetworkEstimator]] = {
    kind.__name__: kind
    for kind in (MLPClassifier, MLPRegressor, SequentialClassifier, SequentialRegressor)
}
HISTORY = ("stopped", "compiled_by", "not_compiled", "kept_epoch", "kept_by")
"""The attributes of a history beside its series."""


# -- saving ----------------------------------------------------------------------------------------


def save_estimator(
    estimator: Any, path: str | os.PathLike[str], *, training_state: bool = True
) -> None:
    """Write a fitted estimator, or a pipeline of scalers and one, to a model file; no pickle.

    The file is a safetensors file with a description in JSON: the class and its parameters, the
    weights, classes, names of columns, the history, and the state of the optimizer.
    `load_estimator` returns an estimator whose predictions are equal to the last bit, and
    `partial_fit` continues as if it had never stopped. `bp-arrays predict` and `bp.load` read the
    file too; `bp.load` returns the network, whose outputs are the raw ones.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, SequentialClassifier, SequentialRegressor or Pipeline
        A pipeline may have StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler before the
        estimator. Keep other transformers with joblib, and save the last step alone.
    path : path
        An existing file is replaced at the very end.
    training_state : bool, default True
        Whether to write the state of the optimizer, which `partial_fit` continues with; with Adam
        the file is three times as large.

    Raises
    ------
    InputError
        For a step, parameter or layer that cannot be stored, or a subclass of an estimator.
    NotFittedError
        If a step is not fitted.
    OSError
        If the folder does not exist or cannot be written to.

    Warns
    -----
    UserWarning
        If the estimator has callbacks, which are not stored.

    Examples
    --------
    >>> import bp_arrays as bp, pathlib, tempfile
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = bp.MLPClassifier((5,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bp.save_estimator(classifier, pathlib.Path(folder, "iris.safetensors"))
    ...     again = bp.load_estimator(pathlib.Path(folder, "iris.safetensors"))
    >>> bool((again.predict_proba(X) == classifier.predict_proba(X)).all())
    True
    """
    steps = steps_of(estimator, "save_estimator")
    trained = steps.estimator
    name = type(trained).__name__
    if ESTIMATORS.get(name) is not type(trained):
        raise InputError(
            f"save_estimator: expected one of {', '.join(ESTIMATORS)}, got its subclass {name}; "
            "save the network by estimator.model_.save(path)"
        )
    network = trained._trained()
    model, state = network.model, network.model.training_state
    extended = extended_model(model, steps.scalers) if steps.scalers else copy.copy(model)
    meaning = json.loads(model.metadata[MEANING]) | {"feature_names": steps.feature_names}
    description = _described(steps, network, isinstance(estimator, Pipeline))
    extended.metadata = model.metadata | {
        MEANING: json.dumps(meaning),
        KEY: json.dumps(description, allow_nan=False),
    }
    extended.training_state = None
    if state is not None and training_state:
        moved = state.moved_to(extended.device, extended.dtype, extended.compute_dtype)
        extended.training_state = replace(moved, optimizer=_with_number(state.optimizer))
    extended.save(path, training_state=extended.training_state is not None)


def _described(steps: PipelineSteps, network: Network, in_pipeline: bool) -> dict[str, Any]:
    estimator: Any = steps.estimator
    parameters = estimator.get_params(deep=False)
    if parameters.get("callbacks"):
        warnings.warn(
            "callbacks are not stored in the file; after load_estimator set them by "
            "set_params(callbacks=...)",
            stacklevel=4,
        )
        parameters["callbacks"] = ()
    labels, objective = getattr(estimator, "_labels", None), network.objective
    return {
        "version": VERSION,
        "class": type(estimator).__name__,
        "parameters": {
            name: encoded(value, f"parameter {name}") for name, value in parameters.items()
        },
        "device": str(network.model.device),
        "input_device": str(network.input_device),
        "features": int(estimator.n_features_in_),
        "feature_names": encoded(getattr(estimator, "feature_names_in_", None), "names"),
        "target_names": list(estimator._target_names),
        "labels": None
        if labels is None
        else {"kind": labels.kind, "classes": encoded(labels.classes, "classes")},
        "objective": {
            "loss": encoded(objective.loss, "the loss"),
            "out_activation": objective.out_activation,
            "takes_raw": objective.takes_raw,
        },
        "outputs": int(estimator.n_outputs_),
        "record": _described_record(estimator._record, network.model.training_state),
        "pipeline": None
        if not in_pipeline
        else {
            "name": steps.name,
            "net": to_json(network.model.net),
            "scalers": [_described_scaler(name, scaler) for name, scaler in steps.scalers],
        },
    }


def _described_scaler(name: str, scaler: Any) -> dict[str, Any]:
    parameters = scaler.get_params(deep=False)
    fitted = {k: v for k, v in vars(scaler).items() if k not in parameters}
    return {
        "name": name,
        "class": type(scaler).__name__,
        "parameters": {k: encoded(v, f"parameter {k}") for k, v in parameters.items()},
        "fitted": {k: encoded(v, f"attribute {k}") for k, v in fitted.items()},
    }


def _described_record(record: TrainingRecord, state: Any) -> dict[str, Any]:
    history, optimizer = record.history, record.optimizer
    rate = None if optimizer is None else optimizer.learning_rate
    return {
        "epochs": int(record.epochs),
        "samples_seen": int(record.samples_seen),
        "loss": encoded(float(record.loss), "loss"),
        "series": {name: encoded(list(values), name) for name, values in history.items()},
        "history": {name: getattr(history, name) for name in HISTORY},
        "curves": None
        if record.curves is None
        else {name: encoded(value, name) for name, value in asdict(record.curves).items()},
        "optimizer": None if optimizer is None else to_json(_with_number(optimizer)),
        "rate": encoded(rate.value, "rate") if isinstance(rate, EpochRate) else None,
        "continues": state is not None and state.optimizer is optimizer,
    }


def _with_number(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer with a number in place of a rate that is set between epochs."""
    rate = optimizer.learning_rate
    return (
        replace(optimizer, learning_rate=float(rate.value))
        if isinstance(rate, EpochRate)
        else optimizer
    )


# -- loading ---------------------------------------------------------------------------------------


def load_estimator(
    path: str | os.PathLike[str],
    device: str | Device | None = None,
    *,
    classes: Sequence[type] = (),
) -> Any:
    """Read an estimator, or a pipeline, that was written by `save`; no code in the file is run.

    Parameters
    ----------
    path : path
    device : str or Device, optional
        The device to compute on from now on; by default the one it was saved from.
    classes : sequence of types, optional
        The custom layers, losses, optimizers and schedules among its parameters.

    Returns
    -------
    MLPClassifier, MLPRegressor, SequentialClassifier, SequentialRegressor or Pipeline
        Fitted, with the parameters, attributes and history that it was saved with.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is truncated, damaged, of a later version, or not the file of an estimator.
    DeviceUnavailableError
        If the device cannot compute on this machine.

    Examples
    --------
    See `save_estimator`.
    """
    custom = {kind.__name__: kind for kind in classes}
    layers = [kind for kind in classes if isinstance(kind, type) and issubclass(kind, Layer)]
    model = load(path, "cpu", compute_dtype=None, layers=layers)
    if KEY not in model.metadata:
        raise DataError(
            f"{path}: expected an estimator written by its save(), got a model, as Model.save and "
            "bp-arrays train write it; read it by bp.load(path), or use bp-arrays predict"
        )
    try:
        description = json.loads(model.metadata.pop(KEY))
        version = description["version"]
        if type(version) is not int or version > VERSION:
            raise DataError(
                f"expected an estimator of version 1 to {VERSION}, got {version!r:.40}; update "
                "bp_arrays with pip install -U bp_arrays"
            )
        parameters = decoded({"dict": list(description["parameters"].items())}, custom)
        target = find_device(description["device"] if device is None else device)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:
        raise _damaged(path, error) from None
    try:
        target.require()
    except DeviceUnavailableError as error:
        advice = "" if device is not None else "; or pass load_estimator(path, device='cpu')"
        raise DeviceUnavailableError(f"{error}{advice}") from None
    if parameters.get("compute_dtype") is not None:  # which the CPU may lack
        _check_compute_dtype(target, parameters["compute_dtype"])
        model = load(path, target, layers=layers)
        model.metadata.pop(KEY)
    if device is not None:
        parameters["device"] = str(target)
    try:
        return _restored(model.to(target), description, parameters, custom, device is not None)
    except Exception as error:  # a constructor may raise anything for the values of a damaged file
        raise _damaged(path, error) from None


def _check_compute_dtype(device: Device, name: str) -> None:
    try:
        device.dtype(name)
    except InputError as error:
        raise InputError(
            f"{error}; pass a device that has it, as in load_estimator(path, device='torch:cpu'), "
            "or read the network alone, in float32, by bp.load(path, compute_dtype=None)"
        ) from None


def _restored(
    model: Model,
    description: dict[str, Any],
    parameters: dict[str, Any],
    custom: Mapping[str, type],
    moved: bool,
) -> Any:
    """Return the estimator or the pipeline of a description, with this model."""
    pipeline = description["pipeline"]
    scalers = [] if pipeline is None else [_scaler(scaler) for scaler in pipeline["scalers"]]
    if pipeline is not None and scalers:
        net = part_from_json(pipeline["net"], custom)
        model = stripped_model(model, net)
    estimator: Any = ESTIMATORS[description["class"]](**parameters)
    estimator.n_features_in_ = description["features"]
    names = decoded(description["feature_names"], {})
    if names is not None:
        estimator.feature_names_in_ = names
    estimator._target_names = tuple(description["target_names"])
    labels = description["labels"]
    if labels is not None:
        estimator._learn(Labels(labels["kind"], decoded(labels["classes"], {})))
    objective = description["objective"]
    loss = decoded(objective["loss"], custom)
    if not isinstance(loss, Loss):
        raise ValueError("expected a loss")
    network = Network(
        model,
        HOST if moved else find_device(description["input_device"]),
        TrainingObjective(loss, str(objective["out_activation"]), bool(objective["takes_raw"])),
    )
    estimator.n_outputs_ = description["outputs"]
    estimator.out_activation_ = network.objective.out_activation
    estimator._record = _restored_record(description["record"], model, custom)
    estimator._record.publish(estimator)
    estimator._publish(network)
    if pipeline is None:
        return estimator
    return Pipeline([*scalers, (pipeline["name"], estimator)])


def _scaler(described: dict[str, Any]) -> tuple[str, Any]:
    parameters = {k: decoded(v, {}) for k, v in described["parameters"].items()}
    scaler: Any = SCALERS[described["class"]](**parameters)
    for name, value in described["fitted"].items():
        setattr(scaler, name, decoded(value, {}))
    return described["name"], scaler


def _restored_record(
    described: dict[str, Any], model: Model, custom: Mapping[str, type]
) -> TrainingRecord:
    """Return the record; its optimizer is the one that the state of the model belongs to."""
    history = History()
    for name, values in described["series"].items():
        for value in decoded(values, {}):
            history.record({name: value})
    for name in HISTORY:
        setattr(history, name, described["history"][name])
    curves = described["curves"]
    optimizer = None
    if described["optimizer"] is not None:
        optimizer = part_from_json(described["optimizer"], custom)
        if described["rate"] is not None:
            rate = EpochRate(decoded(described["rate"], {}))
            optimizer = replace(optimizer, learning_rate=rate)
    state = model.training_state
    if state is not None and described["continues"]:
        model.training_state = replace(state, optimizer=optimizer)
    return TrainingRecord(
        epochs=described["epochs"],
        samples_seen=described["samples_seen"],
        loss=decoded(described["loss"], {}),
        history=history,
        curves=None if curves is None else Curves(**{k: decoded(v, {}) for k, v in curves.items()}),
        optimizer=optimizer,
    )


def _damaged(path: Any, error: Exception) -> DataError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return DataError(
        f"{path}: the description of the estimator is damaged ({reason:.120}); use a copy, or "
        "train again"
    )
