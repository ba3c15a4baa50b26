"""Explain the backward pass of one sample: every number, and the chain rule of any weight."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.activations import Sigmoid
from bp_arrays.command_line import _options as options
from bp_arrays.command_line._match_columns import matching_data
from bp_arrays.command_line._open_model import check_no_text
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.command_line._schema import RATE, Schema
from bp_arrays.errors import InputError
from bp_arrays.explanation import Explanation, explain
from bp_arrays.files import write_atomically
from bp_arrays.layers import Linear, Sequential
from bp_arrays.losses import L2Loss, Loss, loss_named
from bp_arrays.model import Model, load
from bp_arrays.readers import Dataset, read_notes

NOTES = "notes"

ETA = 0.1
"""The learning rate shown if none is known."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays explain`."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=f"a trained model's file, or {NOTES!r}: the notes' net")
    add("data", nargs="?", metavar="DATA", help="the training data: a file or a name")
    add("--sep", type=options.separator, metavar="CHARACTER",
        help="the delimiter of a .csv file, or tab (default: , ; or tab)")  # fmt: skip
    add("--sample", type=int, default=1, metavar="N", help="row number, from 1 (default: 1)")
    add("--weight", action="append", default=[], metavar="NAME",
        help="write out this weight's chain rule: w11 or another name that the text prints, or "
        "NAME:I,J such as 0.weight:1,1 (repeatable)")  # fmt: skip
    add("--loss", metavar="NAME", help="the loss (default: the training loss)")
    add("--eta", type=float, metavar="X",
        help="learning rate of the update shown (default: the first one of training; "
        f"{ETA} for {NOTES} and models that were not trained by bp-arrays train)")  # fmt: skip
    add("--latex", type=Path, metavar="FILE",
        help="write the printed text as Markdown with LaTeX to this file")  # fmt: skip
    add("--html", type=Path, metavar="FILE", help="write an interactive page to this file")


def run(args: argparse.Namespace) -> int:
    """Print the derivation; write it as LaTeX and as a page to the files of the options."""
    outputs = {"--latex": args.latex, "--html": args.html}
    check_outputs(outputs, args.model, args.data or "")
    explanation = _explain_notes(args) if args.model == NOTES else _explain_model(args)
    rules = [explanation.weight(*_weight(spec)) for spec in args.weight]
    print("\n\n".join(rule.text for rule in rules) if rules else explanation.to_text())
    if args.latex is not None:
        latex = "\n\n".join(f"$$\n{rule.latex}\n$$" for rule in rules) or explanation.to_latex()
        write_atomically(args.latex.resolve(), f"{latex.rstrip()}\n".encode())
    if args.html is not None:
        explanation.to_html(args.html)
    return 0


def _explain_notes(args: argparse.Namespace) -> Explanation:
    """Explain the untrained 2-3-2 net of the notes."""
    if args.data is not None:
        raise InputError(f"explain {NOTES}: expected no data, got {args.data!r}; drop it")
    notes = read_notes()
    net = Sequential(Linear(3), Sigmoid(), Linear(2), Sigmoid())
    model = Model(net, 2, device="cpu", dtype="float64", seed=0)
    assert notes.t is not None
    row = _row(args.sample, notes.rows)
    return explain(
        model, notes.x[row], notes.t[row], L2Loss(), eta=ETA if args.eta is None else args.eta
    )


def _explain_model(args: argparse.Namespace) -> Explanation:
    if args.data is None:
        raise InputError(
            "explain MODEL DATA: expected the data too; name the data the model was trained on"
        )
    model = load(args.model, device="cpu", compute_dtype=None)
    check_no_text(model, args.model)
    schema = Schema.from_metadata(model.metadata, args.model)
    data = matching_data(model, schema, args.data, sep=args.sep)
    loss = loss_named(args.loss)() if args.loss else schema.loss
    if loss is None:
        raise InputError(
            "explain: expected --loss NAME; this model was trained with a loss that its file does "
            "not name, such as Huber with a different threshold for each output"
        )
    row = _row(args.sample, data.rows)
    if data.t is None:
        raise InputError(f"{data.source}: expected targets, got none: the loss needs them")
    if not data.has_target[row]:
        raise InputError(f"{data.source}, row {row + 1}: expected a target, got none")
    x = data.x[row : row + 1][0].reshape(model.input_shape)
    outputs = math.prod(model.output_shape)
    explanation = explain(
        model,
        x,
        _target(data, schema, loss, row, outputs),
        loss,
        eta=_learning_rate(model) if args.eta is None else args.eta,
        class_names=_output_names(schema, outputs),
        image_shape=_image_shape(data, model),
    )
    if len(schema.feature_names) == x.size:
        explanation.input_names = schema.feature_names
    return explanation


def _output_names(schema: Schema, outputs: int) -> tuple[str, ...] | None:
    """Return the names of the classes, or of the targets that are values."""
    names = schema.target_names if schema.classes is None else schema.classes
    return names if len(names) == outputs else None


def _image_shape(data: Dataset, model: Model) -> tuple[int, int] | None:
    """Return the shape of square images, which readers make flat; None for other data."""
    side = math.isqrt(math.prod(model.input_shape))
    is_image = data.one_unit and len(model.input_shape) == 1 and side > 1
    return (side, side) if is_image and side * side == model.input_shape[0] else None


def _learning_rate(model: Model) -> float:
    """Return the learning rate of training, as the file names it."""
    try:
        rate = float(model.metadata[RATE])
    except (KeyError, ValueError):
        return ETA
    return rate if math.isfinite(rate) and rate > 0.0 else ETA


def _target(data: Dataset, schema: Schema, loss: Loss, row: int, outputs: int) -> Any:
    """Return the target of a row in the loss's form: a class, or one number per output."""
    assert data.t is not None
    if data.classes is None or schema.classes is None:
        return data.t[row]
    number = int(data.t[row])
    k = schema.class_numbers(data.classes)[number]  # of all: two spellings of 1 are two classes
    if k is None:
        raise InputError(
            f"{data.source}, row {row + 1}: expected a class of the model, "
            f"{', '.join(schema.classes)}, got {data.classes[number]!r}"
        )
    if outputs == 1 and len(schema.classes) == 2:  # one output stands for the second class
        return np.array([float(k)])
    return k if loss.takes_classes else np.eye(len(schema.classes))[k]


def _row(sample: int, rows: int) -> int:
    if not 1 <= sample <= rows:
        raise InputError(f"--sample: expected a number from 1 to {rows}, got {sample}")
    return sample - 1


def _weight(spec: str) -> tuple[str, *tuple[int, ...]]:
    match = re.fullmatch(r"(.+):(\d+(?:,\d+)*)", spec)
    if match is None:
        if ":" in spec or "." in spec:
            raise InputError(
                f"--weight: expected NAME:I,J such as 0.weight:1,1, or w11, got {spec!r}"
            )
        return (spec,)
    return (match[1], *(int(index) for index in match[2].split(",")))
