"""Selection of the columns that a trained model expects, in its order."""

from __future__ import annotations

import math
from typing import Any

from bp_arrays.command_line._check_range import check_range
from bp_arrays.command_line._schema import Schema
from bp_arrays.errors import DataError
from bp_arrays.inputs import only_output, only_shape
from bp_arrays.model import Model
from bp_arrays.readers import Dataset, Table, is_table, open_dataset, read
from bp_arrays.tables import TableSpec

RANGE_ADVICE = "change its unit, or train with --dtype float64"


def samples_of(data: Dataset, model: Model) -> Any:
    """Return the samples of a data set in the shape that the model takes."""
    if isinstance(data, Table):
        return data.x
    return data.x.reshape(data.rows, *model.input_shape)


def matching_data(model: Model, schema: Schema, spec: str, *, sep: str | None = None) -> Dataset:
    """Read data, by its name or file, with the features the model expects; targets are optional.

    A table may have targets in some of its rows.

    Raises
    ------
    DataError
        If the data lacks features that the model was trained on; if a number is beyond the range
        of the model's dtype.
    """
    table = TableSpec.from_metadata(model.metadata, "the model")
    if table is not None and is_table(spec):
        known = read(spec, like=table, sep=sep)
        check_range(known, model.dtype, RANGE_ADVICE)
        return known
    try:
        data = _opened(schema, spec, sep)
    except DataError as error:
        if schema.feature_names or "column" not in str(error):
            raise
        raise DataError(
            f"{error}; the model knows no names of columns, so all of them are features: keep only "
            "those, in the order of training, or train on a table with names"
        ) from None
    only_output(model.output_shape, "bp-arrays")
    features = math.prod(only_shape(model.inputs, "bp-arrays"))
    if data.x.shape[1] != features:
        raise DataError(
            f"{data.source}: expected the model's {features} features, got {data.x.shape[1]} (not "
            f"counting the target column, {', '.join(schema.target_names) or 'if it has a name'})"
        )
    check_range(data, model.dtype, RANGE_ADVICE)
    return data


def _opened(schema: Schema, spec: str, sep: str | None) -> Dataset:
    return open_dataset(
        spec,
        target=schema.target_names[0] if len(schema.target_names) == 1 else None,
        task="regression" if schema.classes is None else "classification",
        columns=schema.feature_names or None,
        require_target=False,
        known_classes=schema.classes or (),
        sep=sep,
    )
