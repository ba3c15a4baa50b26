"""Names of an estimator's inputs, outputs and classes, as metadata of its model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from bp_arrays.estimators._losses import PoissonLoss, SummedBinaryCrossEntropy
from bp_arrays.estimators._network import Network
from bp_arrays.losses import LOSSES, BinaryCrossEntropy, Loss, PoissonNLL

MEANING = "meaning"
"""The key of the names in a model file; `bp-arrays train` writes them too, `predict` reads them."""

RAW_OUTPUTS = {"softmax": "logits", "logistic": "independent logits", "exp": "logarithms"}
"""The kind of raw outputs that become predictions by this output activation."""


def metadata_of(estimator: Any, network: Network) -> dict[str, str]:
    """Return the names of the inputs and outputs, the classes, and the kind of the outputs."""
    objective = network.objective
    labels = getattr(estimator, "_labels", None)
    classes = None
    names = list(estimator._target_names)
    if labels is not None and not labels.multilabel:
        classes = [str(label) for label in labels.classes.tolist()]
    elif labels is not None and not names:
        names = [f"label_{k}" for k in labels.classes]
    meaning = {
        "classes": classes,
        "feature_names": [str(name) for name in getattr(estimator, "feature_names_in_", ())],
        "target_names": names,
        "outputs": RAW_OUTPUTS.get(objective.out_activation, "values")
        if objective.takes_raw
        else "values",
        "loss": _described(objective.loss),
    }
    return {MEANING: json.dumps(meaning)}


def target_names(y: Any) -> tuple[str, ...]:
    """Return the name of a Series, or those of the columns of a table, if they are texts."""
    columns = getattr(y, "columns", None)
    names = [getattr(y, "name", None)] if columns is None else list(columns)
    texts = tuple(name for name in names if isinstance(name, str) and name)
    return texts if len(texts) == len(names) else ()


def _described(loss: Loss) -> dict[str, Any] | None:
    """Describe a loss by its name and settings; a custom one is not described."""
    public = {PoissonLoss: PoissonNLL(), SummedBinaryCrossEntropy: BinaryCrossEntropy()}
    loss = public.get(type(loss), loss)
    if LOSSES.get(type(loss).__name__) is not type(loss):
        return None
    fields = {"name": type(loss).__name__, **asdict(loss)}
    try:
        json.dumps(fields)
    except (TypeError, ValueError):
        return None
    return fields
