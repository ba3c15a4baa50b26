"""Covers: training/runners/_cuda_graph.py and _static_step.py, with the real CuPy.

Steps launched as CUDA graphs train as steps computed operation by operation do. Runs on a GPU, or
on the emulated device of tests/cuda_on_cpu.
"""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import why_no_graph
from bp_arrays.training.runners import CudaGraphRunner
from bp_arrays.training.runners._static_step import WINDOW

CUDA = bp.device("cuda")
pytestmark = pytest.mark.skipif(
    bool(why_no_graph(CUDA)) or not CUDA.availability().usable,
    reason="needs CuPy with nvmath-python on a CUDA device",
)

ROWS, FEATURES, CLASSES = 50, 5, 3
DROPOUT_KERNELS = 6
"""The step's number, the mask; scale and mask, forward and backward."""

NETS = {
    "relu": bp.Sequential(bp.Linear(7), bp.ReLU(), bp.Linear(CLASSES)),
    "dropout": bp.Sequential(bp.Linear(7), bp.Tanh(), bp.Dropout(0.3), bp.Linear(CLASSES)),
    "standardized": bp.Sequential(bp.Standardize(), bp.Linear(CLASSES)),
}
OPTIMIZERS = {
    "adam, cosine": lambda: bp.Adam(bp.Cosine(0.01, steps=40)),
    "clipped": lambda: bp.Chain(bp.ClipByGlobalNorm(0.5), bp.SGD(0.1, momentum=0.9)),
}
NUMBERS = np.random.default_rng(1).normal(size=(ROWS, CLASSES))


def data(rows=ROWS):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, FEATURES)), rng.integers(0, CLASSES, rows)


def train(net="relu", optimizer="adam, cosine", *, on_device=True, rows=ROWS, **options):
    x, t = data(rows)
    net = NETS[net] if isinstance(net, str) else net
    model = bp.Model(net, FEATURES, device=CUDA, dtype="float64", seed=1)
    optimizer = OPTIMIZERS[optimizer]() if isinstance(optimizer, str) else optimizer
    options = {"loss": bp.CrossEntropy(), "epochs": 3, "batch_size": 4} | options
    history = bp.fit(
        model, CUDA.asarray(x) if on_device else x, options.pop("t", t), optimizer=optimizer,
        seed=3, **options,
    )  # fmt: skip
    return model, history


def same(one, other):
    for name, values in one.host_parameters().items():
        np.testing.assert_allclose(values, other.host_parameters()[name], 1e-12, 1e-14, name)


@pytest.mark.parametrize("on_device", [True, False], ids=["data on device", "data on host"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_captured_steps_train_as_eager_ones(net, optimizer, on_device):
    options = {"on_device": on_device, "metrics": [bp.Accuracy()]}
    model, history = train(net, optimizer, **options)
    assert history.compiled_by == "CUDA graph" and history.not_compiled == ""
    eager, eager_history = train(net, optimizer, compiled=False, **options)
    assert eager_history.compiled_by == ""
    same(model, eager)
    for name in ("loss", "accuracy", "learning_rate"):
        np.testing.assert_allclose(history[name], eager_history[name], rtol=1e-12)
    assert model.training_state.step == eager.training_state.step == 3 * -(-ROWS // 4)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 10},  # no smaller batch at the end
        {"batch_size": ROWS},
        {"batch_size": ROWS + 1},  # nothing but a smaller batch
        {"shuffle": False},
        {"sample_weight": np.linspace(0.0, 2.0, ROWS)},
        {"penalty": bp.L2Penalty(0.1)},
        {"validation": data(7)},
        {"rows": 4 * WINDOW + 9, "batch_size": 2},  # more than one look at the losses
        {"epochs": 1},
    ],
    ids=lambda options: ", ".join(options) + f" {options.get('batch_size', '')}",
)
def test_the_same_for_any_batches(options):
    model, history = train(**options)
    eager, eager_history = train(compiled=False, **options)
    same(model, eager)
    assert history["loss"] == pytest.approx(eager_history["loss"], rel=1e-12)


EVERYTHING = {
    **{type(loss).__name__ + repr(k): {"loss": loss, "t": t} for k, (loss, t) in enumerate([
        (bp.L2Loss(), NUMBERS), (bp.L2Loss(reduction="sum"), NUMBERS),
        (bp.MeanSquaredError(), NUMBERS), (bp.MeanAbsoluteError(), NUMBERS),
        (bp.Huber(0.5), NUMBERS), (bp.BinaryCrossEntropy(), (NUMBERS > 0) * 1.0),
        (bp.CrossEntropy(), np.eye(CLASSES)[data()[1]]),
        (bp.CrossEntropy(class_weights=(1.0, 2.0, 0.5), label_smoothing=0.1), data()[1]),
    ])},
    **{type(o).__name__ + repr(k): {"optimizer": o} for k, o in enumerate([
        bp.SGD(0.01), bp.SGD(0.01, momentum=0.9, nesterov=True), bp.Adam(), bp.AdamW(),
        bp.RMSProp(), bp.Adagrad(), bp.Chain(bp.WeightDecay(0.1), bp.Adam()),
        bp.SGD(bp.OneCycle(0.1, steps=36)), bp.SGD(bp.ReduceOnPlateau(0.1)),
        bp.SGD(bp.Warmup(5, bp.StepDecay(0.1, factor=0.5, every=5))),
    ])},
    **{type(a).__name__: {"net": bp.Sequential(bp.Linear(4), a, bp.Linear(CLASSES))} for a in [
        bp.ELU(), bp.GELU(), bp.GELU(exact=True), bp.SELU(), bp.Identity(), bp.LeakyReLU(),
        bp.LogSoftmax(), bp.ReLU(), bp.Sigmoid(), bp.SiLU(), bp.Softmax(), bp.Softplus(),
        bp.Tanh(), bp.Dropout(0.5), bp.Residual(bp.Linear(4)),
    ]},
    "R2": {"loss": bp.MeanSquaredError(), "t": NUMBERS, "metrics": [bp.R2()]},
    "R2 with weights": {"loss": bp.MeanSquaredError(), "t": NUMBERS, "metrics": [bp.R2()],
                        "sample_weight": np.arange(ROWS) % 3},
    "BinaryAccuracy": {"loss": bp.BinaryCrossEntropy(), "t": (NUMBERS > 0) * 1.0,
                       "metrics": [bp.BinaryAccuracy()]},
}  # fmt: skip


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_loss_layer_optimizer_schedule_and_metric_is_captured(name):
    _, history = train(**EVERYTHING[name])
    assert (history.compiled_by, history.not_compiled) == ("CUDA graph", "")
    _, eager = train(compiled=False, **EVERYTHING[name])
    for series in set(history) - {"seconds"}:
        np.testing.assert_allclose(history[series], eager[series], rtol=1e-10, err_msg=series)


@pytest.mark.parametrize(
    "optimizer", [bp.Adam(0.01), bp.SGD(0.1, momentum=0.9)], ids=["Adam", "SGD"]
)
def test_without_graphs_updates_are_one_kernel_and_give_the_bits_of_plain_steps(
    optimizer, monkeypatch
):
    monkeypatch.setitem(sys.modules, "nvmath", None)  # as if it were not installed
    model, history = train("dropout", optimizer)
    assert history.compiled_by == "" and "pip install nvmath-python" in history.not_compiled
    plain, plain_history = train("dropout", optimizer, compiled=False)
    assert plain_history.not_compiled == "" and history["loss"] == plain_history["loss"]
    for name, values in plain.host_parameters().items():
        np.testing.assert_array_equal(model.host_parameters()[name], values)


def counted_epoch(steps, **options):
    """What the emulated device counts in the second epoch, of so many steps of 4 rows."""
    import cuda_on_cpu

    counts = []

    class Reads(bp.Callback):
        def on_epoch_end(self, run):
            counts.append(cuda_on_cpu.counts())

    rows = 4 * steps
    options["t"] = np.resize(options["t"], (rows, *np.shape(options["t"])[1:]))
    if "sample_weight" in options:
        options["sample_weight"] = np.resize(options["sample_weight"], rows)
    gc.collect()  # or what ended before would give its memory back, and wait for it, in between
    train(rows=rows, epochs=2, callbacks=[Reads()], **options)
    return counts[1] - counts[0]


WEIGHTED = {"sample_weight": np.linspace(0.0, 2.0, ROWS)}
PENALIZED = {"penalty": bp.L2Penalty(0.1)}
COMBINED = {name: {"t": data()[1]} | parts for name, parts in EVERYTHING.items()}
COMBINED |= {
    f"{name}, weighted, penalized": parts | WEIGHTED | PENALIZED for name, parts in COMBINED.items()
} | {
    "Adam2, weighted": COMBINED["Adam2"] | WEIGHTED,
    "Adam2, penalized": COMBINED["Adam2"] | PENALIZED,
}


@pytest.mark.parametrize("compiled", [True, False], ids=["captured", "operation by operation"])
@pytest.mark.parametrize("name", COMBINED)
def test_no_step_touches_the_host(name, compiled):
    """Of anything, as it is or weighted and penalized: 8 more steps copy and wait no more."""
    pytest.importorskip("cuda_on_cpu", reason="only the emulated device counts")
    one, other = (counted_epoch(n, compiled=compiled, **COMBINED[name]) for n in (12, 20))
    more = other - one
    assert (more.to_host, more.to_device, more.synchronizations) == (0, 0, 0)
    assert more.allocations < 8  # the pool may grow for the longer epoch, once
    assert more.graph_launches == (8 if compiled else 0)
    assert more.calls - more.allocations == 8 or not compiled


def test_a_dropout_adds_one_kernel_for_its_mask_to_a_captured_step():
    pytest.importorskip("cuda_on_cpu", reason="only the emulated device counts")
    nets = (
        bp.Sequential(bp.Linear(4), *dropouts, bp.Linear(CLASSES))
        for dropouts in ((), (bp.Dropout(0.5),), (bp.Dropout(0.5), bp.Dropout(0.5)))
    )
    kernels = [
        (counted_epoch(20, net=net, t=data()[1]) - counted_epoch(12, net=net, t=data()[1])).kernels
        for net in nets
    ]
    assert np.diff(kernels).tolist() == [8 * DROPOUT_KERNELS] * 2


@pytest.mark.parametrize("batch_size", [4, 10], ids=["a smaller batch last", "full batches"])
def test_arrays_that_were_handed_out_keep_what_they_say(batch_size):
    given = []

    class Taking(bp.Callback):
        def on_epoch_end(self, run):
            arrays = {**run.model.parameters, "vector": run.model.vector}
            given.append([(a, CUDA.to_numpy(a)) for a in arrays.values()])

    train(epochs=4, batch_size=batch_size, callbacks=[Taking()])
    for epoch in given:
        for array, values in epoch:
            np.testing.assert_array_equal(CUDA.to_numpy(array), values)


def test_training_continues_where_it_stopped():
    x, t = data()
    whole, _ = train("dropout", epochs=4)
    model = bp.Model(NETS["dropout"], FEATURES, device=CUDA, dtype="float64", seed=1)
    optimizer = OPTIMIZERS["adam, cosine"]()
    for _ in range(2):
        bp.fit(
            model, CUDA.asarray(x), t, loss=bp.CrossEntropy(), optimizer=optimizer, seed=3,
            epochs=2, batch_size=4,
        )  # fmt: skip
    same(model, whole)


@pytest.mark.parametrize("row", [0, 9, 4 * WINDOW + 1, 6 * WINDOW + 5, ROWS * 4 - 1])
@pytest.mark.parametrize("on_device", [True, False])
def test_a_loss_that_is_not_finite_goes_back_as_eager_training_does(row, on_device):
    """Row `row` of an unshuffled epoch has an input so large that its loss is infinite."""
    rows = ROWS * 4
    x, t = np.zeros((rows, 1)), np.zeros((rows, 1))
    x[:, 0] = np.linspace(0.5, 1.0, rows)
    x[row] = 1e200

    def run(compiled):
        model = bp.Model(bp.Linear(1), 1, device=CUDA, dtype="float64", seed=1)
        with pytest.raises(bp.NonFiniteLossError) as caught:
            bp.fit(
                model, CUDA.asarray(x) if on_device else x, t, loss=bp.L2Loss(),
                optimizer=bp.SGD(1e-3), batch_size=3, shuffle=False, compiled=compiled,
            )  # fmt: skip
        return model, str(caught.value)

    (model, message), (eager, eager_message) = run(True), run(False)
    assert message == eager_message and f"batch {row // 3 + 1}:" in message
    same(model, eager)
    assert model.training_state is None


def test_an_interruption_keeps_what_was_trained():
    class Interrupts(bp.Callback):
        def on_epoch_end(self, run):
            if run.history.epochs == 2:
                raise KeyboardInterrupt

    model, history = train(callbacks=[Interrupts()])
    assert history.stopped == "interrupted"
    assert model.training_state.step == 2 * -(-ROWS // 4)


def test_where_there_is_no_memory_for_a_graph_training_is_eager_and_says_so(caplog):
    import cupy

    caplog.set_level("INFO", "bp_arrays")
    pool = cupy.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()  # what other tests left there would be room
    free, _ = cupy.cuda.runtime.memGetInfo()
    hog = cupy.cuda.alloc(free - 2**24)  # no room for the 32 MiB of a workspace
    try:
        model, history = train()
    finally:
        del hog
        pool.free_all_blocks()
    assert history.compiled_by == "" and "not as a CUDA graph" in history.not_compiled
    assert any(history.not_compiled in line for line in caplog.messages)
    same(model, train(compiled=False)[0])


def test_memory_after_many_training_runs_is_that_of_one():
    import cupy

    used = []
    for _ in range(6):
        train()
        gc.collect()
        pool = cupy.get_default_memory_pool()
        free, total = cupy.cuda.runtime.memGetInfo()
        used.append((pool.total_bytes(), total - free))
    assert used[-1] <= used[0]  # less, where what other tests used has ended meanwhile


def test_four_threads_train_at_once_and_change_nothing_of_cupy():
    import cupy

    histories, expected = [], train()[1]

    def work():
        histories.append(train()[1])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [history.compiled_by for history in histories] == ["CUDA graph"] * 4
    for history in histories:
        assert history["loss"] == expected["loss"]
    assert "__matmul__" not in vars(cupy.ndarray)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("on_device", [True, False])
def test_a_trainer_makes_the_steps_of_fit(net, on_device):
    x, t = data()
    fitted, history = train(net, on_device=on_device, shuffle=False, epochs=2, batch_size=10)
    model = bp.Model(NETS[net], FEATURES, device=CUDA, dtype="float64", seed=1)
    trainer = bp.Trainer(
        model, loss=bp.CrossEntropy(), optimizer=OPTIMIZERS["adam, cosine"](), seed=3
    )
    x = CUDA.asarray(x) if on_device else x
    losses = [
        trainer.step(x[k : k + 10, ...], t[k : k + 10]) for _ in range(2) for k in range(0, 50, 10)
    ]
    assert trainer.runner.compiled_by == "CUDA graph"
    for name, values in fitted.host_parameters().items():
        np.testing.assert_array_equal(values, model.host_parameters()[name])
    np.testing.assert_allclose(np.reshape(losses, (2, 5)).mean(axis=1), history["loss"], 1e-14)


def test_a_trainer_captures_few_shapes_and_runs_others_eagerly():
    x, t = data()
    model = bp.Model(NETS["relu"], FEATURES, device=CUDA, dtype="float64", seed=1)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1))
    for rows in (1, 2, 3, 4, 1):
        trainer.step(x[:rows], t[:rows])
    assert isinstance(trainer.runner, CudaGraphRunner) and len(trainer.runner.singles) == 2


def test_a_trainer_stops_at_a_loss_that_is_not_finite():
    model = bp.Model(bp.Linear(1), FEATURES, device=CUDA, dtype="float64", seed=1)
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(0.01))
    x, t = np.ones((4, FEATURES)), np.ones((4, 1))
    for _ in range(5):
        before = model.host_parameters()
        trainer.step(x, t)
    with pytest.raises(bp.NonFiniteLossError, match="batch 1"):
        trainer.step(x * 1e200, t)
    for name, values in model.host_parameters().items():
        np.testing.assert_array_equal(values, before[name])
    with pytest.raises(bp.InputError, match="make a new Trainer"):
        trainer.step(x, t)
