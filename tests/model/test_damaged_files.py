"""Files that are not what they claim: one clear line, no model, no memory asked for."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

import bp_arrays as bp
from bp_arrays.formats._safetensors import HEADER_LIMIT

ARRAYS = {
    "weight": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
    "bias": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]},
}


def description(**changes):
    """Of a Linear(2) for 4 inputs, changed."""
    right = {
        "schema": 2,
        "net": {"Linear": {"out_features": 2}},
        "inputs": {"shape": [4], "kind": "number", "size": None},
        "dtype": "float32",
        "seed": 0,
        "metadata": {},
    }
    return {k: v for k, v in {**right, **changes}.items() if v is not ...}


def written(folder, described, arrays=ARRAYS, data=bytes(40)):
    """A safetensors file put together by hand."""
    path = folder / "m.safetensors"
    text = described if isinstance(described, str) else json.dumps(described)
    header = json.dumps({"__metadata__": {"bp_arrays": text}, **arrays}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def refused(path, message):
    with pytest.raises(bp.DataError, match=message) as caught:
        bp.load(path, device="cpu")
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1


def test_the_file_put_together_by_hand_is_right(tmp_path):
    model = bp.load(written(tmp_path, description()), device="cpu")
    assert model.net == bp.Linear(2)
    assert model.predict(np.ones((1, 4))).tolist() == [[0.0, 0.0]]


def one(shape, kind="number", size=None):
    """One input, as a file describes it."""
    return {"shape": shape, "kind": kind, "size": size}


def linear(**fields):
    return {"net": {"Linear": {"out_features": 2, **fields}}}


def training(**fields):
    return {"training": {"optimizer": {"Adam": {}}, "step": 3, "epoch": 1, **fields}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schema": 4},
            "expected model schema 1 to 3, got 4; update bp_arrays with pip install -U",
        ),
        ({"schema": 4, "net": ..., "dtype": ...}, "update bp_arrays"),
        ({"schema": 0}, "damaged"),
        ({"schema": "1"}, "got '1'"),
        ({"schema": 1.0}, "got 1.0"),
        ({"schema": ...}, "got None"),
        ({"net": ...}, "expected a layer, got None"),
        ({"net": [1, 2]}, "expected a layer"),
        ({"net": {"Zeros": {}}}, "expected a layer"),
        ({"net": {"A": {}, "B": {}}}, "one class name"),
        ({"net": {}}, "one class name"),
        ({"net": {"os.system": {"command": "true"}}}, "expected a layer class known"),
        ({"net": {"Layer": {}}}, "expected a layer class known"),
        ({"net": {"Context": {}}}, "expected a layer class known"),
        ({"net": {"Line\nar": {}}}, "expected a layer class known"),
        ({"net": {"Linear": 3}}, "cannot be built"),
        ({"net": {"Linear": {"nonsense": 1}}}, "cannot be built"),
        ({"net": {"Linear": {"out_features": "many"}}}, "cannot be built"),
        ({"net": {"Linear": {"out_features": 10**4000}}}, r"weight: expected|cannot be built"),
        (linear(bias="yes"), "True or False"),
        (linear(weight_init={"Tanh": {}}), "expected an initializer"),
        ({"net": {"Dropout": {"rate": "abc"}}}, "Dropout cannot be built"),
        ({"net": {"Dropout": {"rate": 10**400}}}, "Dropout cannot be built"),
        ({"net": {"GELU": {"exact": 3}}}, "True or False"),
        ({"net": {"Sequential": [3]}}, "argument 0: expected a layer"),
        ({"net": {"Residual": [{"Linear": {"out_features": 3}}]}}, "do not fit each other"),
        ({"inputs": one([7])}, r"weight: expected F32 of shape \(7, 2\), got F32 of shape \(4"),
        ({"inputs": one([2, 2])}, r"weight: expected F32 of shape \(2, 2\), got F32 of shape"),
        ({"inputs": one("4")}, "shape: expected"),
        ({"schema": 1, "inputs": ..., "input_shape": "4"}, "input_shape: expected"),
        ({"inputs": one([True])}, "shape: expected"),
        ({"schema": 1, "inputs": ..., "input_shape": [True]}, "input_shape: expected"),
        ({"inputs": one([4.0])}, "shape: expected"),
        ({"schema": 1, "inputs": ..., "input_shape": [4.0]}, "input_shape: expected"),
        ({"inputs": one([0])}, "shape: expected"),
        ({"schema": 1, "inputs": ..., "input_shape": [0]}, "input_shape: expected"),
        ({"inputs": one([-4])}, "shape: expected"),
        ({"schema": 1, "inputs": ..., "input_shape": [-4]}, "input_shape: expected"),
        ({"inputs": ...}, "inputs: expected shape, kind and size, got None"),
        ({"inputs": []}, r"inputs: expected shape, kind and size, got \[\]"),
        ({"inputs": [one([4])]}, "do not fit each other"),
        ({"inputs": {"named": {}}}, "expected inputs by name"),
        ({"inputs": {"named": {"x": [4]}}}, r"inputs: expected shape, kind and size, got \[4\]"),
        ({"inputs": one([4], kind="text")}, "expected 'number' or 'index', got 'text'"),
        ({"inputs": one([4], kind=["index"])}, "expected 'number' or 'index'"),
        ({"inputs": one([4], size=3)}, "expected kind='index' with a size"),
        ({"inputs": one([4], kind="index", size=True)}, "size: expected an integer, got True"),
        ({"inputs": one([4], kind="index", size=0)}, "expected a positive integer, got 0"),
        ({"dtype": "float31"}, "dtype: expected .*got 'float31'"),
        ({"dtype": "float64"}, "weight: expected F64"),
        ({"dtype": ["float32"]}, "dtype: expected"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"net": {"Adam": {}}}, "expected a layer"),
        ({"training": 3}, "training: expected"),
        (training(step=-1), "step: expected .*got -1"),
        (training(epoch=True), "epoch: expected .*got True"),
        (training(optimizer={"Tanh": {}}), "expected an optimizer"),
        (training(optimizer={"Adam": {"beta1": 2}}), "Adam cannot be built"),
        (training(), r"3 name.*differ: training_state\.0"),
        (training(optimizer={"SGD": {"learning_rate": 0.1}}, epoch=10**15), "monitored"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": ["a"]}, "metadata"),
    ],
)
def test_descriptions_that_are_wrong(tmp_path, changes, message):
    refused(written(tmp_path, description(**changes)), message)


RIGHT = json.dumps(description())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected valid JSON"),
        ("[" * 10**5, "expected valid JSON"),
        ("null", "got None"),
        ("[]", "got None"),
        (RIGHT[:-1], "expected valid JSON"),
        (RIGHT[:-1] + ', "schema": 1}', "duplicate name"),
        (RIGHT.replace('"seed": 0', '"seed": NaN'), "NaN, which is not a JSON number"),
        (RIGHT.replace('"out_features": 2', '"out_features": Infinity'), "not a JSON number"),
        (RIGHT.replace('"out_features": 2', '"out_features": 1e999'), "expected a whole number"),
        (
            RIGHT.replace('"out_features": 2', '"out_features": ' + "9" * 5000),
            "expected valid JSON",
        ),
    ],
)
def test_text_that_is_no_description(tmp_path, text, message):
    refused(written(tmp_path, text), message)


def test_a_deeply_nested_architecture(tmp_path):
    net = {"Identity": {}}
    for _ in range(100):
        net = {"Sequential": [net]}
    refused(written(tmp_path, description(net=net), {}, b""), "at most 64 deep")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**ARRAYS, "weight": {**ARRAYS["weight"], "dtype": "I32"}}, "got I32"),
        ({**ARRAYS, "weight": {**ARRAYS["weight"], "shape": [2, 4]}}, r"shape \(2, 4\)"),
        (
            {**ARRAYS, "weight": {"dtype": "F64", "shape": [4, 1], "data_offsets": [0, 32]}},
            "got F64",
        ),
        (
            {**ARRAYS, "weight": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [0, 32]}},
            "got BF16",
        ),
        ({"weight": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}}, "readable"),
        ({"w": ARRAYS["weight"], "bias": ARRAYS["bias"]}, "2 name"),
        (
            {**ARRAYS, "more": {"dtype": "F32", "shape": [0], "data_offsets": [40, 40]}},
            "1 name.*differ: .*more",
        ),
        ({**ARRAYS, "bias": {**ARRAYS["bias"], "data_offsets": [0, 8]}}, "not a readable"),
        ({**ARRAYS, "bias": {**ARRAYS["bias"], "data_offsets": [32, 48]}}, "not a readable"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    refused(written(tmp_path, description(), arrays), message)


def test_a_missing_array(tmp_path):
    arrays = {"weight": ARRAYS["weight"]}
    refused(written(tmp_path, description(), arrays, bytes(32)), r"1 name.*differ: .*bias")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_files(tmp_path, keep):
    path = written(tmp_path, description())
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a readable safetensors")


def test_every_single_byte_of_the_header_may_be_damaged(tmp_path):
    """Whatever byte is struck, a model opens that is one, or one clear error comes."""
    path = written(tmp_path, description())
    content = path.read_bytes()
    for place in range(len(content) - 40):
        struck = bytearray(content)
        struck[place] ^= 0x15
        path.write_bytes(struck)
        try:
            model = bp.load(path, device="cpu")
        except bp.DataError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert model.predict(np.ones((1, 4))).shape == (1, 2)


@pytest.mark.parametrize("training_state", [False, True])
def test_every_single_bit_of_a_file_may_be_flipped(tmp_path, training_state):
    """Never another model: the same one, where a space is struck, or one clear error."""
    model = bp.Model(bp.Linear(2), 3, device="cpu", dtype="float16", seed=7)
    bp.fit(model, np.ones((4, 3)), np.ones((4, 2)), loss=bp.L2Loss(), optimizer=bp.Adam())
    model.metadata = {"by": "me"}
    path = tmp_path / "m.safetensors"
    model.save(path, training_state=training_state)
    content = path.read_bytes()
    for place in range(len(content)):
        struck = bytearray(content)
        struck[place] ^= 1 << place % 8
        path.write_bytes(struck)
        try:
            read = bp.load(path, device="cpu")
        except bp.DataError as error:
            assert len(str(error).splitlines()) == 1
        else:
            again = tmp_path / "again.safetensors"
            read.save(again, training_state=training_state)
            assert again.read_bytes() == content


def test_damage_is_named_with_its_place(tmp_path):
    path = tmp_path / "m.safetensors"
    bp.Model(bp.Linear(2), 3, device="cpu", seed=7).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(path, "weight differs from its checksum")
    path.write_bytes(content.replace(b'\\"seed\\": 7', b'\\"seed\\": 5'))
    refused(path, "header differs from its checksum")
    path.write_bytes(content.replace(b'\\"schema\\": 3', b'\\"schema\\": 2'))
    refused(path, "header differs from its checksum")


@pytest.mark.parametrize(
    "content", [b"PK\3\4" + bytes(60), b"\x80\4\x95" + bytes(60), b"a,b\n1,2\n"]
)
def test_files_of_other_kinds(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    refused(path, "not a readable safetensors")


def test_a_safetensors_file_of_somebody_else(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": np.zeros(3, dtype=np.float32)}, path)
    refused(path, "expected a model written by bp_arrays")
    save_file({"w": np.zeros(3, dtype=np.float32)}, path, metadata={"format": "pt"})
    refused(path, "expected a model written by bp_arrays")


def huge_layer(folder):
    return written(folder, description(net={"Linear": {"out_features": 10**12}}))


def huge_layer_and_arrays(folder):
    size = 10**12
    arrays = {
        "weight": {"dtype": "F32", "shape": [4, size], "data_offsets": [0, 16 * size]},
        "bias": {"dtype": "F32", "shape": [size], "data_offsets": [16 * size, 20 * size]},
    }
    return written(folder, description(net={"Linear": {"out_features": size}}), arrays)


def huge_input(folder):
    return written(folder, description(net={"Flatten": {}}, input_shape=[10**9] * 3), {}, b"x")


def header_longer_than_the_file(folder):
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    return path


def header_of_a_gigabyte(folder):
    """A hole in the file: it has the length it claims."""
    path = header_longer_than_the_file(folder)
    path.write_bytes(struct.pack("<Q", 2**30) + b"{")
    os.truncate(path, 2**30 + 8)
    return path


def a_million_layers(folder):
    return written(folder, description(net={"Sequential": [{"Tanh": {}}] * 10**6}), {}, b"")


def as_many_layers_as_are_let_in(folder):
    """Legal in length, with arrays for none of them."""
    count = HEADER_LIMIT // len('{"Linear": {"out_features": 1}}, ') - 100
    layers = [{"Linear": {"out_features": 1}}] * count
    text = json.dumps(description(net={"Sequential": layers})).replace('"', "'")
    return written(folder, text.replace("'", '"'), {}, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
@pytest.mark.parametrize(
    "hostile",
    [
        huge_layer,
        huge_layer_and_arrays,
        huge_input,
        header_longer_than_the_file,
        header_of_a_gigabyte,
        a_million_layers,
        as_many_layers_as_are_let_in,
    ],
    ids=lambda make: make.__name__,
)
def test_absurd_sizes_take_no_memory(tmp_path, hostile):
    """In a process that may have 512 MiB more than it has after the import."""
    path = hostile(tmp_path)
    code = (
        "import resource, sys, bp_arrays as bp, safetensors\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 2**29\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n"
        "    bp.load(sys.argv[1], device='cpu')\n"
        "except bp.DataError as error:\n"
        "    print('refused:', error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert result.stdout.startswith("refused: "), result.stderr[-500:]
