"""`opened_model`: a model file on a device, in mixed precision where the device has the dtype."""

from __future__ import annotations

import sys
from pathlib import Path

from bp_arrays.devices import device
from bp_arrays.errors import DataError, InputError
from bp_arrays.model import Model, load

VOCABULARY = "vocabulary"
"""The key in the metadata of a model of characters: these, in the order of their indices."""


def opened_model(path: Path, name: str) -> Model:
    """Return the model of a file; in float32, with a message, if the device lacks its compute
    dtype."""
    target = device(name).require()
    try:
        return load(path, target)
    except InputError as error:
        try:
            model = load(path, target, compute_dtype=None)
        except InputError:
            raise error from None
        reason = str(error).partition(";")[0]
        print(f"bp-arrays: {path}: computing in float32, {reason}", file=sys.stderr)
        return model


def check_no_text(model: Model, path: Path) -> None:
    """Raise DataError for a model of characters, which has no rows to predict or explain."""
    if VOCABULARY in model.metadata:
        raise DataError(
            f"{path}: expected a model of tables or images, got one of characters; "
            f"bp-arrays sample {path} writes text by it"
        )
