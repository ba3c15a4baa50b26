"""Apply a model that `bp-arrays train --out` saved to data: one line of CSV for each row."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np

from bp_arrays.command_line.matching import matching_data
from bp_arrays.command_line.meaning import HostArray, Meaning
from bp_arrays.command_line.outputs import check_outputs
from bp_arrays.data import Dataset
from bp_arrays.model import load
from bp_arrays.model.files import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bp-arrays predict`."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="a model file (safetensors)")
    add(
        "data",
        metavar="DATA",
        help="as for train; a .csv file needs the columns of the training in any order, others "
        "and the target may be there",
    )
    add("--out", type=Path, metavar="FILE.csv", help="write here instead of to the screen")
    add("--device", default="auto", help="auto, cpu, cuda, ...: see bp-arrays devices")


def run(args: argparse.Namespace) -> int:
    """Predict and, if the data has the targets, say how well."""
    check_outputs({"--out": args.out}, args.data, str(args.model))
    model = load(args.model, args.device)
    meaning = Meaning.from_metadata(model.metadata, args.model)
    data = matching_data(model, meaning, args.data)
    y = model.predict(data.x.reshape(data.rows, *model.input_shape)).reshape(data.rows, -1)
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
    where = f"; written to {args.out}" if args.out else ""
    print(f"predicted {data.rows} rows{_quality(y, data, meaning)}{where}", file=people)
    return 0


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


def _quality(y: HostArray, data: Dataset, meaning: Meaning) -> str:
    """How the predictions compare with the targets in the data, in words; "" without targets."""
    if data.t is None:
        return ""
    if meaning.classes is not None and data.classes is not None:
        names = np.array(meaning.classes)[np.argmax(meaning.probabilities(y), axis=1)]
        right = names == np.array(data.classes)[data.t]
        unknown = sorted(set(data.classes) - set(meaning.classes))
        note = f" (classes the model does not know: {', '.join(unknown[:5])})" if unknown else ""
        return f": accuracy {right.mean():.2%}{note}"
    if meaning.classes is None and data.classes is None and data.t.shape == y.shape:
        return f": mean squared error {np.square(y - data.t).mean():.4g}"
    return ""
