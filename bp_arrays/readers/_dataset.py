"""What every reader returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bp_arrays.errors import DataError
from bp_arrays.inputs import first_not_finite
from bp_arrays.typing import HostArray

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and their targets on the host, one row each, checked.

    Parameters
    ----------
    x : real array (rows, features)
        Finite; in the dtype of the file, images flattened with the last axis fastest. Of an
        .npy file and of large tables it is memory-mapped.
    t : array, or None for data without targets
        Classes: int64 (rows,), a number k means `classes[k]`. Values: float64 (rows, outputs).
    classes : tuple of str, or None
        The names of the classes, in ascending order; None for values.
    feature_names : tuple of str
        The names of the columns of x; empty where the source has none.
    target_names : tuple of str
        The name of what is predicted, one for classes, else one for each output.
    source : str
        Where the data is from, for people.
    held_out : int array, optional
        Rows that the source itself sets aside for testing.
    ordered : bool, default False
        Whether the rows must keep their order, so that the last ones are those to test on.
    one_unit : bool, default False
        Whether all features are one quantity, as the pixels of an image are.

    Raises
    ------
    DataError
        If there are no rows or no features, x and t differ in length, or x is not finite.
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

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or 0 in self.x.shape:
            raise DataError(
                f"{self.source}: expected at least one row with at least one feature, "
                f"got an array of shape {self.x.shape}"
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
                f"{self.source}: row {row}, feature {column} (counted from 0) is "
                f"{self.x[row, column]}; expected finite numbers: drop or fill such rows first"
            )

    @property
    def task(self) -> Task:
        """What there is to learn: to tell classes apart, or to give values."""
        return "regression" if self.classes is None else "classification"

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return len(self.x)


def flat_rows(x: HostArray, source: str) -> HostArray:
    """x as (rows, features): one number a row becomes one feature, an image a row of pixels.

    Raises
    ------
    DataError
        If x holds no real numbers, or has no axis for the rows.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{source}: expected an array of real numbers, got dtype {x.dtype}")
    if x.ndim == 0:
        raise DataError(f"{source}: expected an array (rows, features), got a single number")
    return x.reshape(len(x), -1) if x.size else x
