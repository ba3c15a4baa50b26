"""Apply a model that `bp-arrays train --out` saved to data: one line of CSV for each row."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from bp_arrays.command_line._match_columns import matching_data
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.command_line._plotting import check_plot
from bp_arrays.command_line._report import to_json
from bp_arrays.command_line._schema import Meaning
from bp_arrays.command_line._score import Quality, quality_of
from bp_arrays.errors import DataError
from bp_arrays.files import write_atomically
from bp_arrays.model import load
from bp_arrays.typing import HostArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bp-arrays predict`."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a model file (safetensors)")
    add(
        "data",
        metavar="DATA",
        help="as for train; a .csv or .parquet file needs the columns of the training in any "
        "order, others and the target may be there",
    )
    add("--out", type=Path, metavar="FILE.csv", help="write here instead of to the screen")
    add("--report", type=Path, metavar="FILE.json", help="how well, if the targets are there; "
        "prints the confusion matrix too")  # fmt: skip
    add("--plot", type=Path, metavar="FILE.png", help="the confusion matrix (extra: plot)")
    add("--device", default="auto", help="auto, cpu, cuda, ...: see bp-arrays devices")


def run(args: argparse.Namespace) -> int:
    """Predict and, if the data has the targets, say how well."""
    outputs = {"--out": args.out, "--report": args.report, "--plot": args.plot}
    check_outputs(outputs, args.data, str(args.model))
    if args.plot is not None:
        check_plot(args.plot)
    model = load(args.model, args.device)
    meaning = Meaning.from_metadata(model.metadata, args.model)
    data = matching_data(model, meaning, args.data)
    y = model.predict(data.x.reshape(data.rows, *model.input_shape)).reshape(data.rows, -1)
    quality = quality_of(y, data, meaning)
    _check_asked(args, quality, data.source)
    header, table = _table(y, meaning)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    if args.out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_atomically(args.out.resolve(), text.getvalue().encode())
    # the screen may be a pipe into another program: what is for people goes beside it
    people = sys.stderr if args.out is None else sys.stdout
    if quality is not None and args.report is not None:
        report = {"model": str(args.model), "data": data.source, "rows": data.rows}
        write_atomically(args.report.resolve(), to_json(report | quality.to_json()))
        if quality.confusion is not None:
            print(quality.confusion, file=people)
    if quality is not None and quality.confusion is not None and args.plot is not None:
        quality.confusion.plot(path=args.plot)
    where = f"; written to {args.out}" if args.out else ""
    how_well = f": {quality.words}" if quality else ""
    print(f"predicted {data.rows} rows{how_well}{where}", file=people)
    return 0


def _check_asked(args: argparse.Namespace, quality: Quality | None, source: str) -> None:
    """Raise DataError, before anything is written, if what was asked for cannot be known."""
    if quality is None and (args.report or args.plot):
        option = "--report" if args.report else "--plot"
        raise DataError(f"{option}: {source} has no targets to compare the predictions with")
    if args.plot and quality is not None and quality.confusion is None:
        raise DataError(f"--plot draws which classes are confused; {source} has values to predict")


def _table(y: HostArray, meaning: Meaning) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the CSV."""
    if meaning.classes is not None:
        probabilities = meaning.probabilities(y)
        best = np.argmax(probabilities, axis=1)
        return ["prediction", "probability"], [
            [meaning.classes[k], f"{p:.6f}"]
            for k, p in zip(best, probabilities[np.arange(len(y)), best], strict=True)
        ]
    header = list(meaning.target_names)
    if len(header) != y.shape[1]:
        header = [f"output_{k}" for k in range(y.shape[1])]
    if len(header) == 1:
        header = ["prediction"]
    return header, y.astype(str).tolist()  # the shortest digits that give the same number
