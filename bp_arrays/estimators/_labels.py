"""Encoding of class labels as numbers, and decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target

from bp_arrays.errors import InputError
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class Labels:
    """The classes of a classifier.

    Parameters
    ----------
    kind : str
        "binary" (one or two classes), "multiclass", or "multilabel-indicator": any number of
        labels per sample.
    classes : array (classes,)
        Sorted; for multilabel targets, the column numbers.
    """

    kind: str
    classes: HostArray

    @property
    def multilabel(self) -> bool:
        """True if a sample may have several of these labels."""
        return self.kind == "multilabel-indicator"

    @classmethod
    def of_targets(cls, y: Any) -> Labels:
        """Find the classes in y, (samples,) or an indicator matrix (samples, labels).

        Raises
        ------
        InputError
            If y does not contain class labels.
        """
        kind = type_of_target(y, input_name="y")
        if kind == "multilabel-indicator":
            return cls(kind, np.arange(y.shape[1]))
        if kind not in ("binary", "multiclass"):
            raise InputError(
                f"Unknown label type: {kind}; expected one class per sample, or a matrix of 0 and "
                "1 with a column for each label; for numbers use MLPRegressor"
            )
        return cls.of_classes(y)

    @classmethod
    def of_classes(cls, classes: Any) -> Labels:
        """Return the labels for a list of classes, sorted and without duplicates."""
        distinct = np.unique(np.asarray(classes))
        return cls("multiclass" if len(distinct) > 2 else "binary", distinct)

    def encode(self, y: Any) -> HostArray:
        """Encode y as class numbers (samples,), or as a matrix of 0 and 1 (samples, labels).

        Raises
        ------
        InputError
            If y has a label that is not among the classes.
        """
        if self.multilabel:
            y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if y.ndim != 2 or y.shape[1] != len(self.classes):
                raise InputError(
                    f"y: expected a matrix with {len(self.classes)} columns, one per label, as in "
                    f"the first call, got shape {y.shape}"
                )
            return np.asarray(y != 0, dtype=np.float64)
        unseen = np.setdiff1d(y, self.classes)
        if len(unseen):
            raise InputError(
                f"y: expected classes among {self.classes}, got {unseen[:5]}; pass all classes "
                "in the first call, as classes="
            )
        return np.asarray(np.searchsorted(self.classes, y))

    def decode(self, choice: HostArray) -> HostArray:
        """Decode class numbers, or a matrix of booleans, into labels."""
        if self.multilabel:
            return np.asarray(choice, dtype=np.int64)
        return np.asarray(self.classes[np.minimum(choice, len(self.classes) - 1)])

    def one_hot(self, codes: HostArray) -> HostArray:
        """Encode the result of `encode` as targets of the output activation, (samples, outputs)."""
        if self.multilabel:
            return codes
        if self.kind == "binary":
            return np.asarray(codes[:, None], dtype=np.float64)
        return np.asarray(codes[:, None] == np.arange(len(self.classes)), dtype=np.float64)
