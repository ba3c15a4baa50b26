"""What the inputs and outputs of a model stand for; kept in the model's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bp_arrays.errors import DataError
from bp_arrays.losses import Loss
from bp_arrays.readers import Dataset
from bp_arrays.typing import HostArray

Outputs = Literal["values", "logits", "independent logits"]

LOGITS: dict[str, Outputs] = {
    "CrossEntropy": "logits",
    "BinaryCrossEntropy": "independent logits",
}
"""Losses for classes only, which have the function that makes probabilities inside."""

KEY = "meaning"


@dataclass(frozen=True)
class Meaning:
    """The names behind the numbers of a model.

    Parameters
    ----------
    classes : tuple of str, or None
        The class of each output; None if the outputs are values.
    feature_names : tuple of str
        The columns of the input, empty if they have no names.
    target_names : tuple of str
    outputs : "values", "logits" or "independent logits"
        How outputs become probabilities of classes: as they are, by softmax, by sigmoid.
    """

    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    outputs: Outputs

    @classmethod
    def of(cls, data: Dataset, loss: Loss) -> Meaning:
        """The meaning that training with this loss on this data gives to a model."""
        outputs = LOGITS.get(type(loss).__name__, "values")
        return cls(data.classes, data.feature_names, data.target_names, outputs)

    def to_metadata(self) -> dict[str, str]:
        """As the strings that a model file keeps."""
        return {KEY: json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Any) -> Meaning:
        """What `to_metadata` wrote; for a model that was saved without it, plain values.

        Raises
        ------
        DataError
            If the metadata is damaged.
        """
        if KEY not in metadata:
            return cls(None, (), (), "values")
        try:
            fields = json.loads(metadata[KEY])
            for name in ("classes", "feature_names", "target_names"):
                fields[name] = None if fields[name] is None else tuple(map(str, fields[name]))
            return cls(**fields)
        except (ValueError, TypeError, KeyError):
            raise DataError(
                f"{path}: what its outputs mean is damaged in the file; train the model again"
            ) from None

    def probabilities(self, y: HostArray) -> HostArray:
        """The probability of each class, (rows, classes), from outputs of that shape.

        Squared and absolute differences are learned to be probabilities without any further
        function: see Bishop, "Pattern Recognition and Machine Learning", section 1.5.5.
        """
        y = y.astype(np.float64)
        if self.outputs == "logits":
            e = np.exp(y - y.max(axis=1, keepdims=True))
            return np.asarray(e / e.sum(axis=1, keepdims=True))
        if self.outputs == "independent logits":
            return np.asarray(0.5 + 0.5 * np.tanh(0.5 * y))  # the sigmoid, without overflow
        return y
