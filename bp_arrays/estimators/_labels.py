"""Class labels as numbers and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target

from bp_arrays.errors import InputError
from bp_arrays.typing import HostArray


@dataclass(frozen=True, eq=False)
class Labels:
    """The classes a classifier tells apart.

    Parameters
    ----------
    kind : str
        "binary" (one or two classes), "multiclass", or "multilabel-indicator": several yes-no
        labels a sample.
    classes : array (classes,)
        Sorted; for several labels their numbers.
    """

    kind: str
    classes: HostArray

    @property
    def several(self) -> bool:
        """Whether a sample may have several of these labels."""
        return self.kind == "multilabel-indicator"

    @classmethod
    def of_targets(cls, y: Any) -> Labels:
        """The labels that occur in y, (samples,) or an indicator matrix (samples, labels).

        Raises
        ------
        InputError
            If y holds no class labels.
        """
        kind = type_of_target(y, input_name="y")
        if kind == "multilabel-indicator":
            return cls(kind, np.arange(y.shape[1]))
        if kind not in ("binary", "multiclass"):
            raise InputError(
                f"Unknown label type: {kind}. y must hold one class a sample, or be a matrix of "
                "0 and 1 with a column for each label; for numbers use MLPRegressor"
            )
        return cls.of_classes(y)

    @classmethod
    def of_classes(cls, classes: Any) -> Labels:
        """The labels given by a list of classes."""
        found = np.unique(np.asarray(classes))
        return cls("multiclass" if len(found) > 2 else "binary", found)

    def encode(self, y: Any) -> HostArray:
        """Class numbers (samples,), or a matrix of 0 and 1 (samples, labels).

        Raises
        ------
        InputError
            If there is a label that is none of the classes.
        """
        if self.several:
            y = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if y.ndim != 2 or y.shape[1] != len(self.classes):
                raise InputError(
                    f"y: expected a matrix of {len(self.classes)} labels a sample, as in the "
                    f"first call, got shape {y.shape}"
                )
            return np.asarray(y != 0, dtype=np.float64)
        unseen = np.setdiff1d(y, self.classes)
        if len(unseen):
            raise InputError(
                f"y has classes that are not among those known, {self.classes}: "
                f"{unseen[:5]}. Hand all of them in at the first call: classes="
            )
        return np.asarray(np.searchsorted(self.classes, y))

    def decode(self, choice: HostArray) -> HostArray:
        """The labels of class numbers, or of a matrix of booleans."""
        if self.several:
            return np.asarray(choice, dtype=np.int64)
        return np.asarray(self.classes[np.minimum(choice, len(self.classes) - 1)])

    def one_hot(self, codes: HostArray) -> HostArray:
        """What `encode` gave as numbers an output activation can reach, (samples, outputs)."""
        if self.several:
            return codes
        if self.kind == "binary":
            return np.asarray(codes[:, None], dtype=np.float64)
        return np.asarray(codes[:, None] == np.arange(len(self.classes)), dtype=np.float64)
