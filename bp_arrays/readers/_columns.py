"""Selection of the feature columns and the target column of a table by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from bp_arrays.errors import DataError


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
            f"{_first_names(names)}"
        )
    target_index = None
    if target is not None and (require_target or target in names):
        target_index = column_index(path, target, names, "target column")
    if columns is None:
        features = [index for index in range(len(names)) if index != target_index]
    else:
        features = [column_index(path, name, names, "column") for name in columns]
    if not features:
        raise DataError(f"{path}: expected feature columns besides the target {target!r}, got none")
    return features, target_index


def column_index(path: Path, name: str, names: Sequence[str], role: str) -> int:
    """Return the index of the column with this name.

    Raises
    ------
    DataError
        If there is none, with the nearest name that exists.
    """
    if name in names:
        return list(names).index(name)
    lower = {known.lower(): known for known in reversed(names)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f" did you mean {lower[near[0]]!r}?" if near else ""
    raise DataError(f"{path} has no {role} {name!r}:{hint} It has: {_first_names(names)}")


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
