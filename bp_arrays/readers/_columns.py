"""Selection of the feature columns and the target column of a table by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bp_arrays.errors import DataError
from bp_arrays.tables import column_index, first_names


def chosen_columns(
    path: Path,
    names: Sequence[str],
    target: str | None,
    columns: Sequence[str] | None,
    *,
    require_target: bool,
) -> tuple[list[int], int | None]:
    """Return the indices of the feature columns, and of the target column or None.

    Parameters
    ----------
    path : Path
        Name of the table in messages.
    names : sequence of str
        All column names.
    target : str, optional
    columns : sequence of str, optional
        The features, in this order; by default all columns except the target.
    require_target : bool
        Whether a missing target is an error.

    Raises
    ------
    DataError
        If a column does not exist, with the nearest name that does; if no target is named
        although one is required; if no column remains for the features.
    """
    if target is None and require_target:
        raise DataError(
            f"{path}: expected the name of the target column; use --target with one of: "
            f"{first_names(names)}"
        )
    positions = {name: index for index, name in enumerate(names)}
    target_index = None
    if target is not None and (require_target or target in positions):
        target_index = column_index(path, target, positions, "target column")
    if columns is None:
        features = [index for index in range(len(names)) if index != target_index]
    else:
        features = [column_index(path, name, positions, "column") for name in columns]
    if not features:
        raise DataError(f"{path}: expected feature columns besides the target {target!r}, got none")
    return features, target_index


def check_distinct(path: Path, names: Sequence[str]) -> None:
    """Raise DataError if two columns have one name."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(
                f"{path}: expected distinct column names, got {name!r} twice; rename one"
            )
        seen.add(name)
