"""`to_onnx`: an estimator, with the scalers of its pipeline, as an ONNX file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.activations import Sigmoid, Softmax
from bp_arrays.errors import InputError
from bp_arrays.estimators._estimator import NetworkEstimator
from bp_arrays.estimators._metadata import MEANING
from bp_arrays.estimators._pipelines import extended_model, steps_of
from bp_arrays.layers import Context, Layer, Linear, Specification
from bp_arrays.typing import Array, Backward, HostArray, ParameterTree, Shape

Tail = tuple[tuple[Layer, dict[str, HostArray]], ...]


@dataclass(frozen=True)
class ExponentialOutput(Layer):
    """y = eˣ, ∂L/∂x = δ eˣ: the rates of a model of counts."""

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        return {}, input_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        y = ctx.xp.exp(x)
        return y, lambda delta: (delta * y, {})


def to_onnx(estimator: Any, path: str | os.PathLike[str], *, dtype: str | None = None) -> None:
    """Write a fitted estimator, or a pipeline of scalers and one, to an ONNX file.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, SequentialClassifier, SequentialRegressor or Pipeline
        A pipeline may have StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler before the
        estimator; they become part of the graph, which then takes the data as it is.
    path : path
        An existing file is replaced at the very end.
    dtype : {"float32", "float64"}, optional
        The dtype of input, output and weights; by default that of the model, float64 for data in
        float64.

    Raises
    ------
    MissingExtraError
        If onnx is not installed (extra `onnx`).
    InputError
        For a step or a layer that cannot be written.
    NotFittedError
        If a step is not fitted.

    Notes
    -----
    The input is "input" (batch, features), the output "output": the probabilities of
    `predict_proba` (batch, classes), or the values of `predict` (batch, outputs). The metadata of
    the file are "feature_names", "classes" and "target_names" as JSON lists.

    Examples
    --------
    >>> import bp_arrays as bp, pathlib, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> net = bp.MLPClassifier((5,), solver="lbfgs", max_iter=500, random_state=0)
    >>> classifier = make_pipeline(StandardScaler(), net).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bp.to_onnx(classifier, pathlib.Path(folder, "iris.onnx"))
    """
    if dtype not in (None, "float32", "float64"):
        raise InputError(f"to_onnx(dtype=): expected 'float32' or 'float64', got {dtype!r}")
    steps = steps_of(estimator, "to_onnx")
    if steps.estimator._trained().is_ensemble:
        raise InputError(
            "to_onnx: expected a net without Ensemble, whose members ONNX files do not average; "
            "write estimator.model_.to_onnx(path), whose outputs are those of the members"
        )
    model = extended_model(
        steps.estimator.model_,
        steps.scalers,
        _predictions_of(steps.estimator),
        dtype or steps.estimator.model_.dtype,
    )
    meaning = json.loads(model.metadata[MEANING]) | {"feature_names": steps.feature_names}
    model.metadata = {
        name: json.dumps(meaning[name])
        for name in ("feature_names", "classes", "target_names")
        if meaning[name]
    }
    model.to_onnx(path)


def _predictions_of(estimator: NetworkEstimator) -> Tail:
    """Return the layers that turn the raw outputs into probabilities or values."""
    network = estimator._trained()
    objective = network.objective
    labels = getattr(estimator, "_labels", None)
    opposite = np.array([[-1.0, 1.0]])  # of the two classes that one output stands for
    if labels is not None and not labels.multilabel and network.model.output_shape == (1,):
        if objective.takes_raw:  # [σ(−y), σ(y)]
            return (Linear(2, bias=False), {"weight": opposite}), (Sigmoid(), {})
        return ((Linear(2), {"weight": opposite, "bias": np.array([1.0, 0.0])}),)  # [1 − y, y]
    kinds = {"softmax": Softmax, "logistic": Sigmoid, "exp": ExponentialOutput}
    if not objective.takes_raw or objective.out_activation == "identity":
        return ()
    return ((kinds[objective.out_activation](), {}),)
