"""Covers: MultiHeadAttention and positions, against PyTorch and ONNX's reference."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(3, 5, 8))
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]])


def by_pytorch(layer, parameters, x, keep=None):
    """The layer by torch.nn.functional.scaled_dot_product_attention."""
    import torch
    import torch.nn.functional as F

    h, kv = layer.heads, layer.kv_heads or layer.heads
    b, t, w = x.shape
    e = w // h
    qkv = x @ parameters["qkv.weight"]
    if layer.bias:
        qkv = qkv + parameters["qkv.bias"]
    q, k, v = (
        part.reshape(b, t, -1, e).transpose(1, 2)
        for part in qkv.split([h * e, kv * e, kv * e], dim=-1)
    )
    if keep is None:
        o = F.scaled_dot_product_attention(q, k, v, is_causal=layer.causal, enable_gqa=kv < h)
    else:
        seen = torch.as_tensor(keep, dtype=torch.bool)[:, None, None, :]
        if layer.causal:
            seen = seen & torch.ones(t, t, dtype=torch.bool).tril()
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=kv < h)
    y = o.transpose(1, 2).reshape(b, t, w) @ parameters["out.weight"]
    return y + parameters["out.bias"] if layer.bias else y


LAYERS = [
    bp.MultiHeadAttention(2),
    bp.MultiHeadAttention(4, causal=True, bias=False),
    bp.MultiHeadAttention(1, causal=True),
    bp.MultiHeadAttention(4, kv_heads=2),
    bp.MultiHeadAttention(4, kv_heads=1, causal=True),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_values_and_gradients_are_those_of_pytorch(layer):
    torch = pytest.importorskip("torch")
    from attention.reference import check_gradients, float64_model, tensors

    model = float64_model(layer, (5, 8))
    parameters, x = tensors(model), torch.from_numpy(X).requires_grad_()
    check_gradients(model, X, by_pytorch(layer, parameters, x), parameters, x)


@pytest.mark.parametrize("kind", ["numbers", "indices", "lengths", "both"])
@pytest.mark.parametrize("layer", LAYERS[:4], ids=repr)
def test_keys_that_are_masked_have_no_weight(layer, kind):
    """As in PyTorch, and a sample without any key gets zeros."""
    torch = pytest.importorskip("torch")
    from attention.reference import Pick, check_gradients, float64_model, tensors

    inputs = {"x": (5, 8)}
    x = {"x": X}
    lengths, keep = np.array([5, 4, 3]), np.ones((3, 5))
    if kind != "lengths":
        inputs["mask"] = 5 if kind == "numbers" else bp.InputSpec(5, "index", size=2)
        x["mask"], keep = MASK, keep * MASK
    if kind in ("lengths", "both"):
        inputs["lengths"] = bp.InputSpec((), "index", 6)
        x["lengths"], keep = lengths, keep * (np.arange(5) < lengths[:, None])
    model = float64_model(bp.Sequential(layer, Pick()), inputs)
    parameters, sequence = tensors(model), torch.from_numpy(X).requires_grad_()
    check_gradients(model, x, by_pytorch(layer, parameters, sequence, keep), parameters, sequence)


def test_a_sample_without_keys_gets_zeros(device):
    layer = bp.MultiHeadAttention(2, bias=False)
    pytest.importorskip("torch")
    from attention.reference import Pick

    net = bp.Sequential(layer, Pick())
    model = bp.Model(net, {"x": (5, 8), "mask": 5}, device=device)
    y, backward = model.forward({"x": X, "mask": np.zeros((3, 5))})
    assert not device.to_numpy(y).any()
    dx, gradients = backward(y + 1.0)
    assert dx["mask"] is None
    for array in (dx["x"], *gradients.values()):
        assert not device.to_numpy(array).any()  # neither NaN


def test_the_output_is_that_of_pytorchs_module():
    torch = pytest.importorskip("torch")
    module = torch.nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64)
    model = bp.Model(bp.MultiHeadAttention(4), (5, 8), device="cpu", dtype="float64")
    arrays = {name: value.detach().numpy() for name, value in module.named_parameters()}
    model.set_parameters(
        {
            "qkv.weight": arrays["in_proj_weight"].T,
            "qkv.bias": arrays["in_proj_bias"],
            "out.weight": arrays["out_proj.weight"].T,
            "out.bias": arrays["out_proj.bias"],
        }
    )
    x = torch.from_numpy(X)
    np.testing.assert_allclose(model.predict(X), module(x, x, x)[0].detach(), atol=1e-13)


def onnx_cases():
    """The cases of ONNX's Attention with queries, keys and values only, and no settings."""
    onnx = pytest.importorskip("onnx")
    from onnx.backend.test.case import node as cases

    importlib.import_module("onnx.backend.test.case.node.attention")  # of this operator alone
    for case in cases._NodeTestCases:
        node = case.model.graph.node[0]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        inputs, outputs = case.data_sets[0]
        if node.op_type == "Attention" and len(inputs) == 3 and set(attributes) <= {"is_causal"}:
            yield case.name, bool(attributes.get("is_causal")), inputs, outputs[0]


def test_rotary_positions_are_those_of_onnx():
    """Its caches of sines and cosines are arguments; ours are those of a base."""
    pytest.importorskip("onnx")
    from onnx.reference.ops.op_rotary_embedding import rotary_embedding

    time, features = 6, 8
    x = GENERATOR.normal(size=(2, 3, time, features))
    angles = np.arange(time)[:, None] * 10000.0 ** (-np.arange(0, features, 2) / features)
    for interleaved in (False, True):
        layer = bp.RotaryPositions(interleaved=interleaved)
        model = bp.Model(layer, x.shape[1:], device="cpu", dtype="float64")
        expected = rotary_embedding(
            x, np.cos(angles), np.sin(angles), np.arange(time) + np.zeros((2, 1), int),
            interleaved=interleaved,
        )  # fmt: skip
        np.testing.assert_allclose(model.predict(x), expected, atol=1e-14)


def test_attention_is_that_of_onnx():
    """Its cases have 4 queries and 6 keys: two more queries are added and not compared."""
    compared = []
    for name, causal, (q, k, v), output in onnx_cases():
        if q.dtype != np.float32 or v.shape != k.shape:
            continue
        q = np.pad(q, [(0, 0), (0, 0), (0, k.shape[2] - q.shape[2]), (0, 0)])
        b, h, t, e = q.shape
        assert b * t <= h * e
        # an x of independent rows, and the weight by which its product is q, k and v
        x = GENERATOR.normal(size=(b * t, h * e))
        qkv = np.concatenate([np.swapaxes(a, 1, 2).reshape(b * t, -1) for a in (q, k, v)], axis=1)
        layer = bp.MultiHeadAttention(h, kv_heads=k.shape[1], causal=causal, bias=False)
        model = bp.Model(layer, (t, h * e), device="cpu", dtype="float64")
        weights = {"qkv.weight": np.linalg.pinv(x) @ qkv, "out.weight": np.eye(h * e)}
        model.set_parameters(weights)
        y = np.swapaxes(model.predict(x.reshape(b, t, h * e)).reshape(b, t, h, e), 1, 2)
        np.testing.assert_allclose(y[:, :, : output.shape[2]], output, atol=2e-6, err_msg=name)
        compared.append(name)
    assert {"test_attention_4d", "test_attention_4d_gqa_causal"} <= set(compared)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.MultiHeadAttention(0), r"MultiHeadAttention\(heads=0\): expected heads >= 1"),
        (lambda: bp.MultiHeadAttention(4, kv_heads=3), "expected a divisor of heads, 4"),
        (lambda: bp.MultiHeadAttention(2, causal=1), "expected True or False"),
        (lambda: bp.MultiHeadAttention(2, rotary="yes"), "expected True or False"),
        (lambda: bp.LearnedPositions(0), "expected length >= 1"),
        (
            lambda: bp.SinusoidalPositions(1.0),
            r"SinusoidalPositions\(base=1.0\): expected base > 1",
        ),
        (lambda: bp.RotaryPositions(0.0), r"RotaryPositions\(base=0.0\): expected base > 1"),
        (lambda: bp.RotaryPositions(interleaved=2), "expected True or False"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (bp.MultiHeadAttention(3), (5, 8), "features that 3 heads divide, got 8"),
        (bp.MultiHeadAttention(2), (8,), r"samples of shape \(time, features\), got \(8,\)"),
        (bp.MultiHeadAttention(2), {"x": (5, 8), "key": 5}, "got one of 'x', 'key'"),
        (bp.MultiHeadAttention(2), {"x": (5, 8), "mask": 4}, r"'mask' of shape \(5,\)"),
        (
            bp.MultiHeadAttention(4, rotary=True),
            (5, 12),
            "even number of features per head",
        ),
        (bp.LearnedPositions(4), (5, 8), "at most 4 positions, got 5"),
        (bp.LearnedPositions(4), 5, r"samples of shape \(time, features\), got \(5,\)"),
        (bp.SinusoidalPositions(), (2, 3, 4), r"samples of shape \(time, features\)"),
        (bp.RotaryPositions(), (5, 3), "an even number of features"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_model_is_built(layer, inputs, message):
    with pytest.raises(InputError, match=message):
        bp.Model(layer, inputs, device="cpu")


def test_sequences_shorter_than_the_positions_leave_the_others_as_they_are():
    model = bp.Model(bp.LearnedPositions(6), (4, 3), device="cpu")
    _, gradients = model.gradients(np.ones((2, 4, 3)), np.zeros((2, 4, 3)), bp.L2Loss())
    assert gradients["weight"][:4].all() and not gradients["weight"][4:].any()


def test_sines_keep_their_digits_at_late_positions(device):
    """The angle of position 4000 is computed in float64."""
    x = np.zeros((1, 4001, 2))
    model = bp.Model(bp.SinusoidalPositions(), x.shape[1:], device=device)
    y = device.to_numpy(model.predict(device.asarray(x, "float32")))
    np.testing.assert_allclose(y[0, 4000], [np.sin(4000.0), np.cos(4000.0)], atol=1e-7)


def test_a_file_keeps_every_field(tmp_path):
    rotary = bp.RotaryPositions(500.0, interleaved=True)
    net = bp.Sequential(
        bp.SinusoidalPositions(100.0),
        bp.LearnedPositions(7),
        bp.MultiHeadAttention(4, 2, causal=True, bias=False, rotary=rotary),
        bp.MultiHeadAttention(2, rotary=True, weight_init=bp.Normal(0.02)),
    )
    model = bp.Model(net, (5, 8), device="cpu", seed=1)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert again.net == net
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_attention_finds_the_marked_position(device):
    """The target is the vector at the position whose last number is largest."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(256, 6, 4))
    marked = generator.integers(0, 6, 256)
    x[:, :, 3] = 0.0
    x[np.arange(256), marked, 3] = 3.0
    t = np.repeat(x[np.arange(256), marked][:, None, :3], 6, axis=1)
    net = bp.Sequential(bp.MultiHeadAttention(1), bp.Linear(3))
    model = bp.Model(net, (6, 4), device=device, seed=0)
    history = bp.fit(
        model, x, t, loss=bp.MeanSquaredError(), optimizer=bp.Adam(0.02), epochs=12, batch_size=32
    )
    assert history["loss"][-1] < 0.3 * history["loss"][0]


@pytest.mark.parametrize("lengths", [(), bp.InputSpec((), "index"), bp.InputSpec((), "index", 8)])
def test_lengths_that_may_exceed_the_sequence_are_refused(lengths):
    with pytest.raises(bp.InputError, match=r'"index", size=7\), got'):
        bp.Model(bp.MultiHeadAttention(3), {"x": (6, 3), "lengths": lengths}, device="cpu")


def test_what_stands_in_the_padding_reaches_no_position(device):
    inputs = {"x": (6, 3), "lengths": bp.InputSpec((), "index", 7)}
    net = bp.Sequential(bp.MultiHeadAttention(3), bp.Select("x"))
    model = bp.Model(net, inputs, device=device, seed=0)
    x, lengths = np.random.default_rng(0).normal(size=(2, 6, 3)), np.array([2, 5])
    expected = np.asarray(model.predict({"x": x, "lengths": lengths}))
    x[0, 2:] = np.nan
    x[1, 5:] = np.nan
    y = np.asarray(model.predict({"x": x, "lengths": lengths}))
    for sample, length in enumerate(lengths):
        np.testing.assert_allclose(y[sample, :length], expected[sample, :length], rtol=1e-6)
