"""The columns of a table by name: which are features, which the target."""

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
    """The places of the features, and of the target if there is one.

    Parameters
    ----------
    path : Path
        What to call the table in messages.
    names : sequence of str
        Of all its columns.
    target : str, optional
    columns : sequence of str, optional
        The features, in this order; by default all columns but the target.
    require_target : bool
        Whether it is an error if there is no target.

    Raises
    ------
    DataError
        If a column does not exist, naming the nearest that does; if no target is named though
        one is required; if no column is left for the features.
    """
    if target is None and require_target:
        raise DataError(
            f"{path}: say which column is the target, --target with one of: {_some(names)}"
        )
    goal = None
    if target is not None and (require_target or target in names):
        goal = place_of(path, target, names, "target column")
    if columns is None:
        chosen = [place for place in range(len(names)) if place != goal]
    else:
        chosen = [place_of(path, name, names, "column") for name in columns]
    if not chosen:
        raise DataError(f"{path}: expected columns beside the target {target!r}, found none")
    return chosen, goal


def place_of(path: Path, name: str, names: Sequence[str], what: str) -> int:
    """Where the column of that name is.

    Raises
    ------
    DataError
        If there is none, naming the nearest one.
    """
    if name in names:
        return list(names).index(name)
    lower = {known.lower(): known for known in reversed(names)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    hint = f" did you mean {lower[near[0]]!r}?" if near else ""
    raise DataError(f"{path} has no {what} {name!r}:{hint} It has: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
