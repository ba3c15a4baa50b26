"""Train a network on the digits, on the notes' task, or on a file."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import numpy as np

from bp_arrays.activations import ACTIVATIONS
from bp_arrays.command_line import _options as options
from bp_arrays.command_line._main import FAILED, INTERRUPTED
from bp_arrays.command_line._messages import captured_log, warnings_on_stderr
from bp_arrays.command_line._output_files import check_outputs
from bp_arrays.command_line._plotting import check_plot, plot
from bp_arrays.command_line._precision import dtype_for
from bp_arrays.command_line._recipe import (
    NETWORKS,
    SCHEDULES,
    build_layers,
    build_loss,
    build_optimizer,
    choices,
    learning_rate,
    recipe_for,
    targets_for,
)
from bp_arrays.command_line._report import check_report, report_in
from bp_arrays.command_line._schema import RATE, Schema
from bp_arrays.command_line._standardizing import ColumnStatistics
from bp_arrays.command_line._target_device import target_device
from bp_arrays.command_line._target_units import TargetUnits, errors_of, value_scores
from bp_arrays.command_line._train_text import TextTraining, is_text
from bp_arrays.command_line._training_job import TrainingJob, TrainingResult, last_line, plan
from bp_arrays.distributed import ProcessGroup, group_named, launched_by
from bp_arrays.errors import BpArraysError, DataError, InputError, NonFiniteLossError
from bp_arrays.files import write_atomically
from bp_arrays.inputs import SelectedRows, first_not_finite
from bp_arrays.layers import Sequential, Standardize
from bp_arrays.losses import LOSSES
from bp_arrays.model import Model, check_compute_dtype
from bp_arrays.optimizers import OPTIMIZERS
from bp_arrays.readers import (
    BUILT_IN,
    Dataset,
    Table,
    is_table,
    open_dataset,
    read,
    split,
    table_names,
)
from bp_arrays.tables import MISSING, Missing, first_names
from bp_arrays.training import (
    R2,
    Accuracy,
    Checkpoint,
    ConfusionMatrix,
    EarlyStopping,
    Metric,
    evaluate,
    fit,
)
from bp_arrays.typing import Array, HostArray

Job = TypeVar("Job")

DEFAULT_MISSING: Missing = "median"
"""The default of --missing: unlike the mean, a few huge values do not move it."""

DEVICE_BYTES = 2**30
"""Samples of up to this many bytes in float32 are moved to the device before training."""

PATIENT_VALIDATION = 0.1
"""The default of --validation with --patience, and of large tables."""

MANY_ROWS = 5000
"""Rows of a table from which training watches validation rows, and stops early."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bp-arrays train`."""
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        help="digits, notes, or a file: .csv, .parquet, .npz, X.npy,T.npy, IDX images; or a text, "
        ".txt, for a small GPT that learns to write it",
    )
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--target", metavar="COLUMN", help="the column of a .csv or .parquet file to predict")
    add(
        "--columns",
        type=options.names,
        metavar="NAME,NAME",
        help="the columns of a table to learn from (default: all that can be: numbers, true and "
        "false, and texts that recur)",
    )
    add("--drop", type=options.names, metavar="NAME,NAME", help="columns of a table to leave out")
    add(
        "--missing",
        choices=MISSING,
        help="missing values of a table: numbers filled with the median or mean of the training "
        "rows, texts a category of their own; or drop their rows; or an error (default: "
        f"{DEFAULT_MISSING})",
    )
    add(
        "--sep",
        type=options.separator,
        metavar="CHARACTER",
        help="the delimiter of a .csv file, or tab (default: , ; or tab)",
    )
    add(
        "--task",
        choices=("classification", "regression"),
        help="the task of a file (default: inferred from the target)",
    )
    add(
        "--test",
        type=options.fraction,
        metavar="FRACTION",
        help="fraction of rows held out for testing (default: 0.2, or the data's own test rows)",
    )
    add(
        "--validation",
        type=options.fraction,
        metavar="FRACTION",
        help="fraction of the other rows used for validation (default: 0, or 0.1 with --patience "
        "and for tables of 5000 rows or more)",
    )
    add(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="standardize inputs, and targets that are values, with the mean and the standard "
        "deviation of the training rows; the saved model takes and gives the units of the data "
        "(default: on, except for notes)",
    )

    group = parser.add_argument_group("network and training")
    add = group.add_argument
    add(
        "--network",
        choices=NETWORKS,
        help="dense, or convolutional for images: two convolutions and pooling before the hidden "
        "layers, with defaults of its own (default: dense)",
    )
    add(
        "--layers",
        type=options.sizes,
        metavar="N,N",
        help="sizes of the hidden layers, or none (default: 128,64, or 32 for fewer than 1000 "
        "training rows; notes: 3; texts: the width of each block, 128,128,128,128)",
    )
    add(
        "--activation",
        metavar="NAME",
        help=f"activation of the hidden layers: {choices(ACTIVATIONS)} (default: relu; notes: "
        "sigmoid)",
    )
    add(
        "--window",
        type=options.count,
        metavar="N",
        help="characters that a network of texts looks back (default: 64)",
    )
    add(
        "--dropout",
        type=options.fraction,
        metavar="FRACTION",
        help="dropout after each hidden layer (default: 0)",
    )
    add(
        "--loss",
        metavar="NAME",
        help=f"the loss: {choices(LOSSES)} (default: cross_entropy for classes, "
        "mean_squared_error for values; notes: l2); of standardized targets, so that the "
        "threshold of huber is one standard deviation, but printed in the units of the data",
    )
    add(
        "--optimizer",
        metavar="NAME",
        help=f"the optimizer: {choices(OPTIMIZERS)} (default: adamw; notes: sgd)",
    )
    add(
        "--rate",
        type=options.positive,
        help="learning rate (default: 0.003 with adamw or adam; notes: 2)",
    )
    add(
        "--weight-decay",
        type=options.at_least_zero,
        metavar="X",
        help="decay of the weights by adamw (default: for fewer than 1000 training rows 1, or 0.1 "
        "if the targets are classes; for more 100 / rows)",
    )
    add(
        "--schedule",
        metavar="NAME",
        help=f"learning-rate schedule: {', '.join(SCHEDULES)} (default: cosine; notes: constant)",
    )
    add(
        "--epochs",
        type=options.count,
        help="number of epochs (default: 30, more for fewer than 1000 training rows, to make at "
        "least 1000 updates; notes: 1500)",
    )
    add(
        "--batch",
        type=options.count,
        help="rows per step (default: 32, up to 512 for many rows; notes: 4)",
    )
    add(
        "--accumulate",
        type=options.count,
        metavar="BATCHES",
        help="batches per update, as one larger batch in the memory of one (default: 1)",
    )
    add(
        "--patience",
        type=options.count,
        metavar="EPOCHS",
        help="stop after this many epochs without a better validation loss, and restore the best "
        "(default: for tables of 5000 rows or more, without --validation, a fifth of the epochs)",
    )
    add(
        "--average",
        type=options.at_least_zero,
        metavar="EPOCHS",
        help="average the weights over about this many epochs, for the validation and the trained "
        "model (default: a tenth of the epochs with --patience and for tables of 5000 rows or "
        "more, else 0)",
    )
    add(
        "--seed",
        type=options.seed,
        default=0,
        help="seed of all random numbers, the same on every device (default: 0)",
    )
    add(
        "--distributed",
        choices=("auto", "mpi", "nccl", "none"),
        default="auto",
        help="how processes train together that mpiexec (mpi) or torchrun (nccl) has started: "
        "each computes its share of every batch (default: auto, by who started them)",
    )
    add("--device", default="auto", help="auto, cpu, cuda, ...: see bp-arrays devices")
    add(
        "--dtype",
        help="float32 or float64 (default: float32, or float64 for values that float32 cannot "
        "tell apart)",
    )
    add(
        "--compute-dtype",
        metavar="DTYPE",
        help="bfloat16 or float16: mixed precision, the layers compute in it and all else in "
        "float32 (default: compute in --dtype)",
    )

    group = parser.add_argument_group("long training runs")
    add = group.add_argument
    add(
        "--checkpoint",
        type=Path,
        metavar="FOLDER",
        help="save the whole state of training to this folder, again and again, and on Ctrl-C",
    )
    add(
        "--checkpoint-every",
        default=None,
        metavar="INTERVAL",
        help='how often, such as "2 epochs", "500 steps" or "10 minutes" (default: "1 epoch")',
    )
    add(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="continue from the newest intact checkpoint of this folder, with the same data and "
        "options; --epochs counts from the beginning and may be larger",
    )

    group = parser.add_argument_group("results")
    add = group.add_argument
    add("--out", type=Path, metavar="MODEL", help="save the model to this file (safetensors)")
    add(
        "--report",
        type=Path,
        metavar="FILE",
        help="write all settings and results, as a page to FILE.html, or to FILE.json; prints the "
        "confusion matrix",
    )
    add(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw the curves and the confusion matrix (extra: plot)",
    )
    add("--quiet", action="store_true", help="print only the last line")


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, save, report; the exit code is 130 if Ctrl-C stopped the training run.

    Of several processes the first one prints and writes files.
    """
    group = _process_group(args.distributed)
    if group is None:
        return _run(args, None)
    try:
        with group.guard():
            return _run(args, group)
    except (BpArraysError, OSError):  # of all processes: one that fails alone ends the others
        if group.rank == 0:
            raise
        return FAILED


def _process_group(name: str) -> ProcessGroup | None:
    """Return the processes that train together; None for a single one."""
    if name == "auto":
        name = launched_by()
    group = None if name == "none" else group_named(name)
    return None if group is None or group.size == 1 else group


def _run(args: argparse.Namespace, group: ProcessGroup | None) -> int:
    if is_text(args.data):
        return _run_text(args, group)
    if args.window is not None:
        raise InputError(f"--window: expected a text, .txt, got {args.data}; drop --window")
    job, checkpoint = _begun(args, group, prepare, plan)
    with warnings_on_stderr():
        result = train(job, progress=not args.quiet, checkpoint=checkpoint, resume=args.resume)
    code = INTERRUPTED if result.history.stopped == "interrupted" else 0
    if group is not None and group.rank > 0:
        return code
    if args.out is not None:
        result.model.save(args.out.resolve())
    if args.report is not None:
        write_atomically(args.report.resolve(), report_in(args.report, job, result, args.out))
        if result.confusion is not None and not args.quiet:
            print(result.confusion)
    if args.plot is not None:
        plot(result, f"{job.network} on {job.name}", args.plot)
    print(last_line(job, result, saved=args.out))
    return code


def _run_text(args: argparse.Namespace, group: ProcessGroup | None) -> int:
    training, checkpoint = _begun(args, group, TextTraining, TextTraining.plan)
    history = training.train(checkpoint)
    if group is None or group.rank == 0:
        training.save(history)
        print(training.last_line(history))
    return INTERRUPTED if history.stopped == "interrupted" else 0


def _begun(
    args: argparse.Namespace,
    group: ProcessGroup | None,
    prepare: Callable[[argparse.Namespace, ProcessGroup | None], Job],
    plan: Callable[[Job], str],
) -> tuple[Job, Checkpoint | None]:
    """Check every option, prepare the training run, and print its plan."""
    is_first = group is None or group.rank == 0
    # an error must be the only line on stderr
    with nullcontext() if group is None else group.checked_together(), captured_log() as records:
        checkpoint = _checkpoint(args)
        if is_first:
            outputs = {"--out": args.out, "--report": args.report, "--plot": args.plot}
            check_outputs(outputs, args.data)
            if args.report is not None:
                check_report(args.report)
            if args.plot is not None:
                check_plot(args.plot)
        job = prepare(args, group)
    if is_first and not args.quiet:
        sys.stderr.writelines(f"bp-arrays: {record.getMessage()}\n" for record in records)
        print(plan(job), flush=True)
    return job, checkpoint


def prepare(args: argparse.Namespace, group: ProcessGroup | None = None) -> TrainingJob:
    """Check every option, read the data, and build the training run."""
    unsized = recipe_for(args)
    target = target_device(args, group)
    requested = args.dtype
    if args.compute_dtype is not None:
        requested = requested or "float32"
        check_compute_dtype("bp-arrays train", args.compute_dtype, requested)
        target.dtype(args.compute_dtype)
    data = _data(args)
    check_classes(data)
    validation, stops_early = args.validation, bool(args.patience)
    if validation is None:
        stops_early |= isinstance(data, Table) and data.rows >= MANY_ROWS
        validation = PATIENT_VALIDATION if stops_early else 0.0
    parts = split(data, test=args.test, validation=validation, seed=args.seed)
    recipe = unsized.sized(
        len(parts.train), of_classes=data.classes is not None, stops_early=stops_early
    )
    if isinstance(data, Table):
        data = data.learned_from(parts.train)
    loss = build_loss(recipe, data)
    layers = build_layers(recipe, loss, data)
    t, units, net = targets_for(loss, data), None, Sequential(*layers)
    features = ColumnStatistics.of(SelectedRows(data.x, parts.train), one_unit=data.one_unit)
    if isinstance(data, Table):  # 0 and 1 stay so: a rare category would become a huge number
        features = features.without(np.array(data.spec.is_indicator))
    targets = None if data.classes else ColumnStatistics.of(t[parts.train])
    dtype = dtype_for(data, features, targets, target, requested)
    if targets is not None and isinstance(layers[-1], Standardize):
        units, net = TargetUnits(targets, loss), Sequential(*layers[:-1])
        t = units.standardized(t)
    model = Model(
        net,
        data.x.shape[1],
        device=target,
        dtype=dtype,
        seed=args.seed,
        compute_dtype=args.compute_dtype,
    )
    model.metadata = Schema.of(data, loss if units is None else units.user_loss).to_metadata()
    model.metadata[RATE] = f"{learning_rate(recipe):g}"
    if isinstance(data, Table):
        model.metadata |= data.metadata
    if isinstance(layers[0], Standardize):
        model.set_parameters(features.parameters("0"))
    updates = -(-len(parts.train) // (recipe.batch * recipe.accumulate))
    return TrainingJob(
        name=args.data,
        data=data,
        parts=parts,
        recipe=recipe,
        t=t,
        units=units,
        layers=layers,
        loss=loss,
        optimizer=build_optimizer(recipe, recipe.epochs * updates),
        model=model,
        seed=args.seed,
        group=group,
        patience=args.patience or (max(5, recipe.epochs // 5) if stops_early else None),
    )


def _checkpoint(args: argparse.Namespace) -> Checkpoint | None:
    """Return the checkpoint settings of the options, if there are any."""
    if args.checkpoint is None:
        if args.checkpoint_every is not None:
            raise InputError("--checkpoint-every: requires --checkpoint FOLDER")
        return None
    return Checkpoint(args.checkpoint, every=args.checkpoint_every or "1 epoch")


def train(
    job: TrainingJob,
    *,
    progress: bool,
    checkpoint: Checkpoint | None = None,
    resume: Path | None = None,
) -> TrainingResult:
    """Train, then evaluate the trained model on the training rows and on the test rows."""
    metrics: tuple[Metric, ...] = (Accuracy(),) if job.data.classes else (R2(),)
    if job.units is not None:
        metrics += (job.units.metric,)
    training, validation, test = (
        (_moved(job.model, SelectedRows(job.data.x, rows)), job.t[rows]) for rows in job.parts[:3]
    )
    started = time.perf_counter()
    history = fit(
        job.model,
        *training,
        loss=job.loss,
        optimizer=job.optimizer,
        epochs=job.recipe.epochs,
        batch_size=job.recipe.batch,
        seed=job.seed,
        validation=validation if len(validation[1]) else None,
        metrics=metrics,
        callbacks=[EarlyStopping(job.patience)] if job.patience else [],
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        accumulate=job.recipe.accumulate,
        distributed=job.group,
    )
    seconds = time.perf_counter() - started

    model = job.model if job.units is None else job.units.model_in_units(job.model)

    def scores(rows: str, x: Array, t: HostArray) -> dict[str, float]:
        if not len(t):
            return {}
        if job.data.classes is None:
            y = model.device.to_numpy(model.predict(x))
            _check_finite(first_not_finite(y) is None, f"outputs on the {rows} rows are")
            in_units = t if job.units is None else job.units.in_units(t)
            return value_scores(y, t, job.loss, job.units) | errors_of(y, in_units)
        values = evaluate(model, x, t, loss=job.loss, metrics=metrics)
        _check_finite(math.isfinite(values["loss"]), f"loss on the {rows} rows is")
        return values

    scores("validation", *validation)  # for its check: the history has the scores
    outputs = model.device.to_numpy(model.predict(test[0])) if len(test[1]) else None

    return TrainingResult(
        model=model,
        history=history if job.units is None else job.units.history_in_units(history),
        train=scores("training", *training),
        test=scores("test", *test),
        seconds=seconds,
        confusion=None if outputs is None else _confusion(job, outputs),
        outputs=outputs,
    )


def _confusion(job: TrainingJob, outputs: HostArray) -> ConfusionMatrix | None:
    """Return the confusion matrix of the outputs on the test rows, if they are of classes."""
    if job.data.classes is None or job.data.t is None:
        return None
    return ConfusionMatrix.of(job.data.t[job.parts.test], outputs.argmax(axis=1), job.data.classes)


def _check_finite(is_finite: bool, what: str) -> None:
    """Raise NonFiniteLossError: `fit` measures the loss before each update, not after the last."""
    if not is_finite:
        raise NonFiniteLossError(
            f"the trained model's {what} NaN or infinite: it is not saved; a smaller --rate or "
            "data on a common scale usually help"
        )


def _data(args: argparse.Namespace) -> Dataset:
    """Read the data; a table with the options for its columns."""
    if args.data not in BUILT_IN and is_table(args.data):
        if args.target is None:
            raise DataError(
                f"{args.data}: expected the name of the target column; use --target with one of: "
                f"{first_names(table_names(args.data, args.sep))}"
            )
        return read(
            args.data,
            target=args.target,
            columns=args.columns,
            drop=args.drop or (),
            missing=args.missing or DEFAULT_MISSING,
            task=args.task,
            sep=args.sep,
            standardize=False,  # a layer of the model does it
        )
    for option in ("columns", "drop", "missing"):
        if getattr(args, option) is not None:
            raise InputError(
                f"--{option}: expected a .csv or .parquet file, got {args.data}; drop --{option}"
            )
    return open_dataset(args.data, target=args.target, task=args.task, sep=args.sep)


def check_classes(data: Dataset) -> None:
    """Raise DataError for data with a single class."""
    if data.classes is not None and len(data.classes) < 2:
        raise DataError(
            f"{data.source}: expected two classes or more, got only {data.classes[0]!r}; "
            "choose another target, or --task regression"
        )


def _moved(model: Model, x: SelectedRows) -> Array:
    """Move samples to the model's device at once if they are small enough; `fit` does it else."""
    fits = math.prod(x.shape) * np.dtype(np.float32).itemsize <= DEVICE_BYTES and len(x) > 0
    return model.device.asarray(x, model.dtype) if fits else x
