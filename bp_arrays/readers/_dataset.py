"""`Dataset`: samples, targets, and the names of columns and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from bp_arrays.errors import DataError, unknown_name
from bp_arrays.inputs import first_not_finite
from bp_arrays.tables import first_rounded, rounded_error
from bp_arrays.typing import HostArray

Task = Literal["classification", "regression"]


def check_task(task: str | None) -> None:
    """Raise InputError unless the task is one, or None."""
    if task is not None and task not in get_args(Task):
        raise unknown_name("task", task, get_args(Task))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and targets on the host, one per row, checked.

    Parameters
    ----------
    x : real array (rows, features)
        Finite, in the dtype of the file; images are flattened, last axis fastest. Memory-mapped
        for .npy files and large tables.
    t : array, or None for data without targets
        Classes: int64 (rows,), k stands for `classes[k]`. Values: float64 (rows, outputs).
        A row without a target, where targets are not required, has class −1 or NaN.
    classes : tuple of str, or None
        The names of the classes, in ascending order; None for values.
    feature_names : tuple of str
        The names of the columns of x; empty if the source has none.
    target_names : tuple of str
        The name of the target, or one for each output.
    source : str
        The origin of the data, for messages.
    held_out : int array, optional
        Rows that the source sets aside for testing.
    ordered : bool, default False
        Whether the order of the rows matters: then the last ones are the test rows.
    one_unit : bool, default False
        Whether all features have one unit, like the pixels of an image.
    image_shape : (height, width, channels), optional
        The shape of a sample that is an image.

    Raises
    ------
    DataError
        If there are no rows or no features, x and t differ in length, x is not finite, or a
        whole number in x is rounded in float64.
    """

    x: HostArray
    t: HostArray | None
    classes: tuple[str, ...] | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    source: str
    held_out: HostArray | None = None
    ordered: bool = False
    one_unit: bool = False
    image_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or 0 in self.x.shape:
            raise DataError(
                f"{self.source}: expected at least one row and one feature, got shape "
                f"{self.x.shape}"
            )
        if self.t is not None and len(self.t) != len(self.x):
            raise DataError(
                f"{self.source}: expected one target for each row, "
                f"got {len(self.x)} rows and {len(self.t)} targets"
            )
        bad = first_not_finite(self.x)
        if bad is not None:
            row, column = bad
            raise DataError(
                f"{self.source}, row {row}, feature {column} (counted from 0): expected a finite "
                f"number, got {self.x[row, column]}; drop or fill such rows"
            )
        rounded = first_rounded(self.x)
        if rounded is not None:
            row, column = rounded
            where = f"{self.source}, row {row}, feature {column} (counted from 0)"
            raise rounded_error(where, self.x[rounded])

    @property
    def task(self) -> Task:
        """The task: "classification" if the targets are classes, else "regression"."""
        return "regression" if self.classes is None else "classification"

    @property
    def has_target(self) -> HostArray:
        """Whether each row has a target: bool (rows,)."""
        if self.t is None:
            return np.zeros(self.rows, bool)
        if self.classes is not None:
            return np.asarray(self.t >= 0)
        return np.asarray(np.any(~np.isnan(self.t), axis=1))

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.x)


def flat_rows(x: HostArray, source: str) -> HostArray:
    """Reshape x to (rows, features): a number becomes one feature, an image a row of pixels.

    Raises
    ------
    DataError
        If x is not of real numbers, or has no axis.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected an array of real numbers, got dtype {x.dtype}")
    if x.ndim == 0:
        raise DataError(f"{source}: expected an array (rows, features), got a single number")
    return x.reshape(len(x), -1) if x.size else x


def image_shape_of(x: HostArray) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of an array of images, gray or with channels last."""
    shape = x.shape[1:]
    return (*shape, 1) if len(shape) == 2 else shape if len(shape) == 3 else None
