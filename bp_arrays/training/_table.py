"""`check_table`: a table that is compared with a model must be read as its training table was."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.data import Table
from bp_arrays.errors import InputError
from bp_arrays.tables import TableSpec


def spec_of(model: Any) -> TableSpec | None:
    """Return the specification of the table that a model was trained on, if it was on one."""
    return TableSpec.from_metadata(model.metadata, "model.metadata")


def check_table(data: Any, known: TableSpec | None, where: str) -> None:
    """Raise InputError for a table whose inputs or classes mean something else to a model.

    `known` is the specification of its training table; None if it was not trained on one.

    Two tables that were read each by itself have other scales, fillings, categories, and
    numbers of the classes: the scores would be those of another task.
    """
    if not isinstance(data, Table) or known is None:
        return
    advice = "read it with bp.data.read(..., like=model), or split one table with table.split()"
    if data.spec.columns != known.columns:
        raise InputError(
            f"{where}: expected a table read as the training table was, got {data.source} with "
            f"other columns, categories, fillings or scales; {advice}"
        )
    if data.t is None:
        return
    if not data.has_target.all():
        raise InputError(
            f"{where}: expected a target in each row, got {int((~data.has_target).sum())} rows "
            f"without one in {data.source}; pass table.take(table.has_target)"
        )
    if known.classes is None or data.classes is None:
        return
    if data.classes[: len(known.classes)] != known.classes:
        raise InputError(
            f"{where}: expected the classes {', '.join(known.classes)} of the training table, got "
            f"{', '.join(data.classes)} in {data.source}; {advice}"
        )
    unknown = [data.classes[k] for k in np.unique(data.t) if k >= len(known.classes)]
    if unknown:
        raise InputError(
            f"{where}: expected the classes {', '.join(known.classes)} of the training table, got "
            f"{', '.join(unknown)} too in {data.source}; drop such rows, or train with them"
        )
