"""Layers for images, sequences and text in ONNX files: ONNX Runtime computes what `predict` does.

The inputs are those of `predict`, with the channels last.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from formats import nets as nets_of_vectors
from formats.layer_nets import IMAGE, NETS, SIGNAL, model_of, samples

import bp_arrays as bp
from bp_arrays import activations, attention, convolution, layers, normalization, recurrence

LENGTHS = bp.InputSpec((), "index", size=8)
MORE = {
    "Conv2d(sides)": (bp.Conv2d(2, 2, stride=2, padding=((0, 1), (2, 0))), IMAGE),
    "Conv2d(same, strides)": (bp.Conv2d(2, (2, 3), stride=(2, 3), padding="same"), IMAGE),
    "attention(kv_heads)": (bp.MultiHeadAttention(3, kv_heads=1, causal=True), SIGNAL),
    "attention(rotary)": (bp.MultiHeadAttention(3, rotary=True), SIGNAL),
    "Ensemble": (bp.Ensemble(bp.Sequential(bp.Linear(3), bp.Tanh()), 2), (4,)),
    "Reshape": (bp.Sequential(bp.Reshape((4, 3, 1)), bp.Conv2d(2, 2)), (12,)),
    "sines": (bp.SinusoidalPositions(), SIGNAL),
    "GPT with a tied table": (
        bp.TiedEmbedding(
            bp.Embedding(9, 4),
            bp.Sequential(
                bp.TransformerBlock(2, causal=True, kv_heads=1, rotary=True, norm=bp.RMSNorm()),
                bp.FeedForward(2),
                bp.LayerNorm(),
            ),
        ),
        bp.InputSpec((7,), "index"),
    ),
    "attention(lengths)": (bp.MultiHeadAttention(2), {"x": SIGNAL, "lengths": LENGTHS}),
    "attention(mask)": (
        bp.Sequential(bp.TransformerBlock(2), bp.Select("x")),
        {"x": SIGNAL, "mask": 7},
    ),
    "LSTM(lengths)": (
        bp.LSTM(3, layers=2, bidirectional=True),
        {"x": SIGNAL, "lengths": LENGTHS},
    ),
    "LSTM(states)": (bp.LSTM(3, last=True), {"x": SIGNAL, "h": 3, "c": 3}),
    "GRU(mask)": (
        bp.Sequential(bp.GRU(3, last=True), bp.Select("x"), bp.Linear(2)),
        {"x": SIGNAL, "mask": 7, "h": 3},
    ),
    "Parallel": (
        bp.Sequential(
            bp.Parallel(left=bp.Linear(3), right=bp.Sequential(bp.Linear(3), bp.Tanh())),
            bp.Add(),
            bp.Parallel(bp.Linear(2), bp.Identity()),
            bp.Concatenate(),
        ),
        SIGNAL,
    ),
    "two images": (
        bp.Sequential(
            bp.Parallel(bp.Conv2d(2, 2), bp.Conv2d(2, 2)), bp.Multiply(), bp.GlobalMaxPool()
        ),
        IMAGE,
    ),
    "SwiGLU": (bp.SwiGLU(), SIGNAL),
    "rotary": (bp.RotaryPositions(), SIGNAL),
    "residual images": (
        bp.Sequential(
            bp.Conv2d(4, 1),
            bp.Residual(bp.Conv2d(4, 3, padding=1), bp.BatchNorm(), bp.ReLU()),
            bp.Conv2d(2, 2),
            bp.Flatten(),
            bp.Linear(2),
        ),
        IMAGE,
    ),
}


def arrays_of(inputs, dtype, rows=4):
    if not isinstance(inputs, dict):
        return samples(inputs, dtype, rows)
    x = samples(inputs["x"], dtype, rows)
    rest = {
        "lengths": np.array([7, 3, 0, 1])[:rows],
        "mask": np.random.default_rng(1).integers(0, 2, (rows, 7)).astype(dtype),
        "h": np.random.default_rng(2).normal(size=(rows, 3)).astype(dtype),
        "c": np.random.default_rng(3).normal(size=(rows, 3)).astype(dtype),
    }
    return {"x": x} | {name: rest[name] for name in inputs if name != "x"}


def exported(model, folder):
    path = str(folder / "m.onnx")
    model.to_onnx(path)
    return path


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    results = session.run(None, x if isinstance(x, dict) else {"input": x})
    return dict(zip(names, results, strict=True))


def operators_of(path):
    return [n.op_type for n in onnx.load(path).graph.node if n.op_type != "Constant"]


@pytest.mark.parametrize("name", [*NETS, *MORE])
def test_onnx_runtime_computes_the_same(name, dtype, tmp_path):
    net, inputs = (NETS | MORE)[name]
    model = model_of(net, inputs, dtype)
    path = exported(model, tmp_path)
    for rows in (4, 1):
        x = arrays_of(inputs, dtype, rows)
        expected = model.predict(x)
        results = run(path, x)
        if not isinstance(expected, dict):
            expected = {"": expected}
        assert list(results) == ["output" + ("_" if key else "") + key for key in expected]
        for result, y in zip(results.values(), expected.values(), strict=True):
            assert result.dtype == y.dtype and result.shape == y.shape
            tolerance = 1e-12 if dtype == "float64" else 2e-5
            np.testing.assert_allclose(result, y, rtol=tolerance, atol=tolerance)


def test_no_layer_is_forgotten():
    nets = [net for net, _ in (NETS | MORE).values()] + list(nets_of_vectors.NETS.values())
    written = {type(layer) for net in nets for layer in every_layer(net)}
    rooms = (layers, activations, attention, convolution, normalization, recurrence)
    public = [getattr(room, name) for room in rooms for name in room.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, bp.Layer)}
    assert kinds - {bp.Layer} <= written


def every_layer(layer):
    yield layer
    for part in layer.parts().values():
        yield from every_layer(part)
    yield from (value for value in vars(layer).values() if isinstance(value, bp.Layer))


def test_images_are_transposed_once_and_become_vectors_once(tmp_path):
    net = bp.Sequential(
        bp.Conv2d(3, 3), bp.BatchNorm(), bp.ReLU(), bp.Conv2d(4, 1), bp.Tanh(), bp.Flatten(),
        bp.Linear(2),
    )  # fmt: skip
    path = exported(model_of(net, IMAGE, "float32"), tmp_path)
    assert operators_of(path) == [
        "Transpose", "Conv", "BatchNormalization", "Relu", "Conv", "Tanh", "Transpose", "Flatten",
        "Gemm",
    ]  # fmt: skip


def test_rearranged_weights_replace_those_they_are_made_of(tmp_path):
    model = model_of(
        bp.Sequential(bp.Conv2d(3, (2, 3)), bp.Flatten(), bp.Linear(2)), IMAGE, "float32"
    )
    found = onnx.load(exported(model, tmp_path))
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in found.graph.initializer}
    assert sorted(weights) == ["0.bias", "0.weight.W", "2.bias", "2.weight"]
    w = model.parameters["0.weight"]
    np.testing.assert_array_equal(weights["0.weight.W"], w.transpose(3, 2, 0, 1))
