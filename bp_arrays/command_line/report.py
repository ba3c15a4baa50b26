"""The report of a training, as JSON."""

from __future__ import annotations

import json
import math
import platform
import sys
from typing import Any

import numpy as np

import bp_arrays
from bp_arrays.data import Dataset, Split
from bp_arrays.model import Model
from bp_arrays.training import History


def report_of(
    model: Model,
    data: Dataset,
    parts: Split,
    history: History,
    train: dict[str, float],
    test: dict[str, float],
    **settings: Any,
) -> dict[str, Any]:
    """All that is known about a training, ready for JSON.

    Parameters
    ----------
    model, data, parts, history
        What was trained, on what, and how it went.
    train, test : dict of str to float
        Loss and metrics of the finished model on the rows it was trained on, and on those it was
        not; `test` is empty if no rows were held out.
    settings
        What else to write down.
    """
    library = sys.modules.get(model.device.backend)
    versions = {
        "bp_arrays": bp_arrays.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    if library is not None and hasattr(library, "__version__"):
        versions[model.device.backend] = str(library.__version__)
    return {
        "device": model.device.name,
        "backend": model.device.backend,
        "dtype": model.dtype,
        "epochs": history.epochs,
        "stopped": history.stopped,
        **{f"train_{name}": value for name, value in train.items()},
        **{f"test_{name}": value for name, value in (test or {"loss": None}).items()},
        "data": {
            "source": data.source,
            "task": data.task,
            "features": data.x.shape[1],
            "classes": data.classes,
            "targets": data.target_names,
            "train_rows": len(parts.train),
            "validation_rows": len(parts.validation),
            "test_rows": len(parts.test),
            "test_rule": parts.rule,
        },
        "parameters": model.parameter_count,
        **settings,
        "versions": versions,
        "history": dict(history),
    }


def to_json(report: dict[str, Any]) -> bytes:
    """The report as JSON text; NaN and infinity, which JSON lacks, as null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    return f"{text}\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
