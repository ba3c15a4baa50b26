"""`fit`: the training loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bp_arrays.checks import as_integer
from bp_arrays.data import Feed, Order, Table, as_batches
from bp_arrays.devices import memory_advice
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError, warn
from bp_arrays.inputs import BatchSpec
from bp_arrays.layers import Standardize, walk
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import EMA, Optimizer, TrainingState
from bp_arrays.training._agreement import as_text, share_parameters
from bp_arrays.training._evaluate import EVALUATION_ROWS, evaluate_feed, nothing
from bp_arrays.training._history import History, joined_series
from bp_arrays.training._metrics import Metric, with_part_losses
from bp_arrays.training._parts import SHARING, Division, shares_blocks
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._progress import Progress
from bp_arrays.training._table import check_table
from bp_arrays.training._trainer import KEPT, Trainer, check_group, checked_together, guarded
from bp_arrays.training.callbacks import Callback, EarlyStopping, Run, called_back
from bp_arrays.training.checkpoints import (
    Checkpoint,
    Session,
    Setting,
    as_checkpoint,
    recorded_series,
    setting,
)

SMALLER_VALIDATION = "smaller batches, validation=[(x1, t1), (x2, t2), ...]"


def fit(
    model: Model,
    x: Any,
    t: Any = None,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool | Order | None = None,
    seed: int = 0,
    sample_weight: Any = None,
    penalty: L2Penalty | None = None,
    validation: Any = None,
    metrics: Sequence[Metric] = (),
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool = False,
    compiled: bool = True,
    accumulate: int = 1,
    distributed: ProcessGroup | None = None,
) -> History:
    """Train a model: for each batch forward, backward, and the update u ← u − η∇L.

    Called again with the same optimizer object, training continues where it stopped: two calls
    of five epochs are one of ten. For loops of another shape see `bp.Trainer`.

    Parameters
    ----------
    model : Model
        Its parameters are replaced after every batch.
    x : array (rows, *input_shape), tuple or dict of arrays, bp.data.Batches, or batches
        Host data, moved in batches: NumPy, memory-mapped files, lists, data frames, sparse
        matrices, what speaks DLPack; or an array on the model's device. A tuple or dict of them
        for a net of several inputs. All of it is checked before training begins. Or batches:
        (x, t) or (x, t, sample_weight), where x may be a tuple or dict, from anything that can
        be iterated over once per epoch; they, and blocks on disk (`bp.data.Blocks`), are checked
        as they come. A tuple with t is several inputs; a list or tuple of tuples without t is
        batches.
    t : array, or dict or tuple of arrays
        Targets for arrays, as the loss expects them: classes (rows,), or values
        (rows, *output_shape). A dict or tuple for a net of several outputs, as `CombinedLoss`.
    loss : Loss
    optimizer : Optimizer
    epochs : int, default 1
        Passes over the rows.
    batch_size : int, default 32
        Rows per step; the last batch of an epoch may be smaller. Batches have their own size.
    shuffle : bool or function, default True
        Whether each epoch has a new order of the rows, drawn on the host from `seed`; or a custom
        order: a function from the number of the epoch, counted from 0 over all calls, to an array
        of row numbers (rows,).
    seed : int, default 0
        Seed of the order of the rows and of Dropout's masks, which are the same on every device.
    sample_weight : array (rows,), or (rows, ...) of positions, optional
        The weight of each sample in the loss and the metrics, >= 0; in float32 in models of half
        precision. Weights near the ends of their dtype are refused, such as 1e-50 in float32.
    penalty : L2Penalty, optional
        A penalty on large weights, part of the recorded "loss", not of "val_loss".
    validation : (x, t) or (x, t, sample_weight), or batches as x may be, optional
        A tuple is always (x, t) or (x, t, sample_weight); batches come in a list or an iterable.
        Validation data, evaluated after each epoch: "val_loss" and the metrics as "val_...".
    metrics : sequence of Metric, optional
    callbacks : sequence of Callback, optional
    checkpoint : Checkpoint, optional
        Saves the whole state of training to a folder while it runs.
    resume : path, optional
        A folder of checkpoints: training continues from the newest one that is intact, as if it
        had never stopped. The model, the data and the settings must be those of the run that
        wrote it; `epochs` counts from its beginning, and may be larger.
    progress : bool, default False
        Whether to show a progress bar, in a terminal (on stderr) or in a notebook.
    compiled : bool, default True
        False runs every step operation by operation instead of replayed, compiled or captured,
        for example to debug a custom layer.
    accumulate : int, default 1
        Batches per update: their gradients are added up, so that an update is that of one batch of
        all their rows, in the memory of one of them. Learning rates count updates. If an epoch
        leaves fewer batches over, its last update is by those.
    distributed : ProcessGroup, optional
        The processes that train together, such as `bp.MPI()`: each computes its share of the rows
        of every batch, and all make the same updates. `batch_size` stays the size of the whole
        batch. See [several processes](../distributed.md).

    Returns
    -------
    History
        After Ctrl-C, the history so far, with `history.stopped == "interrupted"`.

    Raises
    ------
    InputError, DeviceMismatchError
        For data, targets or settings that do not fit, before training starts; for batches and
        blocks when they are read: then the model keeps the updates made before.
    OutOfMemoryError
        If a batch needs more memory than there is: the message has the size of the batch and of
        the allocation; the model keeps the parameters of the last step.
    NonFiniteLossError
        If the loss becomes NaN or infinite: the message names the epoch, the batch and the first
        layer whose output is not finite; the model keeps the last parameters with a finite loss.
        The last update of an epoch is checked too. With `EarlyStopping` the model keeps the
        parameters of the best epoch.

    Warns
    -----
    BpArraysWarning
        If the net ends in an activation that the loss applies itself, such as Softmax before
        CrossEntropy: training works, but badly. If a Standardize has neither mean nor scale.

    Notes
    -----
    In parts, by `accumulate` or `distributed`, BatchNorm normalizes each part by itself, and the
    loss must be one of each sample by itself, which `Contrastive` is not.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1), input_shape=(1,), device="cpu", seed=0)
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.5), epochs=200, batch_size=2)
    >>> model.parameters["weight"].round(3).tolist(), history["loss"][-1] < 1e-6
    ([[2.0]], True)
    """
    check_group("fit", distributed)
    with guarded(distributed):
        return _fit(
            model,
            (x, t, sample_weight),
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            penalty=penalty,
            validation=validation,
            metrics=metrics,
            callbacks=callbacks,
            checkpoint=checkpoint,
            resume=resume,
            progress=progress,
            compiled=compiled,
            accumulate=accumulate,
            group=distributed,
        )


def _fit(
    model: Model,
    samples: tuple[Any, Any, Any],
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    batch_size: int | None,
    shuffle: bool | Order | None,
    seed: int,
    penalty: L2Penalty | None,
    validation: Any,
    metrics: Sequence[Metric],
    callbacks: Sequence[Callback],
    checkpoint: Any,
    resume: Any,
    progress: bool,
    compiled: bool,
    accumulate: int,
    group: ProcessGroup | None,
) -> History:
    with checked_together(group):
        epochs = as_integer("fit", "epochs", epochs, at_least=1)
        _check_callbacks(callbacks)
        checkpoint = as_checkpoint(checkpoint)
        metrics = with_part_losses(metrics, loss)
        accumulate = as_integer("fit", "accumulate", accumulate, at_least=1)
    before = model.training_state
    with memory_advice("fit", model.device, batch_size, KEPT):
        trainer = Trainer(
            model,
            loss=loss,
            optimizer=optimizer,
            penalty=penalty,
            seed=seed,
            metrics=metrics,
            compiled=compiled,
            accumulate=accumulate,
            distributed=group,
        )
    with checked_together(group), _restored_state(model, before):
        spec = BatchSpec.of(model, loss, metrics)
        data = as_batches(*samples, batch_size=batch_size, shuffle=shuffle, seed=seed)
        rows = data.batch_size
        if isinstance(samples[0], Table):
            check_table(validation, samples[0].spec, "fit(validation=)")
        with memory_advice("fit", model.device, rows, KEPT):  # targets are moved there at once
            feed = data.feed(spec)
            validation_feed = _validation_feed(validation, spec)
        _check_passes(feed, validation_feed, epochs)
    _warn_of_identities(model)
    if group is not None:
        group.require_same(
            data=_fingerprint(feed),
            validation_data=_fingerprint(validation_feed),
            batch_size=rows,
            epochs=epochs,
            shuffle=as_text(data.shuffle),
            order_seed=data.seed,
            early_stopping=as_text([each for each in callbacks if isinstance(each, EarlyStopping)]),
        )

    division = Division(accumulate, group)
    device, steps = model.device, division.steps(feed, rows)
    run = Run(model, History(), epochs, is_first_process=division.rank == 0)

    def settings() -> list[Setting]:
        return [
            setting("model", _described_model(model), repr(model)),
            setting("data", feed.fingerprint(), _described_rows(feed)),
            setting(
                "validation data",
                None if validation_feed is None else validation_feed.fingerprint(),
                _described_rows(validation_feed),
            ),
            setting("batch size", None if feed.rows is None else rows),
            setting("number of batches per update", None if accumulate == 1 else accumulate),
            setting(SHARING, division.size if shares_blocks(division, feed) else None),
            setting("shuffle", data.shuffle),
            setting("seed", [trainer.seed, data.seed], str(trainer.seed)),
            setting("loss", loss),
            setting("penalty", penalty),
            setting("metrics", list(metrics)),
            setting("optimizer", optimizer),
        ]

    session = Session(trainer, run, callbacks, checkpoint, resume, steps, group)
    # an overflow makes the loss infinite, which raises an error, and an underflow to 0 is meant: no
    # warning of NumPy needed
    quiet = np.errstate(over="ignore", under="ignore", invalid="ignore")
    shown = progress and run.is_first_process
    with (
        _opened(session, settings, recorded_series(metrics, validation_feed), before) as pauses,
        session.interruptible(),
        called_back(callbacks, run),
        quiet,
        Progress(None if steps is None else epochs * steps, enabled=shown) as bar,
    ):
        if isinstance(samples[0], Table):
            model.metadata |= samples[0].metadata
        session.restore_callbacks()
        bar.steps(session.steps_before, math.nan, math.nan)
        try:
            for epoch in range(run.history.epochs + 1, epochs + 1):
                if run.stopped:
                    break
                started = time.perf_counter() - pauses.seconds
                runner = trainer.resume()  # a callback may have trained the model otherwise
                model.use_trained()
                if model.device != device:
                    raise InputError(
                        f"fit: expected the model on {str(device)!r} until training ends, a "
                        f"callback moved it to {str(model.device)!r}; call model.to() afterwards"
                    )
                if model.scales_loss and not pauses.start:
                    model.training_state = runner.state.in_new_epoch(device)
                order = feed.order(data.shuffle, data.seed, runner.state.epoch)
                chosen = order if callable(data.shuffle) else None
                session.check_order(chosen, epoch)
                pauses.begin_epoch(chosen)
                runner.steps_to_come = (epochs + 1 - epoch) * (steps or 0)
                try:
                    with session.interruptible_epoch(), memory_advice("fit", device, rows, KEPT):
                        values = runner.epoch(feed, rows, order, bar, pauses)
                    runner.check_update()
                finally:
                    model.use_averages()
                if model.scales_loss:
                    values["skipped_steps"] = runner.state.skipped_steps
                if validation_feed is not None:
                    validation_rows = max(rows, EVALUATION_ROWS)
                    with memory_advice(
                        "fit(validation=)", device, validation_rows, KEPT, SMALLER_VALIDATION
                    ):
                        measured = evaluate_feed(
                            model,
                            validation_feed,
                            loss=loss,
                            metrics=metrics,
                            rows=validation_rows,
                            between=pauses.in_validation if group is None else nothing,
                            group=group,
                        )
                    values |= {f"val_{name}": value for name, value in measured.items()}
                _finish_epoch(model, values.get("val_loss", values["loss"]))
                run.history.record(values | {"seconds": time.perf_counter() - started})
                bar.epoch(values)
                for callback in callbacks:
                    callback.on_epoch_end(run)
                if group is not None:
                    _agree_on_epoch(group, run, session)
                pauses.end_epoch(last=bool(run.stopped) or epoch == epochs)
                if group is not None:
                    session.interrupts.check()
        finally:
            run.history.compiled_by = trainer.runner.compiled_by
            run.history.not_compiled = trainer.runner.refused
            run.history.blas_threads = trainer.runner.blas_threads
            trainer.runner.keep()
            _keep_history(model, session.earlier, run.history)
    return run.history


@contextmanager
def _opened(
    session: Session,
    settings: Callable[[], list[Setting]],
    series: Any,
    before: TrainingState | None,
) -> Iterator[Pauses]:
    """Open a session; if its checkpoint is refused, the model keeps its training state."""
    with ExitStack() as stack:
        with _restored_state(session.trainer.model, before):
            pauses = stack.enter_context(session.opened(settings, series))
        yield pauses


@contextmanager
def _restored_state(model: Model, before: TrainingState | None) -> Iterator[None]:
    """Give the model its training state back if the data are refused."""
    try:
        yield
    except BaseException:
        model.training_state = before
        raise


def _described_model(model: Model) -> list[Any]:
    described = [model.net, model.inputs, model.dtype]
    return described if model.compute_dtype is None else [*described, model.compute_dtype]


def _fingerprint(feed: Feed | None) -> str:
    return "none" if feed is None else feed.fingerprint()


def _described_rows(feed: Feed | None) -> str:
    if feed is None:
        return "none"
    return "an iterable" if feed.rows is None else f"{feed.rows} rows"


def _keep_history(model: Model, earlier: Mapping[str, Any], history: History) -> None:
    """Keep the history of all calls so far with the training state."""
    state: TrainingState | None = model.training_state
    if state is not None:
        model.training_state = replace(state, history=joined_series(earlier, history))


def _agree_on_epoch(group: ProcessGroup, run: Run, session: Session) -> None:
    """Stop in all processes if a callback or a signal stopped one; check that they have the same
    model."""
    reasons, signals = zip(*group.gather([run.stopped, session.interrupts.pending]), strict=True)
    run.stopped = next((reason for reason in reasons if reason), None)
    session.interrupts.pending = max(signals)
    share_parameters(group, run.model, only_parameters=True)


def _finish_epoch(model: Model, monitored: float) -> None:
    """Count the epoch, and record its loss for learning rates that depend on it."""
    state: TrainingState = model.training_state
    model.training_state = replace(
        state, epoch=state.epoch + 1, monitored=(*state.monitored, monitored)
    )


def _validation_feed(validation: Any, spec: BatchSpec) -> Feed | None:
    """Return the validation data, checked."""
    if validation is None:
        return None
    listed = isinstance(validation, list) and all(isinstance(v, tuple) for v in validation)
    if listed or not isinstance(validation, (tuple, list)):
        return as_batches(validation).feed(spec, what="validation ")
    if not 2 <= len(validation) <= 3:
        raise InputError("validation: expected (x, t) or (x, t, sample_weight)")
    return as_batches(*validation).feed(spec, what="validation ")


def _warn_of_identities(model: Model) -> None:
    """Warn of a Standardize whose mean and scale were never set: it does nothing."""
    layers = [node for node in walk(model.net) if isinstance(node.layer, Standardize)]
    if not layers:
        return
    values = model.host_parameters()
    for node in layers:
        mean, scale = (
            values.get(f"{node.path}.{name}".removeprefix(".")) for name in ("mean", "scale")
        )
        if mean is not None and scale is not None and not mean.any() and (scale == 1.0).all():
            warn(
                f"fit: layer {node.path or 'net'} (Standardize) has the mean 0 and the scale 1 and "
                "does nothing; write Standardize.of(x), or set its parameters 'mean' and 'scale'"
            )


def _check_passes(feed: Feed, validation: Feed | None, epochs: int) -> None:
    for what, batches in (("batches", feed), ("validation batches", validation)):
        if batches is not None and batches.once and epochs > 1:
            raise InputError(
                f"{what}: a generator can be iterated over only once, but epochs={epochs}; pass "
                "an iterable that starts over, such as a list"
            )


def _check_callbacks(callbacks: Any) -> None:
    for each in callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]:
        if isinstance(each, EMA):
            raise InputError(
                "fit(callbacks=): expected callbacks, got an EMA, which is an optimizer around "
                "another one; pass optimizer=bp.EMA(optimizer, decay=...)"
            )
    listed = isinstance(callbacks, Sequence) and not isinstance(callbacks, str)
    if not listed or not all(isinstance(each, Callback) for each in callbacks):
        raise InputError(
            "fit(callbacks=): expected a list of callbacks such as [EarlyStopping()], got "
            f"{callbacks!r:.80}"
        )
