"""Covers: training/_step.py, _trainer.py and the runners: one step, state in and out, on every
device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp

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
    """Takes off a running mean of its inputs, and counts the batches."""

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
