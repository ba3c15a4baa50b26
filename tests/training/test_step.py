"""Covers: training/_step.py, _trainer.py and the runners: one step, state in and out, on every
device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.model import Objective

RNG = np.random.default_rng(7)
X, CLASSES = RNG.normal(size=(40, 4)), RNG.integers(0, 3, 40)
NET = bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Dropout(0.2), bp.Linear(3))


def model_on(device, net=NET, dtype="float64"):
    return bp.Model(net, 4, device=device, dtype=dtype, seed=1)


def numbers(model):
    return np.concatenate([np.ravel(v) for v in model.host_parameters().values()])


@pytest.mark.parametrize("optimizer", ["adam", "clipped"])
def test_trainer_steps_are_the_steps_of_fit_to_the_bit(device, dtype, optimizer):
    def new():
        adam = bp.Adam(bp.Cosine(0.05, steps=20))
        return adam if optimizer == "adam" else bp.Chain(bp.ClipByGlobalNorm(0.1), adam)

    weight, penalty = RNG.uniform(size=40), bp.L2Penalty(0.01)
    fitted = model_on(device, dtype=dtype)
    history = bp.fit(
        fitted, X, CLASSES, loss=bp.CrossEntropy(), optimizer=new(), penalty=penalty, epochs=2,
        batch_size=16, shuffle=False, seed=5, sample_weight=weight,
    )  # fmt: skip
    model = model_on(device, dtype=dtype)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=new(), penalty=penalty, seed=5)
    losses = []
    for _ in range(2):
        for start in (0, 16, 32):
            rows = slice(start, start + 16)
            losses.append(trainer.step(X[rows], CLASSES[rows], weight[rows]))
    np.testing.assert_array_equal(numbers(model), numbers(fitted))
    assert trainer.state.step == 6 and trainer.state.optimizer is trainer.optimizer
    weights = [weight[k : k + 16].sum() for k in (0, 16, 32)]
    assert history["loss"][0] == pytest.approx(np.average(losses[:3], weights=weights), rel=1e-6)


def test_the_loop_written_out_gives_the_numbers_of_fit(device):
    net = bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(3))
    fitted = model_on(device, net)
    bp.fit(fitted, X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.05), epochs=5,
           batch_size=40, shuffle=False)  # fmt: skip
    model, loss, optimizer = model_on(device, net), bp.CrossEntropy(), bp.Adam(0.05)
    xp = model.device.xp
    state = optimizer.init(model.vector, xp)
    t = model.device.asarray(CLASSES)
    for step in range(5):
        y, backward = model.forward(X, training=True)
        _, loss_backward = loss.forward(y, t, bp.Context(xp, model.device.native))
        _, gradients = backward(loss_backward())
        g = model.flatten(gradients)
        scalars = optimizer.scalars(step + 1, optimizer.rate(step))
        model.vector, state = optimizer.update(model.vector, g, state, scalars, xp)
    np.testing.assert_allclose(numbers(model), numbers(fitted), rtol=1e-12)


def one_batch(model):
    return model.device.asarray(X), model.device.asarray(CLASSES), None


def test_the_masks_of_a_step_are_those_of_the_seed_of_training(device):
    """Not of the seed of the model, which is another one."""
    model = model_on(device)
    objective = Objective(NET, model.layout, bp.CrossEntropy())
    updated = []
    for seed in (5, 6):
        ctx = model.context(training=True, needs_input_gradient=False, step=0, seed=seed)
        g = objective.gradient(*model.current_vectors(), one_batch(model), ctx).g
        updated.append(model.device.to_numpy(model.vector - 0.5 * g))
        trained = model_on(device)
        bp.fit(trained, X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.5), batch_size=40,
               shuffle=False, seed=seed)  # fmt: skip
        result = model.device.to_numpy(trained.vector)
        np.testing.assert_allclose(result, updated[-1], rtol=1e-10, atol=1e-12)
    assert np.abs(updated[0] - updated[1]).max() > 1e-3


def test_compiled_false_runs_operation_by_operation_with_the_same_numbers(device):
    models = []
    for compiled in (True, False):
        model = model_on(device)
        history = bp.fit(model, X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01),
                         epochs=2, batch_size=16, compiled=compiled)  # fmt: skip
        models.append(model)
    assert history.compiled_by == "" and history.not_compiled == ""
    np.testing.assert_allclose(numbers(models[0]), numbers(models[1]), rtol=1e-12)


# -- state -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RunningMean(bp.Layer):
    """Subtracts a running mean of its inputs, and counts the batches."""

    def init(self, input_shape):
        zeros = bp.Zeros()
        return {
            "gain": bp.Parameter(input_shape, bp.Ones()),
            "mean": bp.Parameter(input_shape, zeros, trainable=False),
            "count": bp.Parameter((1,), zeros, trainable=False),
        }, input_shape

    def forward(self, params, x, ctx):
        xp, g, mean = ctx.xp, params["gain"], params["mean"]
        ctx.update_state(mean=0.9 * mean + 0.1 * xp.mean(x, axis=0), count=params["count"] + 1.0)
        centered = x - mean

        def backward(delta):
            return delta * g, {"gain": xp.sum(delta * centered, axis=0)}

        return centered * g, backward


@dataclass(frozen=True)
class UpdatesInBackward(RunningMean):
    """Sets its new state when the backward runs, which is too late."""

    def forward(self, params, x, ctx):
        def backward(delta):
            ctx.update_state(count=params["count"] + 1.0)
            return delta, {"gain": 0 * params["gain"]}

        return x, backward


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("compiled", [True, False])
def test_state_set_in_a_backward_is_refused(device, nested, compiled):
    net = UpdatesInBackward()
    model = model_on(device, bp.Sequential(bp.Tanh(), net) if nested else net)
    with pytest.raises(bp.InputError, match=r"update_state\(count\): expected a call in forward"):
        bp.fit(model, X, X, loss=bp.L2Loss(), optimizer=bp.SGD(0.01), compiled=compiled)
    with pytest.raises(bp.InputError, match="expected a call in forward"):
        bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(0.01)).step(X, X)


def running_mean(batches):
    mean = np.zeros(4)
    for batch in batches:
        mean = 0.9 * mean + 0.1 * batch.mean(axis=0)
    return mean


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("compiled", [True, False])
def test_layers_return_new_state_on_every_runner(device, dtype, nested, compiled, tmp_path):
    net = bp.Sequential(bp.Linear(3), bp.Residual(bp.Tanh(), bp.Linear(3))) if nested else None
    net = RunningMean() if net is None else bp.Sequential(RunningMean(), net)
    prefix = "0." if nested else ""
    model = model_on(device, net, dtype)
    t = X if not nested else X[:, :3]
    bp.fit(model, X, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.01), epochs=2, batch_size=16,
           shuffle=False, compiled=compiled)  # fmt: skip
    batches = [X[k : k + 16] for _ in range(2) for k in (0, 16, 32)]
    parameters = model.host_parameters()
    np.testing.assert_allclose(
        parameters[prefix + "mean"],
        running_mean(batches),
        rtol=1e-5 if dtype == "float32" else 1e-12,
    )
    assert parameters[prefix + "count"] == 6
    before = parameters[prefix + "mean"]
    model.predict(X)
    bp.evaluate(model, X, t, loss=bp.L2Loss())
    model.gradients(X, t, bp.L2Loss())
    np.testing.assert_array_equal(model.host_parameters()[prefix + "mean"], before)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu", layers=[RunningMean])
    np.testing.assert_array_equal(again.host_parameters()[prefix + "mean"], before)


def test_a_trainer_carries_state(device):
    model = model_on(device, RunningMean())
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(0.01))
    for k in range(0, 40, 10):
        trainer.step(X[k : k + 10], X[k : k + 10])
    mean = running_mean([X[k : k + 10] for k in range(0, 40, 10)])
    np.testing.assert_allclose(model.host_parameters()["mean"], mean, rtol=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
def test_set_parameters_during_training_is_obeyed(device, compiled):
    class Shift(bp.Callback):
        def on_epoch_end(self, run):
            if run.history.epochs == 1:
                run.model.set_parameters({"0.mean": np.full(4, 50.0)})
            if run.history.epochs == 3:
                run.model.set_parameters({"1.weight": np.zeros((4, 1)), "1.bias": [0.0]})

    model = model_on(device, bp.Sequential(bp.Standardize(), bp.Linear(1)))
    history = bp.fit(
        model, X, X[:, :1], loss=bp.L2Loss(), optimizer=bp.SGD(1e-6), epochs=4, compiled=compiled,
        callbacks=[Shift()],
    )  # fmt: skip
    first, second, _, fourth = history["loss"]
    assert second > 20 * first
    assert fourth == pytest.approx(0.5 * np.mean(X[:, 0] ** 2), rel=1e-3)


def test_a_layer_that_updates_what_it_does_not_have_is_refused(device):
    @dataclass(frozen=True)
    class Wrong(bp.Layer):
        name: str
        shape: tuple[int, ...] = (4,)

        def init(self, input_shape):
            return {
                "gain": bp.Parameter(input_shape, bp.Ones()),
                "mean": bp.Parameter(input_shape, bp.Zeros(), trainable=False),
            }, input_shape

        def forward(self, params, x, ctx):
            ctx.update_state(**{self.name: ctx.xp.zeros(self.shape, dtype=x.dtype)})
            return x * params["gain"], lambda d: (d, {"gain": ctx.xp.sum(d * x, axis=0)})

    for layer, message in (
        (Wrong("variance"), r"update_state\(variance=\): expected a parameter with tr"),
        (Wrong("gain"), "one of mean"),
        (Wrong("mean", (3,)), r"update_state\(mean=\): expected shape \(4,\), got \(3,\)"),
    ):
        with pytest.raises(bp.InputError, match=message):
            bp.fit(model_on(device, layer), X, X, loss=bp.L2Loss(), optimizer=bp.SGD())


@pytest.mark.parametrize("compiled", [True, False])
def test_a_layer_with_a_scale_reads_no_more_from_the_device(device, compiled, monkeypatch):
    """A copy to the host waits for the device: a check of the scale in each step would be one."""
    reads, to_numpy = [], bp.Device.to_numpy

    def counted(self, array):
        reads.append(array)
        return to_numpy(self, array)

    monkeypatch.setattr(bp.Device, "to_numpy", counted)

    def count_of(*layers):
        """Return the reads of a third epoch; before the first one `fit` reads the scale once."""
        model, counts = model_on(device, bp.Sequential(*layers, bp.Linear(1))), []
        for epochs in (2, 3):
            reads.clear()
            bp.fit(
                model, X, X[:, :1], loss=bp.L2Loss(), optimizer=bp.SGD(1e-3), batch_size=10,
                epochs=epochs, compiled=compiled,
                callbacks=[bp.EarlyStopping(3, monitor="loss")],
            )  # fmt: skip
            counts.append(len(reads))
        return counts[1] - counts[0]

    assert count_of(bp.Standardize.of(X)) == count_of()


# -- going back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [True, False])
def test_a_loss_that_is_not_finite_leaves_the_last_good_parameters(device, compiled):
    x = np.ones((30, 1))
    x[20] = 1e200
    model = bp.Model(bp.Linear(1), 1, device=device, dtype="float64", seed=0)
    with pytest.raises(bp.NonFiniteLossError, match="epoch 1, batch 3"):
        bp.fit(model, x, x, loss=bp.L2Loss(), optimizer=bp.SGD(0.1), batch_size=10,
               shuffle=False, compiled=compiled)  # fmt: skip
    assert np.isfinite(numbers(model)).all() and model.training_state is None


# -- memory that was handed out --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vector", "parameters", "backward", "state_vector"])
def test_arrays_that_were_handed_out_keep_what_they_say(device, name):
    model = model_on(device, bp.Sequential(bp.Standardize(), bp.Linear(3)))
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.5))
    trainer.step(X, CLASSES)

    def look():
        if name == "backward":
            y, backward = model.forward(X)
            return lambda: backward(y)[0]
        if name == "parameters":
            array = model.parameters["1.weight"]
            return lambda: array
        array = getattr(model, name)
        return lambda: array

    read = look()
    before = device.to_numpy(read())
    for _ in range(3):
        trainer.step(X, CLASSES)
    np.testing.assert_array_equal(device.to_numpy(read()), before)


def test_flatten_takes_gradients_by_name_and_refuses_what_is_missing(device):
    model = model_on(device)
    _, gradients = model.gradients(X, CLASSES, bp.CrossEntropy())
    g = model.flatten(gradients)
    assert g.shape == model.vector.shape
    with pytest.raises(bp.InputError, match=r"'0\.bias' is missing"):
        model.flatten({k: v for k, v in gradients.items() if k != "0.bias"})
    with pytest.raises(bp.InputError, match=r"expected shape \(6,\) for '0\.bias', got \(3,\)"):
        model.flatten(gradients | {"0.bias": gradients["3.bias"]})


# -- several trainers, moved models, custom parts that read from Python ---------------------------


def test_two_trainers_of_one_model_keep_their_own_optimizer_state(device):
    x, t = np.ones((8, 4)), np.zeros((8, 1))
    alone, both = (bp.Model(bp.Linear(1), 4, device=device, dtype="float64", seed=0) for _ in "ab")
    first = bp.Trainer(alone, loss=bp.L2Loss(), optimizer=bp.SGD(0.1, momentum=0.9))
    expected = [first.step(x, t) for _ in range(4)]
    trainer = bp.Trainer(both, loss=bp.L2Loss(), optimizer=bp.SGD(0.1, momentum=0.9))
    other = bp.Trainer(both, loss=bp.L2Loss(), optimizer=bp.Adam(1e-300))
    losses = []
    for _ in range(4):
        losses.append(trainer.step(x, t))
        other.step(x, t)
        bp.fit(both, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(1e-300))
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    assert trainer.state.step == other.state.step == 4


def test_a_model_that_was_moved_between_steps_is_trained_where_it_is(device):
    model = model_on("cpu")
    trainer = bp.Trainer(
        model, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), penalty=bp.L2Penalty(0.1)
    )
    still = bp.Trainer(
        model_on("cpu"), loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), penalty=bp.L2Penalty(0.1)
    )
    losses = []
    for place in ("cpu", device, "cpu"):
        model.to(place)
        losses += [(trainer.step(X, CLASSES), still.step(X, CLASSES)) for _ in range(2)]
    for one, other in losses:
        assert one == pytest.approx(other, rel=1e-12)
    assert trainer.state.step == 6


def test_a_callback_that_moves_the_model_is_refused(device):
    class Moves(bp.Callback):
        def on_epoch_end(self, run):
            run.model.to("strict" if device.name == "cpu" else "cpu")

    with pytest.raises(bp.InputError, match="a callback moved it to"):
        bp.fit(model_on(device), X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1),
               epochs=2, callbacks=[Moves()])  # fmt: skip


def test_the_state_that_was_returned_is_not_changed_by_later_steps(device):
    trainer = bp.Trainer(model_on(device), loss=bp.CrossEntropy(), optimizer=bp.Adam(0.1))
    trainer.step(X, CLASSES)
    state = trainer.state
    before = [device.to_numpy(vector) for vector in state.vectors]
    trainer.step(X, CLASSES)
    for vector, values in zip(state.vectors, before, strict=True):
        np.testing.assert_array_equal(device.to_numpy(vector), values)
    assert (state.step, trainer.state.step) == (1, 2)


def test_early_stopping_restores_state_with_the_weights(device):
    model = model_on(device, bp.Sequential(RunningMean(), bp.Linear(3)))
    stopping = bp.EarlyStopping(patience=1)
    history = bp.fit(
        model, X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(4.0), epochs=20, batch_size=8,
        validation=(X[::-1], CLASSES), callbacks=[stopping], seed=1,
    )  # fmt: skip
    assert history.epochs > stopping.best_epoch
    best = history["val_loss"][stopping.best_epoch - 1]
    got = bp.evaluate(model, X[::-1], CLASSES, loss=bp.CrossEntropy())["loss"]
    assert got == pytest.approx(best, rel=1e-12)
    assert model.host_parameters()["0.count"] == 5 * stopping.best_epoch


class Scale:
    """What a custom loss reads from Python."""

    value = 1.0


@dataclass(frozen=True, kw_only=True)
class Annealed(bp.Loss):
    def per_sample(self, y, t, ctx):
        r, k = y - t, Scale.value
        return k * ctx.xp.sum(r * r, axis=-1), lambda c: c * 2.0 * k * r


@pytest.mark.parametrize("compiled", [True, False])
def test_what_a_custom_loss_reads_from_python_is_read_anew_in_each_epoch(device, compiled):
    if device.runs_as == "jit" and compiled:
        pytest.skip("jax.jit reads Python once per training run, as its users know")

    class Anneal(bp.Callback):
        def on_start(self, run):
            Scale.value = 1.0

        def on_epoch_end(self, run):
            Scale.value *= 0.5

    model = model_on(device, bp.Linear(1))
    history = bp.fit(model, X, X[:, :1], loss=Annealed(), optimizer=bp.SGD(1e-12), epochs=3,
                     batch_size=8, callbacks=[Anneal()], compiled=compiled)  # fmt: skip
    ratios = np.asarray(history["loss"]) / history["loss"][0]
    np.testing.assert_allclose(ratios, [1.0, 0.5, 0.25], rtol=1e-6)


@dataclass(frozen=True)
class Counting(bp.Layer):
    """Not a function of its arguments: changes from call to call."""

    calls = []  # noqa: RUF012

    def forward(self, params, x, ctx):
        self.calls.append(1)
        k = 1.0 + 0.01 * len(self.calls)
        return k * x, lambda delta: (k * delta, {})


@dataclass(frozen=True)
class Branching(bp.Layer):
    def forward(self, params, x, ctx):
        k = 2.0 if float(ctx.xp.max(x)) > 0.0 else 3.0
        return k * x, lambda delta: (k * delta, {})


@dataclass(frozen=True)
class RowCount(bp.Metric):
    name = "rows"

    def sums(self, y, t, ctx):
        return ctx.xp.sum(y), y.shape[0]

    def value(self, sums):
        return float(sums[1])


def test_custom_parts_that_cannot_run_as_a_whole_run_singly_and_say_why(device):
    for layer in (Counting(), Branching()):
        history = bp.fit(
            model_on(device, bp.Sequential(layer, bp.Linear(3))), X, CLASSES,
            loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1), epochs=2, batch_size=8,
        )  # fmt: skip
        assert history.compiled_by == ""
        if device.runs_as != "eager":
            assert history.not_compiled != ""


def test_a_metric_may_count_with_python_numbers(device):
    history = bp.fit(model_on(device), X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1),
                     epochs=1, batch_size=8, metrics=[RowCount()])  # fmt: skip
    assert history["rows"] == [40.0]


def test_going_back_restores_the_state_of_the_same_step(device):
    model = model_on(device, RunningMean())
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(1e-3))
    for k in (0, 10):
        before = model.host_parameters()
        trainer.step(X[k : k + 10], X[k : k + 10])
    with pytest.raises(bp.NonFiniteLossError):
        trainer.step(np.full((2, 4), 1e200), X[:2])
    for name, values in model.host_parameters().items():
        np.testing.assert_array_equal(values, before[name], name)


@dataclass(frozen=True)
class Named(bp.Metric):
    """A metric with a name of the user's choice."""

    called: object

    @property
    def name(self):
        return self.called


BAD = {
    "penalty=0.1": ({"penalty": 0.1}, "penalty: expected a penalty"),
    "metrics='a'": ({"metrics": "accuracy"}, "metrics: expected a list of metrics"),
    "metrics=[R2]": ({"metrics": [bp.R2]}, "metrics: expected a list of metrics"),
    "two names": (
        {"metrics": [bp.Accuracy(), bp.Accuracy()]},
        "expected different names, got 'accuracy' twice",
    ),
    "the loss": ({"metrics": [Named("loss")]}, "expected names other than loss, learning_rate"),
    "val_loss": ({"metrics": [Named("val_loss")]}, "seconds and val_..., got 'val_loss'"),
    "no name": ({"metrics": [Named(None)]}, "seconds and val_..., got None"),
    "callbacks=1": ({"callbacks": bp.EarlyStopping()}, r"fit\(callbacks=\): expected a list"),
    "epochs=0": ({"epochs": 0}, r"fit\(epochs=0\): expected"),
    "seed=-1": ({"seed": -1}, "seed"),
    "optimizer='adam'": ({"optimizer": "adam"}, "optimizer: expected an optimizer such as"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_settings_that_are_none_are_refused_in_one_line(name):
    settings, message = BAD[name]
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1)} | settings
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.fit(model_on("cpu"), X, CLASSES, **options)
    assert "\n" not in str(caught.value)


def test_whole_numbers_of_numpy_are_whole_numbers():
    history = bp.fit(model_on("cpu"), X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1),
                     epochs=np.int64(2), batch_size=np.int32(8), seed=np.int64(3))  # fmt: skip
    assert history.epochs == 2
    assert bp.EarlyStopping(patience=np.int64(3)).patience == 3
    for patience in (2.5, True, "3", None, 0):
        with pytest.raises(bp.InputError, match="EarlyStopping"):
            bp.EarlyStopping(patience=patience)


def test_a_copy_of_a_model_is_trained_apart(device):
    import copy

    model = model_on(device)
    before = numbers(model)
    copied = copy.copy(model)
    bp.fit(copied, X, CLASSES, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.5))
    np.testing.assert_array_equal(numbers(model), before)
    assert not np.array_equal(numbers(copied), before)


def test_a_model_holds_floating_point_numbers(device):
    with pytest.raises(bp.InputError, match="Model"):
        bp.Model(bp.Linear(1), 3, device=device, dtype="int32")


# -- by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "clipped"])
def test_update_by_hand_is_the_step_of_fit_to_the_bit(device, dtype, optimizer):
    """Also with Dropout, by its step and seed, and with a schedule."""

    def new():
        if optimizer == "momentum":
            return bp.SGD(bp.Cosine(0.05, steps=20), momentum=0.9)
        return bp.Chain(bp.ClipByGlobalNorm(0.1), bp.Adam(0.05))

    fitted, model = model_on(device, dtype=dtype), model_on(device, dtype=dtype)
    fitted_by, by_hand = new(), new()
    bp.fit(fitted, X, CLASSES, loss=bp.CrossEntropy(), optimizer=fitted_by, epochs=5,
           batch_size=40, shuffle=False, seed=3,
           compiled=model.device.runs_as != "jit")  # fmt: skip
    for step in range(5):
        _, gradients = model.gradients(X, CLASSES, bp.CrossEntropy(), step=step, seed=3)
        model.update(by_hand, gradients)
    np.testing.assert_array_equal(numbers(model), numbers(fitted))
    assert model.training_state.step == 5
    # fit continues where the loop stopped
    for each, rule in ((model, by_hand), (fitted, fitted_by)):
        bp.fit(each, X, CLASSES, loss=bp.CrossEntropy(), optimizer=rule, batch_size=40,
               shuffle=False, compiled=model.device.runs_as != "jit")  # fmt: skip
    np.testing.assert_array_equal(numbers(model), numbers(fitted))


def test_update_takes_gradients_of_the_host_and_leaves_earlier_arrays(device):
    models = [model_on(device, dtype="float32") for _ in range(2)]
    before = models[0].vector
    kept = models[0].device.to_numpy(before)
    _, gradients = models[0].gradients(X, CLASSES, bp.CrossEntropy())
    models[0].update(bp.Adam(0.1), gradients)
    host = {name: models[0].device.to_numpy(g).astype("float64") for name, g in gradients.items()}
    models[1].update(bp.Adam(0.1), host)
    np.testing.assert_array_equal(numbers(models[0]), numbers(models[1]))
    np.testing.assert_array_equal(models[0].device.to_numpy(before), kept)


def test_update_refuses_what_does_not_fit_and_changes_nothing():
    model = model_on("cpu")
    before = numbers(model)
    _, gradients = model.gradients(X, CLASSES, bp.CrossEntropy())
    for optimizer, wrong, match in (
        ("adam", gradients, "expected an optimizer such as"),
        (bp.SGD(1.0), list(gradients), "expected a mapping of names to arrays"),
        (bp.SGD(1.0), gradients | {"0.weigth": 1.0}, "did you mean '0.weight'"),
        (bp.SGD(1.0), {"0.bias": gradients["0.bias"]}, "'0.weight' is missing"),
        (bp.SGD(1.0), gradients | {"0.bias": np.ones(3)}, r"expected shape \(6,\), got \(3,\)"),
    ):
        with pytest.raises(bp.InputError, match=match):
            model.update(optimizer, wrong)
    np.testing.assert_array_equal(numbers(model), before)
    assert model.training_state is None


def test_each_step_of_a_pass_by_hand_has_its_own_masks(device):
    model = bp.Model(bp.Dropout(0.5), 100, device=device)
    x = np.ones((1, 100))

    def drawn(**options):
        return model.device.to_numpy(model.forward(x, training=True, **options)[0])

    np.testing.assert_array_equal(drawn(step=3), drawn(step=3, seed=0))
    for other in (drawn(), drawn(step=4), drawn(step=3, seed=1)):
        assert 20 < np.sum(other != drawn(step=3)) < 80
    for wrong in ({"step": -1}, {"step": 0.5}, {"seed": -1}):
        with pytest.raises(bp.InputError, match=r"step|seed"):
            model.forward(x, training=True, **wrong)
