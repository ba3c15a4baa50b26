"""The page about a training run: scores of a model on test data, its layers, its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bp_arrays.data import Table
from bp_arrays.errors import InputError
from bp_arrays.inputs import as_numpy
from bp_arrays.layers import Context
from bp_arrays.model import Model, ends_in_ensemble
from bp_arrays.plots import Best, TrainingPage
from bp_arrays.training._confusion import ConfusionMatrix
from bp_arrays.training._history import History
from bp_arrays.training._metrics import R2
from bp_arrays.training._table import check_table, spec_of
from bp_arrays.typing import HostArray


def page_of(
    history: History,
    model: Model | None,
    test: Any,
    classes: Sequence[str],
    title: str,
    settings: Mapping[str, Any],
) -> TrainingPage:
    """Collect the contents of the page; see `History.to_html`."""
    best = history.best_epoch() if "val_loss" in history and history.epochs else None
    scores: dict[str, dict[str, float]] = {
        "training": {k: v[-1] for k, v in history.items() if v and _is_score(k)}
    }
    confusion, pairs = None, {}
    if test is not None:
        if model is None:
            raise InputError("History.to_html(test=): expected model= too, to predict with")
        y, t, classes = _outputs(model, test, classes)
        if t.ndim == 1 and t.dtype.kind in "iu":
            names = classes or [str(k) for k in range(max(y.shape[1], int(t.max()) + 1, 2))]
            predicted = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)
            confusion = ConfusionMatrix.of(t, predicted, names)
            scores["test"] = {"accuracy": float((predicted == t).mean())}
        else:
            t = t.reshape(y.shape)
            scores["test"] = _errors(y, t)
            outputs = _names_of(test, y.shape[1])
            pairs = {name: (t[:, k], y[:, k]) for k, name in enumerate(outputs)}
    sections = {
        "Data": _data_lines(test),
        "Network": {} if model is None else _layer_lines(model),
        "Settings": {name: str(value) for name, value in settings.items()},
    }
    return TrainingPage(
        title=title or "A training run",
        summary=f"{history.epochs} epochs in {sum(history['seconds']):.1f} s"
        + (f", ended by {history.stopped}" if history.stopped else ""),
        scores=scores,
        series={name: values for name, values in history.items() if values},
        best=None if best is None else Best(best, "val_loss"),
        confusion=None if confusion is None else confusion.numbers,
        pairs=pairs,
        sections=sections,
    )


UNDRAWN = ("learning_rate", "seconds", "skipped_steps")
"""The series that are no scores."""


def _is_score(name: str) -> bool:
    return not name.startswith("val_") and name not in UNDRAWN


def _outputs(
    model: Model, test: Any, classes: Sequence[str]
) -> tuple[HostArray, HostArray, Sequence[str]]:
    """Return outputs (rows, outputs), targets, and the names of the classes."""
    check_table(test, spec_of(model), "History.to_html(test=)")
    if isinstance(test, Table):
        x, t, classes = test.x, test.t, classes or test.classes or ()
    elif isinstance(test, tuple) and len(test) == 2:
        x, t = test
    else:
        raise InputError(f"History.to_html(test=): expected a Table or (x, t), got {test!r:.60}")
    if t is None:
        raise InputError("History.to_html(test=): expected targets, got a table without")
    # of an ensemble the mean of the outputs as they are: the page does not know the loss
    y = model.predict(x, spread=True).mean if ends_in_ensemble(model.net) else model.predict(x)
    y = as_numpy(y, "outputs", model.device)
    t = as_numpy(t, "test targets", model.device)
    y = y.reshape(len(y), -1)
    if len(t) != len(y) or (t.ndim > 1 and t.size != y.size):
        raise InputError(
            f"History.to_html(test=): expected targets for outputs {y.shape}, got shape {t.shape}"
        )
    return y, t, classes


def _errors(y: HostArray, t: HostArray) -> dict[str, float]:
    y, r2 = y.astype(np.float64), R2()
    with np.errstate(over="ignore"):
        return {
            "r2": r2.value(r2.sums(y, t.astype(np.float64), Context(np))),
            "rmse": float(np.sqrt(np.mean(np.square(y - t)))),
            "mae": float(np.mean(np.abs(y - t))),
        }


def _names_of(test: Any, outputs: int) -> list[str]:
    names = test.target_names if isinstance(test, Table) else ()
    if len(names) == outputs:
        return list(names)
    return ["target"] if outputs == 1 else [f"output {k}" for k in range(outputs)]


def _data_lines(test: Any) -> dict[str, str]:
    if not isinstance(test, Table):
        return {}
    lines = {"source": test.source, "columns": ", ".join(test.spec.names)}
    for note in test.notes:
        name, text = note[:10].strip(), note[10:]
        lines[name] = f"{lines[name]}; {text}" if name in lines else text
    return lines


def _layer_lines(model: Model) -> dict[str, str]:
    rows = {row.path or "net": row.kind for row in model.summary().rows}
    return rows | {
        "parameters": f"{model.parameter_count:,}",
        "device": f"{model.device}, {model.described_dtype}",
    }
