"""Data for a model that has been trained: its columns, in its order."""

from __future__ import annotations

import math

from bp_arrays.command_line._schema import Meaning
from bp_arrays.errors import DataError
from bp_arrays.inputs import only_shape
from bp_arrays.model import Model
from bp_arrays.readers import Dataset, open_dataset


def matching_data(model: Model, meaning: Meaning, spec: str) -> Dataset:
    """The data of that name or in that file, as the model takes it; its targets if it has any.

    Raises
    ------
    DataError
        If it has not the features that the model was trained on.
    """
    data = open_dataset(
        spec,
        target=meaning.target_names[0] if len(meaning.target_names) == 1 else None,
        task="regression" if meaning.classes is None else "classification",
        columns=meaning.feature_names or None,
        require_target=False,
    )
    features = math.prod(only_shape(model.inputs, "bp-arrays"))
    if data.x.shape[1] != features:
        raise DataError(
            f"{data.source}: the model takes {features} features, got {data.x.shape[1]} "
            f"(a column named {', '.join(meaning.target_names) or 'as its target'} is left out)"
        )
    return data
