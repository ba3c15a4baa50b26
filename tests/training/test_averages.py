"""Covers: EMA in fit, Trainer, Model.update, checkpoints and model files."""

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3))
T = X[:, :1] * 2.0 + 0.3
LOSS = bp.L2Loss()


def model_on(device="cpu", dtype="float64"):
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(1))
    return bp.Model(net, 3, device=device, dtype=dtype, seed=0)


def fit(model, optimizer, epochs, x=X, t=T, **settings):
    settings = {"batch_size": 8, "validation": (X, T)} | settings
    return bp.fit(model, x, t, loss=LOSS, optimizer=optimizer, epochs=epochs, **settings)


def theta(model):
    return model.device.to_numpy(model.vector).astype(np.float64)


def trained_path(optimizer, steps):
    """θ after each update without averages."""
    model, path = model_on(), []
    trainer = bp.Trainer(model, loss=LOSS, optimizer=optimizer)
    for _ in range(steps):
        trainer.step(X, T)
        path.append(theta(model))
    return path


def test_the_average_is_the_formula_and_that_of_pytorch_with_this_weight():
    torch = pytest.importorskip("torch")
    beta, path = 0.8, trained_path(bp.Adam(0.05), 7)
    model = model_on()
    trainer = bp.Trainer(model, loss=LOSS, optimizer=bp.EMA(bp.Adam(0.05), decay=beta))
    for _ in path:
        trainer.step(X, T)
    np.testing.assert_array_equal(theta(model), path[-1])  # the updates are the same
    model.use_averages()
    weights = beta ** np.arange(len(path))[::-1]
    expected = np.average(path, axis=0, weights=weights)
    np.testing.assert_allclose(theta(model), expected, rtol=1e-12)

    def corrected(average, current, count):
        return average + (1 - beta) / (1 - beta ** (int(count) + 1)) * (current - average)

    current = torch.nn.Linear(path[0].size, 1, bias=False, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(current, avg_fn=corrected)
    for vector in path:
        current.weight.data[0] = torch.tensor(vector)
        averaged.update_parameters(current)
    torch_average = averaged.module.weight.detach().numpy()[0]
    np.testing.assert_allclose(theta(model), torch_average, rtol=1e-12)


def test_fit_validates_the_averages_and_ends_with_them(device):
    optimizer = bp.EMA(bp.SGD(0.05), decay=0.9)
    model, plain = (model_on(device, "float32") for _ in range(2))
    history = fit(model, optimizer, 3)
    fit(plain, bp.SGD(0.05), 3)
    measured = bp.evaluate(model, X, T, loss=LOSS)
    assert history["val_loss"][-1] == measured["loss"]
    assert model.training_state.averaged
    assert np.abs(theta(model) - theta(plain)).max() > 1e-3
    model.use_trained()
    np.testing.assert_array_equal(theta(model), theta(plain))


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"compiled": False}])
def test_training_continues_from_the_trained_parameters(settings):
    first, second = bp.EMA(bp.Adam(0.01), decay=0.9), bp.EMA(bp.Adam(0.01), decay=0.9)
    parts, whole = model_on(), model_on()
    history = fit(parts, first, 2, **settings) + fit(parts, first, 2, **settings)
    assert history["val_loss"] == fit(whole, second, 4, **settings)["val_loss"]
    np.testing.assert_array_equal(theta(parts), theta(whole))


def test_update_continues_from_the_trained_parameters():
    path = trained_path(bp.Adam(0.05), 4)
    model, optimizer = model_on(), bp.EMA(bp.Adam(0.05), decay=0.5)
    for _ in path:
        model.use_trained()
        model.update(optimizer, model.gradients(X, T, LOSS)[1])
        model.use_averages()
        model.use_averages()  # has no further effect
    model.use_trained()
    np.testing.assert_allclose(theta(model), path[-1], rtol=1e-12)


def test_early_stopping_restores_averages():
    class Copies(bp.Callback):
        vectors = ()

        def on_epoch_end(self, run):
            self.vectors = (*self.vectors, theta(run.model))

    copies, stopping = Copies(), bp.EarlyStopping(patience=2)
    model = model_on()
    history = fit(model, bp.EMA(bp.SGD(0.3), 0.5), 12, callbacks=[copies, stopping])
    best = int(np.argmin(history["val_loss"]))
    np.testing.assert_array_equal(theta(model), copies.vectors[best])
    assert bp.evaluate(model, X, T, loss=LOSS)["loss"] == history["val_loss"][best]


def test_after_ctrl_c_in_an_epoch_the_model_has_the_averages():
    def interrupted():
        for k in range(0, 24, 8):
            if k == 16:
                raise KeyboardInterrupt
            yield X[k : k + 8], T[k : k + 8]

    model = model_on()
    history = fit(model, bp.EMA(bp.SGD(0.1), 0.5), 1, interrupted(), None, batch_size=None)
    assert history.stopped == "interrupted"
    assert model.training_state.averaged
    assert model.training_state.step == 2


@pytest.mark.parametrize("every", ["1 epoch", "2 steps"])
def test_a_run_that_resumes_ends_as_if_it_had_never_stopped(tmp_path, every):
    class Stop(bp.Callback):
        def on_epoch_end(self, run):
            if run.history.epochs == 2:
                raise RuntimeError

    def optimizer():
        return bp.EMA(bp.Adam(0.01), decay=0.9)

    whole, resumed = model_on(), model_on()
    expected = fit(whole, optimizer(), 4)
    checkpoint = bp.Checkpoint(tmp_path, every=every)
    with pytest.raises(RuntimeError):
        fit(model_on(), optimizer(), 4, checkpoint=checkpoint, callbacks=[Stop()])
    history = fit(resumed, optimizer(), 4, resume=tmp_path)
    assert history["val_loss"] == expected["val_loss"]
    np.testing.assert_array_equal(theta(resumed), theta(whole))
    assert resumed.training_state.averaged


def test_a_file_keeps_the_averages_and_the_trained_parameters(tmp_path):
    model, whole = model_on(), model_on()
    fit(model, bp.EMA(bp.Adam(0.01), decay=0.9), 2)
    fit(whole, bp.EMA(bp.Adam(0.01), decay=0.9), 3)
    model.save(tmp_path / "model.safetensors", training_state=True)
    loaded = bp.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(theta(loaded), theta(model))
    fit(loaded, loaded.training_state.optimizer, 1)
    np.testing.assert_array_equal(theta(loaded), theta(whole))


def test_models_without_averages_stay_as_they_are():
    model = model_on()
    before = theta(model)
    model.use_averages()
    model.use_trained()
    np.testing.assert_array_equal(theta(model), before)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.EMA(0.999), r"EMA\(optimizer=0.999\): expected an optimizer such as Adam"),
        (lambda: bp.EMA(decay=1.0), r"EMA\(decay=1.0\): expected 0 <= decay < 1"),
        (lambda: bp.EMA(decay="a"), r"EMA\(decay='a'\)"),
        (lambda: bp.EMA(bp.EMA()), "expected an optimizer that does not average already"),
        (lambda: fit(model_on(), bp.SGD(), 1, callbacks=[bp.EMA()]), r"pass optimizer=bp.EMA"),
        (lambda: bp.Chain(bp.EMA()), r"write EMA\(Chain\(...\)\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()
