"""Models as files: whole round trips, and files that are not what they claim."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import bp_arrays as bp

X = np.random.default_rng(0).normal(size=(6, 4))


def make(device="cpu", dtype="float32"):
    net = bp.Sequential(
        bp.Standardize(),
        bp.Residual(bp.Linear(4, weight_init=bp.HeNormal()), bp.GELU(exact=True)),
        bp.Residual(bp.Linear(4, bias=False)),
        bp.LeakyReLU(0.2),
        bp.Dropout(0.1),
        bp.Linear(3),
    )
    model = bp.Model(net, input_shape=(4,), device=device, dtype=dtype, seed=4)
    model.set_parameters({"0.mean": [1, 2, 3, 4]})
    return model


def test_round_trip_on_every_device(device, dtype, tmp_path):
    model = make(device, dtype)
    model.metadata = {"classes": '["a", "b"]'}
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device=device)
    assert again.net == model.net
    assert (again.dtype, again.input_shape) == (dtype, (4,))
    assert again.metadata == model.metadata
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    elsewhere = bp.load(tmp_path / "m.safetensors", device="cpu")
    np.testing.assert_allclose(elsewhere.predict(X), model.predict(X), rtol=1e-5)


def test_any_safetensors_reader_sees_our_names(tmp_path):
    make().save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert list(tensors) and set(tensors) == set(make().parameters)


class Gain(bp.Layer):
    def init(self, input_shape):
        return {"gain": bp.Parameter(input_shape, bp.Ones())}, input_shape

    def forward(self, params, x, ctx):
        g = params["gain"]
        return x * g, lambda delta: (delta * g, {"gain": ctx.xp.sum(delta * x, axis=0)})


def test_a_layer_of_ones_own_comes_back_when_handed_in(tmp_path):
    bp.Model(Gain(), input_shape=(4,), device="cpu").save(tmp_path / "m.safetensors")
    with pytest.raises(bp.DataError, match=r"layers=\[Gain\]"):
        bp.load(tmp_path / "m.safetensors", device="cpu")
    assert bp.load(tmp_path / "m.safetensors", "cpu", layers=[Gain]).net == Gain()


def rewritten(path, change):
    """The file with its header metadata changed, arrays as they were."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    meta = header.pop("__metadata__")
    ours = json.loads(meta["bp_arrays"])
    change(ours)
    save_file(load_file(path), path, metadata={"bp_arrays": json.dumps(ours)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(schema=2), "pip install -U"),
        (lambda h: h.pop("net"), "header lacks"),
        (lambda h: h.update(net={"os.system": {}}), "does not know"),
        (lambda h: h.update(net={"Linear": {"out_features": 10**15}}), "differ|should have"),
        (lambda h: h.update(net={"Linear": {"out_features": "many"}}), "cannot be built"),
        (lambda h: h.update(net={"Linear": {"nonsense": 1}}), "cannot be built"),
        (lambda h: h.update(net=[1, 2]), "not a layer"),
        (lambda h: h.update(net={"A": {}, "B": {}}), "damaged"),
        (lambda h: h.update(input_shape=[7]), "does not fit|should have|shape"),
        (lambda h: h.update(input_shape=["a"]), "fit|shape"),
        (lambda h: h.update(dtype="float31"), "float31"),
    ],
)
def test_files_that_are_not_what_they_claim(tmp_path, change, message):
    path = tmp_path / "m.safetensors"
    make().save(path)
    rewritten(path, change)
    with pytest.raises(bp.InputError, match=message):
        bp.load(path, device="cpu")


def test_a_deeply_nested_architecture_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    make().save(path)

    def nest(header):
        net = {"Identity": {}}
        for _ in range(100):
            net = {"Sequential": [net]}
        header["net"] = net

    rewritten(path, nest)
    with pytest.raises(bp.DataError, match="deep"):
        bp.load(path, device="cpu")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_and_foreign_files(tmp_path, keep):
    path = tmp_path / "m.safetensors"
    make().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(bp.DataError, match="not a readable safetensors"):
        bp.load(path, device="cpu")


def test_a_safetensors_file_of_somebody_else(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.zeros(3, dtype=np.float32)}, path)
    with pytest.raises(bp.DataError, match="not a model written by bp_arrays"):
        bp.load(path, device="cpu")
    with pytest.raises(FileNotFoundError, match="no model file"):
        bp.load(tmp_path / "none.safetensors")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    make().save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make(dtype="float64").save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
