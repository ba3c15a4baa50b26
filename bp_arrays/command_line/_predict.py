"""Apply a model saved by `bp-arrays train --out` to data: one line of CSV per row."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from bp_arrays.command_line import _options as options
from bp_arrays.command_line._match_columns import matching_data, samples_of
from bp_arrays.command_line._open_model import check_no_text, opened_model
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.command_line._plotting import check_plot
from bp_arrays.command_line._report import check_report, to_json
from bp_arrays.command_line._schema import Schema
from bp_arrays.command_line._score import Score, score_predictions
from bp_arrays.command_line._streams import write_utf8
from bp_arrays.devices import ask_for_float64
from bp_arrays.errors import DataError
from bp_arrays.files import write_atomically
from bp_arrays.inputs import first_not_finite
from bp_arrays.model import ends_in_ensemble
from bp_arrays.readers import Table
from bp_arrays.typing import HostArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays predict`."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a model file (safetensors)")
    add(
        "data",
        metavar="DATA",
        help="as for train; a .csv or .parquet file needs the columns of the training data, in "
        "any order; it may have more columns, and the target",
    )
    add("--out", type=Path, metavar="FILE.csv", help="write to this file, not to the screen")
    add("--report", type=Path, metavar="FILE.json", help="write the score, if the data has "
        "targets; prints the confusion matrix too")  # fmt: skip
    add("--plot", type=Path, metavar="FILE.png", help="draw the confusion matrix (extra: plot)")
    add("--sep", type=options.separator, metavar="CHARACTER",
        help="the delimiter of a .csv file, or tab (default: , ; or tab)")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, cuda, ...: see bp-arrays devices")


def run(args: argparse.Namespace) -> int:
    """Predict; if the data has targets, score the predictions too."""
    outputs = {"--out": args.out, "--report": args.report, "--plot": args.plot}
    check_outputs(outputs, args.data, str(args.model))
    if args.report is not None:
        check_report(args.report, (".json",))
    if args.plot is not None:
        check_plot(args.plot)
    ask_for_float64()  # the model may be of it
    model = opened_model(args.model, args.device)
    check_no_text(model, args.model)
    schema = Schema.from_metadata(model.metadata, args.model)
    data = matching_data(model, schema, args.data, sep=args.sep)
    y = model.predict(samples_of(data, model))
    if y.ndim == 3 and ends_in_ensemble(model.net):
        _check_outputs(y, data.source)
        y = schema.mean_of_members(y)
    y = y.reshape(data.rows, -1)
    _check_outputs(y, data.source)
    score = score_predictions(y, data, schema)
    _check_options(args, score, data.source)
    header, table = _table(y, schema)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    if args.out is None:
        write_utf8(text.getvalue())
    else:
        write_atomically(args.out.resolve(), text.getvalue().encode())
    # stdout may be a pipe into another program: messages go to stderr then
    messages = sys.stderr if args.out is None else sys.stdout
    if score is not None and args.report is not None:
        report = {"model": str(args.model), "data": data.source, "rows": data.rows}
        write_atomically(args.report.resolve(), to_json(report | score.to_json()))
        if score.confusion is not None:
            print(score.confusion, file=messages)
    if score is not None and score.confusion is not None and args.plot is not None:
        score.confusion.plot(path=args.plot)
    if isinstance(data, Table):
        for note in data.notes:
            print(f"{data.source}: {note}", file=messages)
    where = f"; written to {args.out}" if args.out else ""
    summary = f": {score.summary}" if score else ""
    if data.feature_names and not schema.feature_names:
        print("columns matched by position: the model knows no names", file=messages)
    print(f"predicted {data.rows} rows{summary}{where}", file=messages)
    return 0


def _check_outputs(y: HostArray, source: str) -> None:
    """Raise DataError if an output is not finite: its class and probability would mean nothing."""
    bad = first_not_finite(y)
    if bad is not None:
        raise DataError(
            f"{source}, row {bad[0]} (counted from 0): expected a finite output of the model, got "
            f"{y[bad]}; check the features of this row: they are probably far outside the range of "
            "the training data"
        )


def _check_options(args: argparse.Namespace, score: Score | None, source: str) -> None:
    """Raise DataError, before any file is written, if --report or --plot has nothing to show."""
    if score is None and (args.report or args.plot):
        option = "--report" if args.report else "--plot"
        raise DataError(f"{option}: expected targets to score the predictions, {source} has none")
    if args.plot and score is not None and score.confusion is None:
        raise DataError(f"--plot: expected classes for a confusion matrix, {source} has values")


def _table(y: HostArray, schema: Schema) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the CSV."""
    if schema.classes is not None:
        probabilities = schema.probabilities(y)
        best = np.argmax(probabilities, axis=1)
        return ["prediction", "probability"], [
            [schema.classes[k], f"{p:.6f}"]
            for k, p in zip(best, probabilities[np.arange(len(y)), best], strict=True)
        ]
    header = list(schema.target_names)
    if len(header) != y.shape[1]:
        header = [f"output_{k}" for k in range(y.shape[1])]
    if len(header) == 1:
        header = ["prediction"]
    # as text: the fewest digits that read back as the same number
    return header, schema.predictions(y).astype(str).tolist()
