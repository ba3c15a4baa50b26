"""Models as files: whole round trips, what others see in them, and saves that fail."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import several_inputs
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import bp_arrays as bp
from bp_arrays.formats._architecture import DEPTH_LIMIT

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
    model.metadata = {"classes": '["a", "b"]', "unité": "µm"}
    return model


def test_round_trip_on_every_device(device, dtype, tmp_path):
    model = make(device, dtype)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device=device)
    assert again.net == model.net
    assert (again.dtype, again.input_shape, again.seed) == (dtype, (4,), 4)
    assert again.metadata == model.metadata
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    elsewhere = bp.load(tmp_path / "m.safetensors", device="cpu")
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(elsewhere.parameters[name], value)


def test_dropouts_masks_come_back_too(tmp_path):
    model, t = make(), np.ones((6, 3))
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    _, before = model.gradients(X, t, bp.L2Loss())
    _, after = again.gradients(X, t, bp.L2Loss())
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_comes_back_bit_for_bit(device, half, tmp_path):
    try:
        device.dtype(half)
    except bp.InputError:
        pytest.skip(f"{device} has no {half}")
    model = make(device, half)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device=device)
    assert again.dtype == half
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(again.host_parameters()[name], value)


def test_a_bfloat16_model_opens_where_there_is_none(tmp_path):
    torch = pytest.importorskip("torch", reason="NumPy has no bfloat16; PyTorch is not installed")
    model = make("torch:cpu", "bfloat16")
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(bp.InputError, match=r"no dtype 'bfloat16'.*load\(path, dtype="):
        bp.load(tmp_path / "m.safetensors", device="cpu")
    again = bp.load(tmp_path / "m.safetensors", device="cpu", dtype="float32")
    assert again.dtype == "float32"
    for name, value in model.parameters.items():
        exact = value.to(torch.float32).numpy()
        np.testing.assert_array_equal(again.parameters[name], exact)


def test_any_safetensors_reader_sees_our_names_and_values(tmp_path):
    model = make(dtype="float64")
    model.save(tmp_path / "m.safetensors")
    tensors = load_file(tmp_path / "m.safetensors")
    assert set(tensors) == set(model.parameters)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(tensors[name], value, strict=True)


def test_equal_models_give_equal_files(tmp_path):
    for name in ("a", "b"):
        make().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_schema_1_still_opens_and_trains_on(tmp_path):
    """Written by the version before several inputs, in float32 on the CPU."""
    old = bp.load(Path(__file__).parent / "data" / "schema-1.safetensors", device="cpu")
    x = np.arange(6.0).reshape(2, 3)
    assert old.net == bp.Sequential(bp.Linear(2), bp.Tanh(), bp.Linear(1))
    assert old.inputs == bp.InputSpec((3,)) and old.input_shape == (3,)
    assert (old.seed, old.metadata) == (1, {"made with": "schema 1"})
    expected = [[0.18207699060440063], [0.48460519313812256]]
    np.testing.assert_allclose(old.predict(x), expected, rtol=1e-6)
    assert old.training_state.step == 2
    old.save(tmp_path / "m.safetensors", training_state=True)
    new = bp.load(tmp_path / "m.safetensors", device="cpu")
    np.testing.assert_array_equal(new.predict(x), old.predict(x))
    assert new.training_state.optimizer == bp.SGD(0.1, momentum=0.9)
    for model in (old, new):
        bp.fit(model, x, x[:, :1], loss=bp.L2Loss(), optimizer=model.training_state.optimizer)
    np.testing.assert_array_equal(new.vector, old.vector)


@pytest.mark.parametrize(
    "inputs",
    [
        several_inputs.INPUTS,
        {"age": 3, "ids": bp.InputSpec((), "index")},
        {"shape": bp.InputSpec((), "index"), "named": 3},
        (bp.InputSpec((), "index", size=5), 3),
    ],
)
def test_several_inputs_come_back_in_their_order(device, inputs, tmp_path):
    net = several_inputs.make().net if "shape" not in inputs else bp.Identity()
    model = bp.Model(net, inputs, device=device, seed=2)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device, layers=[several_inputs.Lookup])
    assert again.inputs == model.inputs and again.input_shape == model.input_shape
    if isinstance(inputs, dict):
        assert list(again.inputs) == list(model.inputs) == list(inputs)
    if "shape" not in inputs:
        x = several_inputs.X
        x = x if isinstance(inputs, dict) else tuple(x.values())
        np.testing.assert_array_equal(again.predict(x), model.predict(x))


# -- layers of one's own ---------------------------------------------------------------------


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


class Twice(bp.Sequential):
    """A sequence that is not one: it must not come back as one."""

    def forward(self, params, x, ctx):
        y, backward = super().forward(params, x, ctx)
        return y * 2.0, lambda delta: backward(delta * 2.0)


def test_a_sequence_of_ones_own_stays_what_it_is(tmp_path):
    model = bp.Model(Twice(bp.Linear(2)), input_shape=(4,), device="cpu")
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", "cpu", layers=[Twice])
    assert type(again.net) is Twice
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@dataclass(frozen=True)
class Holder(bp.Layer):
    held: object = None


def nested(depth):
    net = bp.Tanh()
    for _ in range(depth):
        net = bp.Sequential(net)
    return net


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (type("Linear", (bp.Layer,), {})(), "another class has the name 'Linear'"),
        (
            bp.Sequential(Gain(), type("Gain", (bp.Layer,), {})()),
            "another class has the name 'Gain'",
        ),
        (Holder(np.float32(1.5)), "cannot be saved"),
        (Holder(float("nan")), "nan, cannot be saved"),
        (Holder([1, 2]), "tuples"),
        (nested(DEPTH_LIMIT), "nested at most 64 deep"),
    ],
)
def test_what_would_not_come_back_is_not_written(net, message, tmp_path):
    model = bp.Model(net, input_shape=(4,), device="cpu")
    with pytest.raises(bp.InputError, match=message):
        model.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_deepest_model_that_is_written_comes_back(tmp_path):
    net = nested(DEPTH_LIMIT - 1)
    bp.Model(net, input_shape=(4,), device="cpu").save(tmp_path / "m.safetensors")
    assert bp.load(tmp_path / "m.safetensors", "cpu").net == net


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([type("Tanh", (bp.Layer,), {})], "two classes 'Tanh'"),
        ([Gain, type("Gain", (bp.Layer,), {})], "two classes 'Gain'"),
        ([Gain()], "expected classes"),
        ([int], "expected classes"),
    ],
)
def test_classes_handed_in_cannot_stand_for_others(layers, message, tmp_path):
    make().save(tmp_path / "m.safetensors")
    with pytest.raises(bp.InputError, match=message):
        bp.load(tmp_path / "m.safetensors", "cpu", layers=layers)


# -- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", ["io.BufferedWriter.write", "os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing, error):
    path = tmp_path / "m.safetensors"
    make().save(path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    if failing.startswith("io."):  # a file object that fails half way, as a full disk does
        real_open = type(path).open

        def opened(self, mode="r", *rest):
            file = real_open(self, mode, *rest)
            return file if "x" not in mode else HalfWritten(file, error)

        monkeypatch.setattr("pathlib.Path.open", opened)
    else:
        monkeypatch.setattr(failing, fail)
    with pytest.raises(type(error)):
        make(dtype="float64").save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class HalfWritten:
    def __init__(self, file, error):
        self.file, self.error = file, error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        raise self.error


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are those of POSIX")
def test_a_saved_file_has_ordinary_permissions_and_links_stay_links(tmp_path):
    target, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    link.symlink_to(target)
    make().save(link)
    assert link.is_symlink() and target.is_file()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


def test_places_that_cannot_be_written_to_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        make().save(tmp_path / "nowhere" / "m.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        make().save(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model file"):
        bp.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match="no model file"):
        bp.load(tmp_path)


def stored(path):
    """The arrays and the metadata of a model file."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def of_schema_2(metadata):
    """The metadata as it was before files had checksums."""
    content = json.loads(metadata["bp_arrays"])
    del content["checksum"], content["checksums"]
    return {"bp_arrays": json.dumps(content | {"schema": 2})}


def test_a_file_in_which_the_scale_is_still_named_deviation_opens(tmp_path):
    model = make()
    model.set_parameters({"0.scale": [1, 2, 3, 4]})
    model.save(tmp_path / "new.safetensors")
    arrays, metadata = stored(tmp_path / "new.safetensors")
    metadata = of_schema_2(metadata)
    arrays["0.deviation"] = arrays.pop("0.scale")
    save_file(arrays, tmp_path / "old.safetensors", metadata=metadata)
    again = bp.load(tmp_path / "old.safetensors", device="cpu")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    arrays["0.scale"] = arrays["0.deviation"]
    save_file(arrays, tmp_path / "both.safetensors", metadata=metadata)
    with pytest.raises(bp.DataError, match=r"0\.deviation"):
        bp.load(tmp_path / "both.safetensors", device="cpu")


def test_a_scale_of_zero_is_refused_wherever_it_comes_from(tmp_path, device):
    model = bp.Model(bp.Standardize(), 2, device=device)
    zeros = device.asarray([0.0, 0.0, 1.0, 0.0], "float32")
    with pytest.raises(bp.InputError, match=r"scale\[1\]: expected a finite number > 0, got 0.0"):
        model.state_vector = zeros
    assert model.predict([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    model.set_parameters({"scale": [1.0, 1e-12]})
    model.save(tmp_path / "m")
    with pytest.raises(bp.DataError, match=r"m: scale\[1\]: expected a finite number > 0"):
        bp.load(tmp_path / "m", "cpu", dtype="float16")  # 0 in float16
    arrays, metadata = stored(tmp_path / "m")
    arrays["scale"][0] = 0.0
    save_file(arrays, tmp_path / "damaged", metadata=of_schema_2(metadata))
    with pytest.raises(bp.DataError, match=r"damaged: scale\[0\]: expected a finite number > 0"):
        bp.load(tmp_path / "damaged", "cpu")
