"""Training that goes on from a file as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import bp_arrays as bp

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(50, 4)), RNG.integers(0, 3, size=50)
XV, TV = RNG.normal(size=(20, 4)), RNG.integers(0, 3, size=20)

OPTIMIZERS = {
    "Adam": lambda: bp.Adam(0.01),
    "SGD": lambda: bp.SGD(0.1),
    "momentum": lambda: bp.SGD(bp.Cosine(0.1, steps=40), momentum=0.9),
    "chain": lambda: bp.Chain(
        bp.WeightDecay(0.01),
        bp.ClipByGlobalNorm(1.0),
        bp.RMSProp(bp.ReduceOnPlateau(0.05, factor=0.5, patience=0)),
    ),
    "warm": lambda: bp.AdamW(bp.Warmup(8, then=bp.StepDecay(0.01, factor=0.5, every=10))),
}


def make(device="cpu", dtype="float32"):
    net = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.3), bp.Linear(3))
    return bp.Model(net, 4, device=device, dtype=dtype, seed=3)


def train(model, optimizer, epochs):
    return bp.fit(
        model, X, T, loss=bp.CrossEntropy(), optimizer=optimizer, epochs=epochs, batch_size=16,
        seed=5, validation=(XV, TV),
    )  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_epochs_a_file_and_three_more_are_six(name, device, dtype, tmp_path):
    whole, first = make(device, dtype), make(device, dtype)
    expected = train(whole, OPTIMIZERS[name](), 6)
    train(first, OPTIMIZERS[name](), 3)
    first.save(tmp_path / "m.safetensors", training_state=True)
    again = bp.load(tmp_path / "m.safetensors", device=device)
    history = train(again, again.training_state.optimizer, 3)
    assert history["loss"] == expected["loss"][3:]
    assert history["learning_rate"] == expected["learning_rate"][3:]
    assert again.training_state.optimizer == OPTIMIZERS[name]()
    for found, right in zip(
        again.host_parameters().values(), whole.host_parameters().values(), strict=True
    ):
        np.testing.assert_array_equal(found, right)


def test_it_goes_on_on_another_device(device, tmp_path):
    whole, first = make("cpu", "float64"), make(device, "float64")
    train(whole, bp.Adam(0.01), 6)
    train(first, bp.Adam(0.01), 3)
    first.save(tmp_path / "m.safetensors", training_state=True)
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    train(again, again.training_state.optimizer, 3)
    for name, right in whole.parameters.items():
        np.testing.assert_allclose(again.parameters[name], right, rtol=1e-9, atol=1e-12)


def test_the_state_is_kept_only_when_asked_for(tmp_path):
    model = make()
    train(model, bp.Adam(0.01), 1)
    model.save(tmp_path / "m.safetensors")
    assert set(load_file(tmp_path / "m.safetensors")) == set(model.parameters)
    assert bp.load(tmp_path / "m.safetensors", device="cpu").training_state is None
    model.save(tmp_path / "m.safetensors", training_state=True)
    extra = set(load_file(tmp_path / "m.safetensors")) - set(model.parameters)
    assert extra == {f"training_state.{name}" for name in ("0", "1", "monitored")}


@pytest.mark.parametrize(
    ("stored", "opened", "state"),
    [
        ("float32", "float64", "float64"),
        ("float64", "float32", "float32"),
        ("float64", "float16", "float32"),
        ("float16", "float64", "float64"),
    ],
)
def test_the_state_has_the_dtype_of_the_parameters_or_float32(stored, opened, state, tmp_path):
    model = make(dtype=stored)
    train(model, bp.Adam(0.01), 1)
    model.save(tmp_path / "m.safetensors", training_state=True)
    saved = model.training_state
    loaded = bp.load(tmp_path / "m.safetensors", device="cpu", dtype=opened).training_state
    for each in (loaded, saved.moved_to(bp.device("cpu"), opened)):
        for vector, before in zip(each.vectors, saved.vectors, strict=True):
            np.testing.assert_array_equal(vector, before.astype(state), strict=True)


def test_a_half_precision_state_of_the_first_versions_opens(tmp_path):
    """They stored it in float16, and had no checksums."""
    path = tmp_path / "m.safetensors"
    model = make(dtype="float16")
    train(model, bp.Adam(0.01), 1)
    model.save(path, training_state=True)
    with safe_open(path, "numpy") as file:
        [(entry, text)] = file.metadata().items()
    header = json.loads(text) | {"schema": 2}
    del header["checksum"], header["checksums"]
    names = ["training_state.0", "training_state.1"]
    arrays = load_file(path)
    arrays |= {name: arrays[name].astype(np.float16) for name in names}
    save_file(arrays, path, {entry: json.dumps(header)})
    vectors = bp.load(path, device="cpu").training_state.vectors
    for name, vector in zip(names, vectors, strict=True):
        np.testing.assert_array_equal(vector, arrays[name].astype(np.float32), strict=True)


def test_losses_that_are_no_numbers_are_kept(tmp_path):
    model = make()
    train(model, bp.SGD(0.1), 2)
    model.training_state = replace(model.training_state, monitored=(float("nan"), 0.1))
    model.save(tmp_path / "m.safetensors", training_state=True)
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    np.testing.assert_array_equal(again.training_state.monitored, [np.nan, 0.1])


@dataclass(frozen=True)
class Own(bp.SGD):
    pass


def test_what_cannot_be_kept_is_refused(tmp_path):
    model = make()
    with pytest.raises(bp.InputError, match="expected a model that was trained"):
        model.save(tmp_path / "m.safetensors", training_state=True)
    train(model, Own(0.1), 1)
    with pytest.raises(bp.InputError, match="an optimizer made of parts of the library"):
        model.save(tmp_path / "m.safetensors", training_state=True)
    assert list(tmp_path.iterdir()) == []
