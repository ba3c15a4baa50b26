"""Report of a training run, as JSON or as a page of HTML."""

from __future__ import annotations

import json
import math
import platform
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import bp_arrays
from bp_arrays.command_line._training_job import (
    TrainingJob,
    TrainingResult,
    score_line,
    table_lines,
)
from bp_arrays.errors import InputError
from bp_arrays.plots import Best, TrainingPage
from bp_arrays.readers import Dataset, Table

NUMBERS = re.compile(r"\[\n[^\[\]{}\"]*\]")
"""A list of numbers over many lines of indented JSON; strings in JSON have no line breaks."""


PAGES = (".html", ".htm")


def check_report(path: Path, endings: Sequence[str] = (*PAGES, ".json")) -> None:
    """Raise InputError unless the name of a report says in which format it is written.

    Parameters
    ----------
    path : Path
    endings : sequence of str, default (".html", ".htm", ".json")
    """
    if path.suffix.lower() not in endings:
        name = path.name.partition(".")[0] + endings[0]
        expected = " or ".join(ending for ending in endings if ending != ".htm")
        raise InputError(
            f"--report {path}: expected a name that ends in {expected}, got "
            f"{path.suffix or 'no ending'}; write --report {name}"
        )


def report_in(path: Path, job: TrainingJob, result: TrainingResult, saved: object | None) -> bytes:
    """Return the report as a page, if the name of the file ends so, else as JSON."""
    if path.suffix.lower() in PAGES:
        return page_of(job, result, saved).to_html().encode()
    return to_json(report_of(job, result, saved))


def report_of(job: TrainingJob, result: TrainingResult, saved: object | None) -> dict[str, Any]:
    """Collect everything about a training run, as plain values by name."""
    data, parts, model, history = job.data, job.parts, job.model, result.history
    return {
        "device": model.device.name,
        "backend": model.device.backend,
        "dtype": model.dtype,
        "compute_dtype": model.compute_dtype,
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
        "accumulate": job.recipe.accumulate,
        "processes": 1 if job.group is None else job.group.size,
        "model": None if saved is None else str(saved),
        "versions": _versions(model.device.backend),
        "history": dict(history),
    }


def page_of(job: TrainingJob, result: TrainingResult, saved: object | None) -> TrainingPage:
    """Collect the contents of the page."""
    data, parts, model, history = job.data, job.parts, job.model, result.history
    best = history.best_epoch() if "val_loss" in history and history.epochs else None
    validation = {
        name.removeprefix("val_"): series[(best or history.epochs) - 1]
        for name, series in history.items()
        if name.startswith("val_") and series
    }
    pairs = {}
    if data.classes is None and data.t is not None and result.outputs is not None:
        names = data.target_names
        for k in range(result.outputs.shape[1]):
            name = names[k] if len(names) > k else f"output {k}"
            pairs[name] = data.t[parts.test][:, k], result.outputs[:, k]
    rows = f"{len(parts.train):,} for training, {len(parts.validation):,} for validation, "
    rows += f"{len(parts.test):,} for testing ({parts.rule})"
    sections = {
        "Data": {
            "source": data.source,
            "rows": rows,
            "task": f"{data.task}, {len(data.classes)} classes" if data.classes else data.task,
            "target": ", ".join(data.target_names) or "–",
            **_columns(data),
        },
        "Network": {
            **{f"{k}": name for k, name in enumerate(job.layer_names)},
            "inputs": f"{data.x.shape[1]:,}",
            "parameters": f"{model.parameter_count:,}",
            "saved to": str(saved or "–"),
        },
        "Settings": {
            "loss": repr(job.loss),
            "optimizer": repr(job.optimizer),
            "epochs": f"{history.epochs} of {job.recipe.epochs}"
            + (f" ({history.stopped})" if history.stopped else ""),
            "batches": f"{job.recipe.batch} rows",
            "seed": str(job.seed),
            "device": f"{model.device.name}, {model.described_dtype}",
            "duration": f"{result.seconds:.1f} s",
            "versions": ", ".join(f"{k} {v}" for k, v in _versions(model.device.backend).items()),
        },
    }
    scores = {"training": result.train, "validation": validation, "test": result.test}
    return TrainingPage(
        title=f"{Path(job.name).name}: {score_line(job, result)}",
        summary=f"{job.network}, trained for {history.epochs} epochs in {result.seconds:.1f} s, "
        f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
        scores=scores,
        series={name: values for name, values in history.items() if values},
        best=None if best is None else Best(best, "val_loss"),
        confusion=None if result.confusion is None else result.confusion.numbers,
        pairs=pairs,
        sections=sections,
    )


def _columns(data: Dataset) -> dict[str, str]:
    """Return what is known of the columns, one line for each thing done with them."""
    if not isinstance(data, Table):
        return {"features": f"{data.x.shape[1]:,}"}
    lines: dict[str, str] = {}
    for line in table_lines(data):
        name, text = line[:10].strip(), line[10:]
        lines[name] = f"{lines[name]}; {text}" if name in lines else text
    return lines


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
