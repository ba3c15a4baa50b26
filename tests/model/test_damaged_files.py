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
            {"schema": 3},
            "schema 3, this version reads 1 to 2: update bp_arrays with pip install -U",
        ),
        ({"schema": 3, "net": ..., "dtype": ...}, "update bp_arrays"),
        ({"schema": 0}, "damaged"),
        ({"schema": "1"}, "schema '1'"),
        ({"schema": 1.0}, "schema 1.0"),
        ({"schema": ...}, "schema None"),
        ({"net": ...}, "expected a layer, not None"),
        ({"net": [1, 2]}, "expected a layer"),
        ({"net": {"Zeros": {}}}, "expected a layer"),
        ({"net": {"A": {}, "B": {}}}, "one class name"),
        ({"net": {}}, "one class name"),
        ({"net": {"os.system": {"command": "true"}}}, "does not know"),
        ({"net": {"Layer": {}}}, "does not know"),
        ({"net": {"Context": {}}}, "does not know"),
        ({"net": {"Line\nar": {}}}, "does not know"),
        ({"net": {"Linear": 3}}, "cannot be built"),
        ({"net": {"Linear": {"nonsense": 1}}}, "cannot be built"),
        ({"net": {"Linear": {"out_features": "many"}}}, "cannot be built"),
        ({"net": {"Linear": {"out_features": 10**4000}}}, r"weight should be|cannot be built"),
        (linear(bias="yes"), "True or False"),
        (linear(weight_init={"Tanh": {}}), "expected an initializer"),
        ({"net": {"Dropout": {"rate": "abc"}}}, "Dropout cannot be built"),
        ({"net": {"Dropout": {"rate": 10**400}}}, "Dropout cannot be built"),
        ({"net": {"GELU": {"exact": 3}}}, "True or False"),
        ({"net": {"Sequential": [3]}}, "argument 0 is not a layer"),
        ({"net": {"Residual": [{"Linear": {"out_features": 3}}]}}, "do not fit each other"),
        ({"inputs": one([7])}, r"weight should be F32 of shape \(7, 2\), but is F32 of shape \(4"),
        ({"inputs": one([2, 2])}, r"weight should be F32 of shape \(2, 2\), but is F32 of shape"),
        ({"inputs": one("4")}, "the shape of an input is"),
        ({"schema": 1, "inputs": ..., "input_shape": "4"}, "input_shape is"),
        ({"inputs": one([True])}, "the shape of an input is"),
        ({"schema": 1, "inputs": ..., "input_shape": [True]}, "input_shape is"),
        ({"inputs": one([4.0])}, "the shape of an input is"),
        ({"schema": 1, "inputs": ..., "input_shape": [4.0]}, "input_shape is"),
        ({"inputs": one([0])}, "the shape of an input is"),
        ({"schema": 1, "inputs": ..., "input_shape": [0]}, "input_shape is"),
        ({"inputs": one([-4])}, "the shape of an input is"),
        ({"schema": 1, "inputs": ..., "input_shape": [-4]}, "input_shape is"),
        ({"inputs": ...}, "an input is None, expected its shape, kind and size"),
        ({"inputs": []}, r"an input is \[\], expected its shape"),
        ({"inputs": [one([4])]}, "do not fit each other"),
        ({"inputs": {"named": {}}}, "expected names"),
        ({"inputs": {"named": {"x": [4]}}}, r"an input is \[4\], expected its shape"),
        ({"inputs": one([4], kind="text")}, "expected 'number' or 'index', got 'text'"),
        ({"inputs": one([4], kind=["index"])}, "expected 'number' or 'index'"),
        ({"inputs": one([4], size=3)}, "expected kind='index' with a size"),
        ({"inputs": one([4], kind="index", size=True)}, "size of an input is True"),
        ({"inputs": one([4], kind="index", size=0)}, "expected a positive integer, got 0"),
        ({"dtype": "float31"}, "dtype is 'float31'"),
        ({"dtype": "float64"}, "weight should be F64"),
        ({"dtype": ["float32"]}, "dtype is"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
        ({"net": {"Adam": {}}}, "expected a layer"),
        ({"training": 3}, "training state"),
        (training(step=-1), "step is -1"),
        (training(epoch=True), "epoch is True"),
        (training(optimizer={"Tanh": {}}), "expected an optimizer"),
        (training(optimizer={"Adam": {"beta1": 2}}), "Adam cannot be built"),
        (training(), r"differ at 3 name.*training_state\.0"),
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
        ("", "not valid JSON"),
        ("[" * 10**5, "not valid JSON"),
        ("null", "schema None"),
        ("[]", "schema None"),
        (RIGHT[:-1], "not valid JSON"),
        (RIGHT[:-1] + ', "schema": 1}', "twice"),
        (RIGHT.replace('"seed": 0', '"seed": NaN'), "NaN is no JSON number"),
        (RIGHT.replace('"out_features": 2', '"out_features": Infinity'), "no JSON number"),
        (RIGHT.replace('"out_features": 2', '"out_features": 1e999'), "expected a whole number"),
        (RIGHT.replace('"out_features": 2', '"out_features": ' + "9" * 5000), "not valid JSON"),
    ],
)
def test_text_that_is_no_description(tmp_path, text, message):
    refused(written(tmp_path, text), message)


def test_a_deeply_nested_architecture(tmp_path):
    net = {"Identity": {}}
    for _ in range(100):
        net = {"Sequential": [net]}
    refused(written(tmp_path, description(net=net), {}, b""), "over 64 deep")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**ARRAYS, "weight": {**ARRAYS["weight"], "dtype": "I32"}}, "but is I32"),
        ({**ARRAYS, "weight": {**ARRAYS["weight"], "shape": [2, 4]}}, r"shape \(2, 4\)"),
        (
            {**ARRAYS, "weight": {"dtype": "F64", "shape": [4, 1], "data_offsets": [0, 32]}},
            "but is F64",
        ),
        (
            {**ARRAYS, "weight": {"dtype": "BF16", "shape": [4, 4], "data_offsets": [0, 32]}},
            "but is BF16",
        ),
        ({"weight": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}}, "readable"),
        ({"w": ARRAYS["weight"], "bias": ARRAYS["bias"]}, "differ at 2 name"),
        (
            {**ARRAYS, "more": {"dtype": "F32", "shape": [0], "data_offsets": [40, 40]}},
            "differ at 1 name.*more",
        ),
        ({**ARRAYS, "bias": {**ARRAYS["bias"], "data_offsets": [0, 8]}}, "not a readable"),
        ({**ARRAYS, "bias": {**ARRAYS["bias"], "data_offsets": [32, 48]}}, "not a readable"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    refused(written(tmp_path, description(), arrays), message)


def test_a_missing_array(tmp_path):
    arrays = {"weight": ARRAYS["weight"]}
    refused(written(tmp_path, description(), arrays, bytes(32)), r"differ at 1 name.*bias")


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
    refused(path, "not a model written by bp_arrays")
    save_file({"w": np.zeros(3, dtype=np.float32)}, path, metadata={"format": "pt"})
    refused(path, "not a model written by bp_arrays")


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
