"""Report of a training run, as JSON."""

from __future__ import annotations

import json
import math
import platform
import re
import sys
from typing import Any

import numpy as np

import bp_arrays
from bp_arrays.command_line._training_job import TrainingJob, TrainingResult
from bp_arrays.readers import Dataset, Table

NUMBERS = re.compile(r"\[\n[^\[\]{}\"]*\]")
"""A list of numbers over many lines of indented JSON; strings in JSON have no line breaks."""


def report_of(job: TrainingJob, result: TrainingResult, saved: object | None) -> dict[str, Any]:
    """Collect everything about a training run, as plain values by name."""
    data, parts, model, history = job.data, job.parts, job.model, result.history
    return {
        "device": model.device.name,
        "backend": model.device.backend,
        "dtype": model.dtype,
        "seed": job.seed,
        "epochs": history.epochs,
        "stopped": history.stopped,
        "seconds": result.seconds,
        **{f"train_{name}": value for name, value in result.train.items()},
        **{f"test_{name}": value for name, value in (result.test or {"loss": math.nan}).items()},
        "test_confusion": result.confusion and result.confusion.to_json(),
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
            **_table(data),
        },
        "layers": job.layer_names,
        "parameters": model.parameter_count,
        "loss": repr(job.loss),
        "optimizer": repr(job.optimizer),
        "batch_size": job.recipe.batch,
        "model": None if saved is None else str(saved),
        "versions": _versions(model.device.backend),
        "history": dict(history),
    }


def _table(data: Dataset) -> dict[str, Any]:
    """Return what was done with the columns of a table, by name; nothing for other data."""
    if not isinstance(data, Table):
        return {}
    return {
        "columns": data.spec.names,
        "left_out": dict(data.spec.left_out),
        "missing": data.missing,
        "notes": data.notes,
    }


def to_json(report: dict[str, Any]) -> bytes:
    """Encode the report as JSON, each list of numbers on one line; NaN and infinity are null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    text = NUMBERS.sub(lambda match: f"[{' '.join(match[0][1:-1].split())}]", text)
    return f"{text}\n".encode()


def _versions(backend: str) -> dict[str, str]:
    versions = {
        "bp_arrays": bp_arrays.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    library = sys.modules.get(backend)  # already imported, if a module has that name
    if library is not None:
        versions[backend] = str(getattr(library, "__version__", "unknown"))
    return versions


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
