"""Covers: GradientNorms."""

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 3))
T = X[:, :2] ** 2
LOSS = bp.L2Loss()


def new_model(device="cpu", dtype="float64"):
    net = bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(2))
    return bp.Model(net, 3, device=device, dtype=dtype, seed=0)


def fit(model, *callbacks, epochs=3, **settings):
    return bp.fit(
        model, X, T, loss=LOSS, optimizer=bp.Adam(0.01), epochs=epochs, batch_size=4,
        callbacks=[*callbacks], **settings,
    )  # fmt: skip


class Parameters(bp.Callback):
    """The parameters before the first epoch and after each."""

    def on_start(self, run):
        self.values = [run.model.host_parameters()]

    def on_epoch_end(self, run):
        self.values.append(run.model.host_parameters())


def norm(*arrays):
    return np.linalg.norm(np.concatenate([np.ravel(a).astype(float) for a in arrays]))


def test_norms_are_those_of_the_gradient_and_the_change_of_each_layer(device):
    model, copies = new_model(device, "float32"), Parameters()
    history = fit(model, copies, bp.GradientNorms(X, T, LOSS))
    _, gradients = model.gradients(X, T, LOSS, training=False)
    g = {name: model.device.to_numpy(value) for name, value in gradients.items()}
    before, after = copies.values[-2:]
    everything = list(g)
    for suffix, names in (
        ("/0", ["0.weight", "0.bias"]),
        ("/2", ["2.weight", "2.bias"]),
        ("", everything),
    ):
        update = norm(*(after[n].astype(float) - before[n] for n in names))
        gradient, ratio = norm(*(g[n] for n in names)), update / norm(*(before[n] for n in names))
        expected = {"gradient_norm": gradient, "update_norm": update, "update_ratio": ratio}
        for name, value in expected.items():
            assert len(history[f"{name}{suffix}"]) == 3
            np.testing.assert_allclose(history[f"{name}{suffix}"][-1], value, rtol=1e-5)
    assert history["update_norm/0"][0] == pytest.approx(
        norm(*(copies.values[1][n] - copies.values[0][n] for n in ("0.weight", "0.bias"))), rel=1e-4
    )
    assert "gradient_norm/1" not in history  # Tanh has no parameters


def test_training_is_the_same_with_it():
    with_it, without = new_model(), new_model()
    fit(with_it, bp.GradientNorms(X, T, LOSS))
    fit(without)
    np.testing.assert_array_equal(with_it.vector, without.vector)


@pytest.mark.parametrize("every", ["1 epoch", "2 steps"])
def test_a_run_that_resumes_has_the_same_series(tmp_path, every):
    expected = fit(new_model(), bp.GradientNorms(X, T, LOSS), epochs=4)
    checkpoint = bp.Checkpoint(tmp_path, every=every)
    fit(new_model(), bp.GradientNorms(X, T, LOSS), epochs=2, checkpoint=checkpoint)
    if every == "2 steps":  # the last one within an epoch: after step 4 of 6
        (tmp_path / "step-000000000006.safetensors").unlink()
    history = fit(new_model(), bp.GradientNorms(X, T, LOSS), epochs=4, resume=tmp_path)
    for name in expected:
        if name != "seconds":
            assert history[name] == expected[name], name


def test_epochs_before_a_run_with_it_are_nan(tmp_path):
    fit(new_model(), epochs=2, checkpoint=tmp_path)
    history = fit(new_model(), bp.GradientNorms(X, T, LOSS), epochs=3, resume=tmp_path)
    assert np.isnan(history["update_norm/0"]).tolist() == [True, True, False]


def test_a_layer_at_zero_has_no_ratio():
    model = new_model()
    model.parameters["2.weight"] = np.zeros((4, 2))
    model.parameters["2.bias"] = np.zeros(2)
    history = fit(model, bp.GradientNorms(X, T, LOSS), epochs=1)
    assert history["update_ratio/2"] == [np.inf]


def test_a_plot_draws_them_only_if_named():
    pytest.importorskip("matplotlib")
    history = fit(new_model(), bp.GradientNorms(X, T, LOSS), epochs=1)
    assert [ax.get_ylabel() for ax in history.plot().axes] == ["loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, T, "l2"), r"GradientNorms\(loss=\): expected a loss such as L2Loss"),
        ((X[:, :2], T, LOSS), r"GradientNorms\(x=\)"),
        ((X * np.nan, T, LOSS), r"GradientNorms\(x=\): expected at least one sample of finite"),
        ((X, T[:3], LOSS), "12"),
    ],
)
def test_bad_samples(arguments, message):
    with pytest.raises(InputError, match=message):
        fit(new_model(), bp.GradientNorms(*arguments))
