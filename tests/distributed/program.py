"""A program for mpiexec: every process trains alone and together with the others, and compares.

    mpiexec -n 2 python tests/distributed/program.py compare
    mpiexec -n 2 python tests/distributed/program.py fail raise

Prints one line per case from process 0: its name, and "ok" or what was different.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np

import bp_arrays as bp
from bp_arrays.data import ArrayBlocks
from bp_arrays.data._block_feed import BlockFeed
from bp_arrays.inputs import BatchSpec

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(53, 5)), RNG.integers(0, 3, 53)
VALUES, WEIGHT = RNG.normal(size=(53, 2)), RNG.uniform(0.0, 2.0, 53)
WEIGHT[:9] = 0.0
MLP = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.3), bp.Linear(3))
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def trained(
    group=None, net=MLP, x=X, t=CLASSES, shape=5, device="cpu", dtype="float64",
    compute_dtype=None, **options,
):  # fmt: skip
    """Return what a training run has computed, as one vector: parameters and history."""
    model = bp.Model(net, shape, device=device, dtype=dtype, seed=0, compute_dtype=compute_dtype)
    options = {
        "loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "epochs": 2, "batch_size": 16
    } | options  # fmt: skip
    history = bp.fit(model, x, t, distributed=group, **options)
    values = [v for name, v in history.items() if name != "seconds"]
    arrays = map(model.device.to_numpy, (model.vector, model.state_vector))
    return np.concatenate([*arrays, *map(np.asarray, values)]).astype(np.float64)


def same(group, tolerance=1e-10, **options):
    together, alone = trained(group, **options), trained(**options)
    np.testing.assert_allclose(together, alone, rtol=tolerance, atol=tolerance)


@case
def everything_at_once(group):
    same(
        group,
        loss=bp.CrossEntropy(class_weights=(1.0, 3.0, 0.5), label_smoothing=0.1),
        sample_weight=WEIGHT,
        penalty=bp.L2Penalty(0.3),
        optimizer=bp.Chain(bp.ClipByGlobalNorm(0.2), bp.Adam(bp.Cosine(0.05, 8))),
        metrics=[bp.Accuracy()],
        validation=(X[:7], CLASSES[:7], WEIGHT[9:16]),
        callbacks=[bp.EarlyStopping(1)],
        epochs=6,
    )


@case
def float32_without_weights(group):
    same(group, 2e-5, dtype="float32", penalty=bp.L2Penalty(0.1), metrics=[bp.Accuracy()])


@case
def float16(group):
    same(group, 2e-2, dtype="float16", epochs=1, optimizer=bp.SGD(0.05))


@case
def mixed_precision_skips_the_same_steps(group):
    t = VALUES.copy()
    t[: len(t) // 2] *= 300.0  # only some processes have gradients that overflow
    options = {
        "dtype": "float32", "compute_dtype": "float16", "net": bp.Linear(2), "loss": bp.L2Loss(),
        "optimizer": bp.SGD(1e-4), "shuffle": False,
    }  # fmt: skip
    together, alone = (trained(of, t=t, **options) for of in (group, None))
    skipped = together[-2:]  # in each epoch
    assert skipped.tolist() == alone[-2:].tolist() and skipped[0] > 1, (together, alone)
    np.testing.assert_allclose(together, alone, rtol=2e-3, atol=2e-3)


@case
def values_summed(group):
    loss = bp.MeanSquaredError(reduction="sum")
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(2))
    options = {"penalty": bp.L2Penalty(0.1), "metrics": [bp.R2()], "optimizer": bp.SGD(0.01)}
    same(group, net=net, t=VALUES, loss=loss, **options)


@case
def ignored_targets_of_sequences(group):
    t = np.where(RNG_MASK, -100, np.arange(53 * 4).reshape(53, 4) % 3)
    net = bp.Sequential(bp.Linear(4), bp.Dropout(0.5), bp.Linear(3))
    loss = bp.CrossEntropy(ignore_index=-100)
    same(group, net=net, x=SEQUENCES, t=t, shape=(4, 5), loss=loss, metrics=[bp.Accuracy(-100)])


RNG_MASK, SEQUENCES = RNG.uniform(size=(53, 4)) < 0.6, RNG.normal(size=(53, 4, 5))


@case
def several_outputs_of_different_divisors(group):
    t = {"kind": np.where(RNG_MASK[:, 0], -1, CLASSES), "size": VALUES}
    net = bp.Parallel(kind=bp.Linear(3), size=bp.Linear(2))
    losses = {"kind": bp.CrossEntropy(ignore_index=-1), "size": bp.Huber()}
    loss = bp.CombinedLoss(losses, {"size": 0.5})
    for weight in (None, WEIGHT):
        same(group, net=net, t=t, loss=loss, sample_weight=weight)


@case
def batch_statistics_are_those_of_each_part(group):
    net = bp.Sequential(bp.Linear(6), bp.BatchNorm(), bp.ReLU(), bp.Linear(3))
    together = trained(group, net=net, x=X[:48], t=CLASSES[:48], batch_size=24, shuffle=False)
    parts = {"batch_size": 24 // group.size, "accumulate": group.size}
    alone = trained(net=net, x=X[:48], t=CLASSES[:48], shuffle=False, **parts)
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-10)


@case
def accumulated(group):
    options = {"loss": bp.CrossEntropy(class_weights=(1.0, 3.0, 0.5)), "metrics": [bp.Accuracy()]}
    together = trained(group, batch_size=7, accumulate=3, **options)
    alone = trained(batch_size=21, **options)
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-10)


@case
def fewer_rows_than_processes(group):
    same(group, x=X[:2], t=CLASSES[:2], validation=(X[:1], CLASSES[:1]), epochs=3)


@case
def batches_of_an_iterable(group):
    same(group, x=[(X[:20], CLASSES[:20]), (X[20:], CLASSES[20:])], t=None, batch_size=None)


@case
def blocks_that_each_process_reads_alone(group):
    class Counting(ArrayBlocks):
        blocks_read: tuple = ()

        def read(self, block):
            self.blocks_read = (*self.blocks_read, block)
            return super().read(block)

    blocks = Counting(X, CLASSES, block_rows=4)
    together = trained(group, x=blocks, t=None, batch_size=11, epochs=1)
    read = group.gather(list(blocks.blocks_read))
    once = [block for blocks in read for block in blocks[2:]]  # after those of the fingerprint
    assert sorted(once) == list(range(14)), read
    # alone, on the same batches put together
    model = bp.Model(MLP, 5, device="cpu", dtype="float64", seed=0)
    feed = BlockFeed(BatchSpec.of(model, bp.CrossEntropy()), ArrayBlocks(X, CLASSES, block_rows=4))
    each = [list(feed.pieces(11, (0, 0), rank, group.size)) for rank in range(group.size)]
    batches = []
    for pieces in zip(*each, strict=True):
        x, t = zip(*(p.batch[:2] for p in pieces if p.batch is not None), strict=True)
        batches.append((np.concatenate(x), np.concatenate(t)))
    alone = trained(x=batches, t=None, batch_size=None, epochs=1)
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-10)


@case
def on_a_device_operation_by_operation(group):
    same(group, device="strict", epochs=1, penalty=bp.L2Penalty(0.3), sample_weight=WEIGHT)


@case
def a_communicator_with_the_handle_of_a_freed_one(group):
    from mpi4py import MPI

    alone = MPI.COMM_WORLD.Split(group.rank)
    assert bp.MPI(alone).size == 1 and bp.MPI(alone)._comm is bp.MPI(alone)._comm
    alone.Free()
    together = MPI.COMM_WORLD.Dup()
    assert bp.MPI(together).size == group.size
    together.Free()


@case
def step_by_step(group):
    results = []
    first, last = 40 * group.rank // group.size, 40 * (group.rank + 1) // group.size
    for rows, of in ((slice(first, last), group), (slice(0, 40), None)):
        model = bp.Model(MLP, 5, device="cpu", dtype="float64", seed=0)
        options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "distributed": of}
        trainer = bp.Trainer(model, **options)
        losses = [trainer.step(X[rows], CLASSES[rows]) for _ in range(3)]
        results.append([*losses, *model.vector])
    np.testing.assert_allclose(*results, rtol=1e-10, atol=1e-12)


@case
def repeated_calls_use_what_the_first_has_recorded(group):
    vectors = []
    for of in (group, None):
        model = bp.Model(MLP, 5, device="cpu", dtype="float64", seed=0)
        options = {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "batch_size": 16}
        for _ in range(3):
            bp.fit(model, X, CLASSES, distributed=of, **options)
        vectors.append(model.vector)
    np.testing.assert_allclose(*vectors, rtol=1e-10, atol=1e-12)


def refused(kind, words, function, *args, **options):
    try:
        function(*args, **options)
    except kind as error:
        assert all(word in str(error) for word in words) and "\n" not in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


@case
def differences_are_refused(group):
    last = group.rank == group.size - 1
    where = ["same", f"in process {group.size - 1}"]
    kind = bp.InputError
    refused(kind, [*where, "batch size"], trained, group, batch_size=4 + last)
    refused(kind, [*where, "seed"], trained, group, seed=int(last))
    refused(kind, [*where, "optimizer"], trained, group, optimizer=bp.SGD(0.1 + last))
    order = lambda epoch: np.roll(np.arange(53), last)  # noqa: E731
    refused(kind, [*where, "shuffle"], trained, group, shuffle=order)
    refused(kind, [*where, "model"], trained, group, net=bp.Linear(3, bias=last))
    refused(kind, [*where, "data", "rows"], trained, group, x=X[last:], t=CLASSES[last:])
    refused(kind, [*where, "data"], trained, group, x=X + 1e-3 * last)
    words = ["parameters", f"process {group.size - 1}"]
    other = bp.Model(bp.Linear(3), 5, device="cpu", seed=int(last))
    settings = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "distributed": group}
    refused(kind, words, bp.fit, other, X, CLASSES, **settings)
    refused(kind, [*where, "data"], trained, group, sample_weight=np.ones(53) + last)
    stopping = [bp.EarlyStopping(3)] if last else []
    refused(kind, [*where, "early stopping"], trained, group, callbacks=stopping)
    # a mistake in one process is that of all
    targets = CLASSES + 9 * last
    refused(kind, ["classes 0 to 2"], trained, group, t=targets)
    refused(kind, ["each sample"], trained, group, loss=bp.Contrastive())
    # rounding of the initial parameters on another processor is undone
    model = bp.Model(MLP, 5, device="cpu", dtype="float64", seed=0)
    model.set_parameters({"0.weight": model.parameters["0.weight"] * (1.0 + 1e-12 * last)})
    bp.fit(model, X, CLASSES, **settings)
    assert len(set(group.gather(model.vector.tobytes()))) == 1


@case
def checkpoints_of_one_process_alone_are_refused(group):
    last = group.rank == group.size - 1
    with tempfile.TemporaryDirectory() as own:
        trained(checkpoint=own)
        resume = own if last else None
        refused(bp.InputError, ["same checkpoint to resume from"], trained, group, resume=resume)
        checkpoint = Path(own, "new") if last else None
        words = ["expected a Checkpoint in process 0"]
        refused(bp.InputError, words, trained, group, checkpoint=checkpoint)


@case
def iterables_of_other_lengths_are_refused(group):
    batches = [(X[k : k + 8], CLASSES[k : k + 8]) for k in range(0, 53, 8)]
    fewer = batches[: len(batches) - (group.rank == 0)]
    options = {"t": None, "batch_size": None}
    for device in ("cpu", "strict"):
        words = ["every process must read the same data"]
        refused(
            bp.InputError, words, trained, group, x=iter(fewer), epochs=1, device=device, **options
        )
    words = ["same rows of validation data"]
    refused(bp.InputError, words, trained, group, x=batches, validation=fewer, **options)


@case
def a_loss_that_is_not_finite_stops_all(group):
    x = X.copy()
    x[-1] = 1e200  # the last row of the last process
    for device in ("cpu", "strict"):
        models = []
        for of in (group, None):
            model = bp.Model(bp.Linear(2), 5, device=device, dtype="float64", seed=0)
            options = {"optimizer": bp.SGD(0.01), "batch_size": 40, "shuffle": False}
            refused(
                bp.NonFiniteLossError, ["epoch 1, batch 2", "the loss L2Loss"], bp.fit, model, x,
                VALUES, loss=bp.L2Loss(), distributed=of, **options,
            )  # fmt: skip
            models.append(model.device.to_numpy(model.vector))
        np.testing.assert_allclose(*models, rtol=1e-10)


@case
def a_callback_of_one_process_stops_all(group):
    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            assert run.is_first_process == (group.rank == 0)
            if group.rank == group.size - 1 and run.history.epochs == 2:
                run.stopped = "enough"

    model = bp.Model(MLP, 5, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "distributed": group}
    history = bp.fit(model, X, CLASSES, epochs=9, callbacks=[Stop()], **options)
    assert history.epochs == 2 and history.stopped == "enough"


@case
def ctrl_c_in_one_process_stops_all_after_the_same_update(group):
    class Press(bp.Callback):
        def on_epoch_end(self, run):
            if group.rank == 0 and run.history.epochs == 2:
                threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()

    model = bp.Model(MLP, 5, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "distributed": group}
    x, t = np.tile(X, (400, 1)), np.tile(CLASSES, 400)
    history = bp.fit(model, x, t, epochs=9, callbacks=[Press()], **options)
    assert history.stopped == "interrupted", history.stopped
    assert len(set(group.gather(model.training_state.step))) == 1


@case
def checkpoints_continue_with_another_number_of_processes(group):
    folder = Path(group.first(tempfile.mkdtemp() if group.rank == 0 else None))
    options = {"epochs": 3, "metrics": [bp.Accuracy()], "accumulate": 2, "batch_size": 8}
    try:
        whole = trained(group, checkpoint=bp.Checkpoint(folder, "1 step", keep=None), **options)
        for path in sorted(folder.glob("step-*"))[6:] if group.rank == 0 else ():
            path.unlink()  # what is left is in the middle of the second epoch
        group.gather(None)
        assert len(list(folder.glob("step-*"))) == 6
        resumed = trained(group, resume=folder, **options)
        alone = trained(None, resume=folder, **options)
    finally:
        group.gather(None)
        shutil.rmtree(folder, ignore_errors=True)
    np.testing.assert_allclose(resumed, whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(alone, whole, rtol=1e-10, atol=1e-10)


def compare(group, words):
    for name, function in CASES.items():
        if words and not any(word in name for word in words):
            continue
        try:
            function(group)
            text = "ok"
        except Exception:
            text = " | ".join(traceback.format_exc().strip().splitlines()[-6:])
        texts = group.gather(text)
        bad = [f"process {rank}: {each}" for rank, each in enumerate(texts) if each != "ok"]
        if group.rank == 0:
            print(f"{name}: {'; '.join(bad) or 'ok'}", flush=True)


class SummedByMPI(bp.NCCL):
    """NCCL's group, with another communicator: no machine of the tests has NCCL."""

    def _new_communicator(self):
        return self

    def sum(self, vector, received):
        host = vector.get()
        total = np.empty_like(host)
        self.sum_into(host, total)
        received.set(total)


def on_gpus():
    """Train on one CUDA device per process, with sums by way of the host and as by NCCL."""
    if not all(bp.device(f"cuda:{number}").availability().usable for number in range(2)):
        print("needs two devices")
        return
    alone = trained(device="cuda:0", dtype="float32")
    for group in (bp.MPI(timeout=30.0), SummedByMPI(timeout=30.0)):
        device = f"cuda:{group.local_rank}"
        options = {"device": device, "dtype": "float32", "penalty": None}
        together = trained(group, **options)
        np.testing.assert_allclose(together, alone, rtol=2e-4, atol=2e-5)
        if group.rank == 0:
            print(f"{type(group).__name__}: ok", flush=True)
    refused(bp.InputError, ["CUDA device for NCCL"], trained, group)


def fail(group, how):
    class Failing(bp.Callback):
        def on_epoch_end(self, run):
            if group.rank == group.size - 1:
                if how == "raise":
                    raise ZeroDivisionError("in a callback")
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    model = bp.Model(MLP, 5, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "distributed": group}
    bp.fit(model, X, CLASSES, epochs=3, callbacks=[Failing()], **options)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "compare":
        compare(bp.MPI(timeout=30.0), sys.argv[2:])
    elif sys.argv[1] == "gpus":
        on_gpus()
    else:
        fail(bp.MPI(timeout=2.0 if sys.argv[2] == "silent" else 30.0), sys.argv[2])
