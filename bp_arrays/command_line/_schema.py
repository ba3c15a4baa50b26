"""`Schema`: names of a model's inputs, outputs and classes, saved in the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bp_arrays.errors import DataError, InputError
from bp_arrays.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    MeanSquaredError,
    PoissonNLL,
    loss_named,
)
from bp_arrays.readers import Dataset, class_numbers
from bp_arrays.typing import HostArray

Outputs = Literal["values", "logits", "independent logits", "logarithms"]

LOGITS: dict[str, Outputs] = {
    "CrossEntropy": "logits",
    "BinaryCrossEntropy": "independent logits",
}
"""Losses of classes that include softmax or sigmoid: the outputs are logits."""

DEFAULT_LOSSES: dict[Outputs, Loss] = {
    "values": MeanSquaredError(),
    "logits": CrossEntropy(),
    "independent logits": BinaryCrossEntropy(),
    "logarithms": PoissonNLL(),
}
"""The loss that `train` takes by default for each kind of outputs."""

RATE = "learning_rate"
"""The key of the learning rate of the first update."""

KEY = "meaning"  # the key in model files: another one would orphan those already saved


@dataclass(frozen=True)
class Schema:
    """Names of a model's inputs and outputs, and the kind of its outputs.

    Parameters
    ----------
    classes : tuple of str, or None
        The class of each output; None if the outputs are values.
    feature_names : tuple of str
        The columns of the input, empty if they have no names.
    target_names : tuple of str
    outputs : "values", "logits", "independent logits" or "logarithms"
        Predictions are the outputs themselves, their softmax, their sigmoid, or their exponential.
    loss : Loss, or None
        The loss of the training, with its settings, on targets in their units; None if it was
        Huber's loss with a different threshold for each output.
    """

    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    outputs: Outputs
    loss: Loss | None

    @classmethod
    def of(cls, data: Dataset, loss: Loss | None) -> Schema:
        """Return the schema of a model trained with this loss on this data."""
        outputs = LOGITS.get(type(loss).__name__, "values")
        return cls(data.classes, data.feature_names, data.target_names, outputs, loss)

    def to_metadata(self) -> dict[str, str]:
        """Encode the schema as metadata of a model file."""
        return {KEY: json.dumps(asdict(self) | {"loss": _encoded(self.loss)})}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Any) -> Schema:
        """Decode the schema from metadata; a model saved without one has outputs of values.

        A file that does not name its loss gets the default of `train`.

        Raises
        ------
        DataError
            If the metadata is damaged.
        """
        if KEY not in metadata:
            return cls(None, (), (), "values", DEFAULT_LOSSES["values"])
        try:
            fields = json.loads(metadata[KEY])
            for name in ("classes", "feature_names", "target_names"):
                fields[name] = None if fields[name] is None else tuple(map(str, fields[name]))
            default = DEFAULT_LOSSES[fields["outputs"]]
            loss = _decoded(fields["loss"]) if "loss" in fields else default
            return cls(**fields | {"loss": loss})
        except (ValueError, TypeError, KeyError, InputError):
            raise DataError(
                f"{path}: the schema of its inputs and outputs is damaged; train the model again"
            ) from None

    def class_numbers(self, names: Sequence[str]) -> list[int | None]:
        """Return the number of each class by its name; None for a class the model does not know.

        A name that no class has stands for the class that is the same number, such as 1 for 1.0
        or for True, unless two names or two classes are that number.
        """
        return class_numbers(names, self.classes or ())

    def probabilities(self, y: HostArray) -> HostArray:
        """Return the probability of each class, (rows, classes), from the outputs.

        A single output is that of the second of two classes.

        Networks trained with squared differences output probabilities already: see Bishop,
        "Pattern Recognition and Machine Learning", section 1.5.5.
        """
        p = self.predictions(y)
        return p if p.shape[1] > 1 or len(self.classes or ()) != 2 else np.hstack([1.0 - p, p])

    def mean_of_members(self, y: HostArray) -> HostArray:
        """Return the outputs (rows, outputs) of an ensemble from its (rows, members, outputs).

        Their predictions are the mean of those of the members.
        """
        mean = np.mean(self.predictions(y), axis=1)
        if self.outputs == "values":
            return np.asarray(mean)
        tiny = np.finfo(np.float64).tiny
        logarithm = np.log(np.maximum(mean, tiny))
        if self.outputs == "independent logits":
            return np.asarray(logarithm - np.log(np.maximum(1.0 - mean, tiny)))
        return np.asarray(logarithm)

    def predictions(self, y: HostArray) -> HostArray:
        """Return values or probabilities from the outputs (rows, ..., outputs)."""
        if self.outputs == "values":
            return y
        y = y.astype(np.float64)
        if self.outputs == "logits":
            e = np.exp(y - y.max(axis=-1, keepdims=True))
            return np.asarray(e / e.sum(axis=-1, keepdims=True))
        if self.outputs == "independent logits":
            return np.asarray(0.5 + 0.5 * np.tanh(0.5 * y))  # the sigmoid, without overflow
        return np.asarray(np.exp(y))


def _encoded(loss: Loss | None) -> dict[str, Any] | None:
    return None if loss is None else {"name": type(loss).__name__, **asdict(loss)}


def _decoded(fields: dict[str, Any] | None) -> Loss | None:
    """Return the loss of this name with these settings; JSON has lists for tuples."""
    if fields is None:
        return None
    kind: Any = loss_named(fields["name"])
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    del settings["name"]
    return kind(**settings)  # type: ignore[no-any-return]
