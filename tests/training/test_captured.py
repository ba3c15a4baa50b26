"""Steps without arguments, launched as a graph, train as plain steps do.

There is no GPU here: a stand-in takes the place of CUDA's graph. It keeps CUDA's rules: while a
step is captured nothing is computed, and from then on only what was captured is repeated; the
arrays are on array-api-strict's second device, which, like a GPU, refuses to be read by the host.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import weakref
from typing import ClassVar

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.training.runners import _cuda_graph as captured, _static_step as standing
from bp_arrays.training.runners._eager import WINDOW

# the attribute of that name is the function
fit_module = importlib.import_module("bp_arrays.training._fit")
ROWS, FEATURES, CLASSES = 50, 5, 3
NETS = {
    "relu": bp.Sequential(bp.Linear(7), bp.ReLU(), bp.Linear(CLASSES)),
    "dropout": bp.Sequential(bp.Linear(7), bp.Tanh(), bp.Dropout(0.3), bp.Linear(CLASSES)),
}
OPTIMIZERS = {
    "adam, cosine": lambda: bp.Adam(bp.Cosine(0.01, steps=40)),
    "clipped": lambda: bp.Chain(bp.ClipByGlobalNorm(0.5), bp.SGD(0.1, momentum=0.9)),
}


class StandInGraph:
    """Runs a body as `StepGraph` does, with the arrays it must not touch while capturing."""

    made: ClassVar[list[StandInGraph]] = []
    refuses = False

    def __init__(self, device):
        self.is_captured, self.runs, self.launches = False, 0, 0
        self.depth, self.follows = 0, True
        StandInGraph.made.append(self)

    @contextlib.contextmanager
    def entered(self):
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    @contextlib.contextmanager
    def outside(self):
        self.follows = False
        yield

    def follow(self):
        assert self.depth == 1
        self.follows = True

    def __call__(self, body):
        self.step = weakref.proxy(body.__self__)
        assert self.depth == 1, "launched outside of its stream"
        assert self.follows, "launched before what another stream computes is there"
        if self.is_captured:
            self.launches += 1
            assert [id(a) for a in self.standing_arrays()] == self.captured, "an array moved"
        elif self.runs >= 2 and not self.refuses:
            self.is_captured = True
            self.captured = [id(a) for a in self.standing_arrays()]
        self.runs += 1
        body()

    def standing_arrays(self):
        step = self.step
        leaves = []
        standing._each(leaves.append, (step.theta, step.vectors, step.totals, step.batch or ()))
        return [*leaves, step.numbers, step.order, step.place, step.first, step.recent]


@pytest.fixture(params=["strict:device1", "torch:cpu"])
def place(request, monkeypatch):
    """A device whose trainings are captured by the stand-in."""
    device = bp.device(request.param)
    if not device.availability().usable:
        pytest.skip(device.availability().reason)
    monkeypatch.setattr(StandInGraph, "made", [])
    monkeypatch.setattr(standing, "StepGraph", StandInGraph)
    monkeypatch.setattr(standing, "update_kernel", lambda *args, **kwargs: None)
    monkeypatch.setattr(fit_module, "why_no_graph", lambda device: "")
    return device


@contextlib.contextmanager
def plainly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "why_no_graph", lambda device: "plain")
        yield


def data(rows=ROWS):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, FEATURES)), rng.integers(0, CLASSES, rows)


def train(place, net="relu", optimizer="adam, cosine", *, on_device=True, rows=ROWS, **options):
    x, t = data(rows)
    model = bp.Model(NETS[net], FEATURES, device=place, dtype="float64", seed=1)
    options = {"epochs": 3, "batch_size": 4, "metrics": [bp.Accuracy()]} | options
    history = bp.fit(
        model, place.asarray(x) if on_device else x, t, loss=bp.CrossEntropy(),
        optimizer=OPTIMIZERS[optimizer](), seed=3, **options,
    )  # fmt: skip
    return model, history


def same(one, other):
    for name, values in one.host_parameters().items():
        np.testing.assert_array_equal(values, other.host_parameters()[name], name)


@pytest.mark.parametrize("on_device", [True, False], ids=["data there", "data on the host"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_training(place, net, optimizer, on_device):
    model, history = train(place, net, optimizer, on_device=on_device)
    [graph] = StandInGraph.made
    assert graph.launches == 3 * (ROWS // 4) - 3 and history.compiled_by == "CUDA graph"
    with plainly():
        plain, plain_history = train(place, net, optimizer, on_device=on_device)
    assert plain_history.compiled_by == ""
    same(model, plain)
    for name in ("loss", "accuracy", "learning_rate"):
        np.testing.assert_allclose(history[name], plain_history[name], rtol=1e-14)
    assert model.training_state.step == plain.training_state.step == 3 * -(-ROWS // 4)


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
        {"metrics": [], "epochs": 1},
    ],
    ids=lambda options: ", ".join(options) + f" {options.get('batch_size', '')}",
)
def test_the_same_for_any_batches_and_losses(place, options):
    model, history = train(place, **options)
    with plainly():
        plain, plain_history = train(place, **options)
    same(model, plain)
    assert history["loss"] == pytest.approx(plain_history["loss"], rel=1e-14)


@pytest.mark.parametrize("batch_size", [4, 10], ids=["a smaller batch last", "full batches"])
def test_whoever_was_given_arrays_keeps_what_they_say(place, batch_size):
    given = []

    class Taking(bp.Callback):
        def on_epoch_end(self, run):
            arrays = {**run.model.parameters, "vector": run.model.vector}
            given.append([(a, place.to_numpy(a)) for a in arrays.values()])

    train(place, epochs=4, batch_size=batch_size, callbacks=[Taking()])
    for epoch in given:
        for array, values in epoch:
            np.testing.assert_array_equal(place.to_numpy(array), values)


def test_a_training_goes_on_where_it_stopped(place):
    x, t = data()
    whole, _ = train(place, "dropout", epochs=4)
    model = bp.Model(NETS["dropout"], FEATURES, device=place, dtype="float64", seed=1)
    optimizer = OPTIMIZERS["adam, cosine"]()
    for _ in range(2):
        bp.fit(
            model, place.asarray(x), t, loss=bp.CrossEntropy(), optimizer=optimizer, seed=3,
            epochs=2, batch_size=4,
        )  # fmt: skip
    same(model, whole)


@pytest.mark.parametrize("row", [0, 9, 4 * WINDOW + 1, 6 * WINDOW + 5, ROWS * 4 - 1])
@pytest.mark.parametrize("on_device", [True, False])
def test_a_loss_that_is_not_finite_goes_back_as_a_plain_training_does(place, row, on_device):
    """Row `row` of an unshuffled epoch has an input so large that its loss is infinite."""
    rows = ROWS * 4
    x, t = np.zeros((rows, 1)), np.zeros((rows, 1))
    x[:, 0] = np.linspace(0.5, 1.0, rows)
    x[row] = 1e200

    def run():
        model = bp.Model(bp.Linear(1), 1, device=place, dtype="float64", seed=1)
        with pytest.raises(bp.NonFiniteLossError) as caught:
            bp.fit(
                model, place.asarray(x) if on_device else x, t, loss=bp.L2Loss(),
                optimizer=bp.SGD(1e-3), batch_size=3, shuffle=False,
            )  # fmt: skip
        return model, str(caught.value)

    model, message = run()
    with plainly():
        plain, plain_message = run()
    assert message == plain_message and f"batch {row // 3 + 1}:" in message
    same(model, plain)
    assert model.training_state is None


def test_an_interruption_keeps_what_was_trained(place, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(captured.StandingStep, "sums", interrupted)
    model, history = train(place)
    assert history.stopped == "interrupted" and model.training_state.step == ROWS // 4
    start = bp.Model(NETS["relu"], FEATURES, device=place, dtype="float64", seed=1)
    assert not np.array_equal(place.to_numpy(model.vector), place.to_numpy(start.vector))


def test_where_the_graph_refuses_the_steps_run_all_the_same(place, monkeypatch):
    monkeypatch.setattr(StandInGraph, "refuses", True)
    model, history = train(place)
    assert history.compiled_by == ""
    with plainly():
        same(model, train(place)[0])


def test_where_there_is_no_room_for_a_graph_training_is_plain_with_one_line(
    place, monkeypatch, caplog
):
    def no_room(device):
        raise RuntimeError("cuBLAS has no\nhandle")

    monkeypatch.setattr(standing, "StepGraph", no_room)
    model, history = train(place)
    [line] = caplog.messages
    assert "operation by operation, not as a CUDA graph: cuBLAS has no handle" in line
    assert history.compiled_by == ""
    with plainly():
        same(model, train(place)[0])


def test_nothing_of_a_training_stays_behind_when_it_is_over(place, monkeypatch):
    made = []
    kept = standing.StandingStep.__init__

    def init(self, *of):
        kept(self, *of)
        made.append(weakref.ref(self))

    monkeypatch.setattr(standing.StandingStep, "__init__", init)
    gc.disable()
    try:
        train(place)
        assert [reference() for reference in made] == [None], "its arrays wait for the collector"
    finally:
        gc.enable()
