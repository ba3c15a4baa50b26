"""Mixed precision. Covers: Model(compute_dtype=), what is rounded, passes, training, files."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays import InputError
from bp_arrays.trees import leaves

RNG = np.random.default_rng(0)
YEARS = 1990.0 + RNG.normal(size=(64, 4)) * 5.0
T = RNG.integers(0, 3, 64)
EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10}


@pytest.fixture(params=["bfloat16", "float16"])
def half_everywhere(request, device):
    try:
        device.dtype(request.param)
    except InputError:
        pytest.skip(f"{device} has no {request.param}")
    return request.param


@pytest.fixture
def half(half_everywhere, device):
    if device.runs_as == "jit":
        pytest.skip("every operation by itself is compiled: the training run covers them")
    return half_everywhere


def net() -> bp.Sequential:
    return bp.Sequential(
        bp.Standardize.of(YEARS), bp.Linear(16), bp.BatchNorm(), bp.Tanh(), bp.LayerNorm(),
        bp.Dropout(0.1), bp.Linear(3),
    )  # fmt: skip


def models(device, half, layers=None, shape=4):
    options = {"device": device, "seed": 0}
    layers = layers or net()
    return bp.Model(layers, shape, **options), bp.Model(
        layers, shape, compute_dtype=half, **options
    )


def flat(model, gradients):
    return model.device.to_numpy(model.flatten(gradients)).astype(np.float64)


def distance(a, b):
    """The distance of b from a, relative to a."""
    return np.linalg.norm(np.asarray(a, np.float64) - b) / np.linalg.norm(a)


def test_gradients_are_those_of_float32_but_for_rounding(device, half):
    exact, model = models(device, half)
    for training in (True, False):
        value, gradients = exact.gradients(YEARS, T, bp.CrossEntropy(), training=training)
        mixed_value, mixed = model.gradients(YEARS, T, bp.CrossEntropy(), training=training)
        assert {str(g.dtype).rpartition(".")[2] for g in mixed.values()} == {"float32"}
        assert abs(float(mixed_value) - float(value)) < 4 * EPS[half] * float(value)
        difference = distance(flat(exact, gradients), flat(model, mixed))
        assert 0.0 < difference < 4 * EPS[half]  # and it is rounded at all


def test_gradients_are_those_of_pytorchs_autocast(half):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(64, 4)).astype(np.float32)
    layers = bp.Sequential(bp.Linear(16), bp.Tanh(), bp.LayerNorm(), bp.Linear(3))
    model = bp.Model(layers, 4, device="torch:cpu", seed=0, compute_dtype=half)
    exact = bp.Model(layers, 4, device="torch:cpu", seed=0)
    module = model.to_torch()
    with torch.autocast("cpu", dtype=getattr(torch, half)):
        loss = torch.nn.functional.cross_entropy(module(torch.as_tensor(x)), torch.as_tensor(T))
    loss.backward()
    _, gradients = model.gradients(x, T, bp.CrossEntropy())
    _, unrounded = exact.gradients(x, T, bp.CrossEntropy())
    theirs = {
        name: p.grad.numpy().T for name, p in zip(gradients, module.parameters(), strict=True)
    }
    scale = flat(model, gradients)
    witness = np.concatenate([theirs[name].ravel() for name in gradients])
    assert distance(witness, scale) < 4 * EPS[half]
    # they are as far from the exact gradients as ours
    assert (
        0.2
        < distance(flat(exact, unrounded), scale) / distance(flat(exact, unrounded), witness)
        < 5.0
    )


@dataclass(frozen=True)
class Spy(bp.Layer):
    """A custom layer, y = x g, that writes down the dtypes that it receives."""

    seen: ClassVar[set[str]] = set()

    def init(self, input_shape):
        from bp_arrays.initializers import Ones

        return {
            "gain": bp.Parameter(input_shape, Ones()),
            "shift": bp.Parameter(input_shape, Ones(), trainable=False),
        }, input_shape

    def forward(self, params, x, ctx):
        def backward(delta):
            self.write(delta, "delta")
            return delta * params["gain"], {"gain": ctx.xp.sum(delta * x, axis=0)}

        self.write(x, "x")
        for name, value in params.items():
            self.write(value, name)
        return x * params["gain"] + params["shift"], backward

    def write(self, array, what):
        self.seen.add(f"{what} {str(array.dtype).rpartition('.')[2]}")


def test_a_custom_layer_computes_in_the_compute_dtype_like_one_of_the_library(device, half):
    layers = bp.Sequential(Spy(), bp.Linear(3), Spy())
    _, model = models(device, half, layers)
    Spy.seen.clear()
    model.gradients(YEARS / 1e3, T, bp.CrossEntropy())
    model.jacobian(YEARS[:2] / 1e3)
    assert Spy.seen == {f"{what} {half}" for what in ("x", "gain", "shift", "delta")}


def test_samples_are_not_rounded_before_they_are_standardized(device, half):
    exact, model = models(device, half, bp.Sequential(bp.Standardize.of(YEARS), bp.Linear(3)))
    assert distance(exact.predict(YEARS), model.predict(YEARS)) < 2 * EPS[half]
    inputs = {"year": YEARS, "rest": RNG.normal(size=(64, 2))}
    layers = bp.Sequential(
        bp.Parallel(year=bp.Standardize.of(YEARS), rest=bp.Linear(2)),
        bp.Concatenate(),
        bp.Linear(3),
    )
    exact, model = models(device, half, layers, {"year": 4, "rest": 2})
    assert distance(exact.predict(inputs), model.predict(inputs)) < 2 * EPS[half]
    layers = bp.Sequential(bp.Ensemble(bp.Sequential(bp.Standardize.of(YEARS), bp.Linear(3)), 2))
    exact, model = models(device, half, layers)
    assert distance(exact.predict(YEARS), model.predict(YEARS)) < 2 * EPS[half]


def test_outputs_are_not_rounded_after_they_are_scaled_back(device, half):
    layers = bp.Sequential(bp.Linear(1), bp.Standardize.of(YEARS[:, :1]).inverse())
    exact, model = models(device, half, layers)
    x = YEARS / 1990.0 - 1.0
    assert np.abs(exact.predict(x) - model.predict(x)).max() < 0.1  # of years: not a multiple of 8
    t = YEARS[:, :1] + 10.0
    _, gradients = exact.gradients(x, t, bp.L2Loss())
    _, mixed = model.gradients(x, t, bp.L2Loss())
    assert distance(flat(exact, gradients), flat(model, mixed)) < 4 * EPS[half]


def test_running_statistics_follow_by_less_than_half_precision_can_tell(device, half):
    layers = bp.Sequential(bp.BatchNorm(momentum=1e-4), bp.Linear(1))
    _, model = models(device, half, layers)
    model.set_parameters({"0.mean": np.full(4, 1.0)})
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(1e-3))
    x = 2.0 + RNG.normal(size=(64, 4)) / 8.0
    for _ in range(5):
        trainer.step(x, x[:, :1])
    mean, steps = model.device.to_numpy(model.parameters["0.mean"]), 5 - trainer.state.skipped_steps
    assert steps > 2 and np.allclose(
        mean, 1.0 + steps * 1e-4 * (x.mean(axis=0) - 1.0), rtol=0.0, atol=2e-6
    )


def test_indices_and_nets_of_several_inputs_and_outputs(device, half):
    layers = bp.Sequential(
        bp.Parallel(ids=bp.Embedding(300, 4), x=bp.Linear(4)),
        bp.Parallel(ids=bp.Flatten(), x=bp.Tanh()),
        bp.Concatenate(),
        bp.Parallel(kind=bp.Linear(3), size=bp.Linear(1)),
    )
    shape = {"ids": bp.InputSpec(3, "index"), "x": 2}
    exact, model = models(device, half, layers, shape)
    inputs = {"ids": RNG.integers(250, 300, (8, 3)), "x": RNG.normal(size=(8, 2))}
    loss = bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": bp.L2Loss()})
    t = {"kind": T[:8], "size": np.ones((8, 1))}
    _, gradients = exact.gradients(inputs, t, loss)
    _, mixed = model.gradients(inputs, t, loss)
    assert distance(flat(exact, gradients), flat(model, mixed)) < 4 * EPS[half]
    jacobians = [list(leaves(each.jacobian(inputs))) for each in (exact, model)]
    for a, b in zip(*jacobians, strict=True):
        assert b.dtype == np.float32 and distance(a, b) < 4 * EPS[half]
    delta = {"kind": np.ones((8, 3)), "size": None}
    dx = [each.input_gradient(inputs, delta) for each in (exact, model)]
    assert dx[1]["ids"] is None and distance(dx[0]["x"], dx[1]["x"]) < 4 * EPS[half]
    y, backward = model.forward(inputs)
    _, by_name = backward({"kind": np.ones((8, 3)), "size": None})
    assert list(by_name) == [entry.name for entry in model.layout.trainable]
    assert {str(a.dtype).rpartition(".")[2] for a in (*y.values(), *by_name.values())} == {
        "float32"
    }


def fitted(model, **options):
    settings = {
        "loss": bp.CrossEntropy(), "optimizer": bp.Adam(1e-2), "epochs": 3, "batch_size": 16,
        "validation": (YEARS, T), "metrics": [bp.Accuracy()],
    }  # fmt: skip
    return bp.fit(model, YEARS, T, **settings | options)


def test_training_has_the_curves_of_float32(device, half_everywhere):
    half = half_everywhere
    exact, model = models(device, half)
    everything = ({}, {"accumulate": 2}, {"compiled": False, "penalty": bp.L2Penalty(1e-3)})
    for options in everything[:1] if device.runs_as == "jit" else everything:
        expected, history = (fitted(copy.copy(each), **options) for each in (exact, model))
        for name in ("loss", "val_loss"):
            assert np.allclose(history[name], expected[name], rtol=0.03)


def test_files_copies_and_descriptions_keep_the_compute_dtype(device, half, tmp_path):
    exact, model = models(device, half)
    fitted(model)
    model.save(tmp_path / "m.safetensors", training_state=True)
    loaded = bp.load(tmp_path / "m.safetensors", device)
    expected = model.predict(YEARS)
    copies = [copy.copy(model), loaded, pickle.loads(pickle.dumps(model))]
    losses = []
    for each in copies:
        assert each.compute_dtype == half and np.array_equal(each.predict(YEARS), expected)
        losses.append(fitted(each, optimizer=each.training_state.optimizer)["loss"])
    assert losses[0] == losses[1] == losses[2]
    plain = bp.load(tmp_path / "m.safetensors", "cpu", compute_dtype=None)
    assert plain.compute_dtype is None
    assert 0.0 < distance(expected, plain.predict(YEARS)) < 4 * EPS[half]
    assert f"compute_dtype={half!r}" in repr(model)
    assert f"float32, computed in {half}, on {device}" in str(model.summary())
    assert "compute" not in repr(exact) + str(exact.summary())


def test_a_resumed_run_is_the_uninterrupted_one(device, half, tmp_path):
    _, model = models(device, half)
    whole, first, second = copy.copy(model), copy.copy(model), copy.copy(model)
    history = fitted(whole, checkpoint=bp.Checkpoint(tmp_path / "whole"))
    fitted(first, epochs=2, checkpoint=bp.Checkpoint(tmp_path / "run"))
    resumed = fitted(second, resume=tmp_path / "run")
    assert {k: v for k, v in resumed.items() if k != "seconds"} == {
        k: v for k, v in history.items() if k != "seconds"
    }
    for name, values in whole.host_parameters().items():
        assert np.array_equal(second.host_parameters()[name], values)
    with pytest.raises(InputError, match="expected the model of the checkpoint"):
        fitted(bp.Model(net(), 4, device=device, seed=0), resume=tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"compute_dtype": "float32"}, "expected 'bfloat16' or 'float16', or None"),
        ({"compute_dtype": 16}, "expected 'bfloat16' or 'float16', or None"),
        (
            {"compute_dtype": "float16", "dtype": "float64"},
            "expected 'float32' with a compute_dtype",
        ),
        (
            {"compute_dtype": "float16", "dtype": "float16"},
            "expected 'float32' with a compute_dtype",
        ),
        ({"compute_dtype": "bfloat16"}, "compute_dtype: device 'cpu' has no dtype 'bfloat16'"),
    ],
)
def test_what_is_refused(options, expected):
    with pytest.raises(InputError, match=expected) as error:
        bp.Model(bp.Linear(1), 1, device="cpu", **options)
    assert "\n" not in str(error.value)


def test_a_device_without_the_dtype_is_refused_and_nothing_moves(device, half):
    pytest.importorskip("array_api_strict")
    _, model = models(device, half)
    with pytest.raises(InputError, match=f"has no dtype '{half}'"):
        model.to("strict")
    assert model.device == device and model.predict(YEARS).shape == (64, 3)


def test_another_dtype_of_a_mixed_file_says_what_to_pass(tmp_path):
    model = bp.Model(bp.Linear(2), 3, device="cpu", compute_dtype="float16")
    model.save(tmp_path / "m")
    with pytest.raises(bp.InputError, match="pass compute_dtype=None"):
        bp.load(tmp_path / "m", device="cpu", dtype="float64")
    loaded = bp.load(tmp_path / "m", device="cpu", dtype="float64", compute_dtype=None)
    assert (loaded.dtype, loaded.compute_dtype) == ("float64", None)
