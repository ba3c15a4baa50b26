"""Covers: FeedForward, TransformerBlock and TiedEmbedding, and a GPT made of them."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError
from bp_arrays.layers import walk

GENERATOR = np.random.default_rng(8)
X = GENERATOR.normal(size=(3, 5, 8))
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 0, 0]])
TOKENS = GENERATOR.integers(0, 7, (24, 6))


def gpt(dropout=0.0):
    block = bp.TransformerBlock(2, causal=True, dropout=dropout)
    body = bp.Sequential(bp.LearnedPositions(6), block, block, bp.LayerNorm())
    return bp.TiedEmbedding(bp.Embedding(7, 8, weight_init=bp.Normal(0.1)), body)


@pytest.mark.parametrize("setting", ["plain", "causal", "mask"])
def test_a_block_is_pytorchs_encoder_layer(setting):
    torch = pytest.importorskip("torch")
    from attention.reference import Pick, check_gradients, float64_model

    module = torch.nn.TransformerEncoderLayer(
        8, 4, 16, dropout=0.0, activation=torch.nn.GELU(approximate="tanh"),
        batch_first=True, norm_first=True, dtype=torch.float64,
    )  # fmt: skip
    theirs = dict(module.named_parameters())
    with torch.no_grad():
        for parameter in theirs.values():
            parameter.uniform_(-0.5, 0.5)
    names = {
        "norm1.scale": "norm1.weight",
        "norm1.bias": "norm1.bias",
        "attention.qkv.weight": "self_attn.in_proj_weight",
        "attention.qkv.bias": "self_attn.in_proj_bias",
        "attention.out.weight": "self_attn.out_proj.weight",
        "attention.out.bias": "self_attn.out_proj.bias",
        "norm2.scale": "norm2.weight",
        "norm2.bias": "norm2.bias",
        "feed_forward.up.weight": "linear1.weight",
        "feed_forward.up.bias": "linear1.bias",
        "feed_forward.down.weight": "linear2.weight",
        "feed_forward.down.bias": "linear2.bias",
    }
    assert set(names.values()) == set(theirs)
    block = bp.TransformerBlock(4, expansion=2, causal=setting == "causal")
    inputs, x = ({"x": (5, 8), "mask": 5}, {"x": X, "mask": MASK}) if setting == "mask" else (
        (5, 8), X)  # fmt: skip
    model = float64_model(bp.Sequential(block, Pick()) if setting == "mask" else block, inputs)
    prefix = "0." if setting == "mask" else ""
    assert set(model.parameters) == {prefix + name for name in names}
    values = {prefix + ours: theirs[name].detach().numpy().T for ours, name in names.items()}
    model.set_parameters(values)
    sequence = torch.from_numpy(X).requires_grad_()
    causal = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    y = module(
        sequence,
        src_mask=causal if setting == "causal" else None,
        src_key_padding_mask=torch.from_numpy(MASK == 0) if setting == "mask" else None,
    )

    class Transposed:
        def __init__(self, parameter):
            self.parameter = parameter

        @property
        def grad(self):
            grad = self.parameter.grad
            return grad.mT if grad.ndim == 2 else grad

    parameters = {ours: Transposed(theirs[name]) for ours, name in names.items()}
    check_gradients(model, x, y, parameters, sequence)


def test_blocks_with_a_mask_are_stacked(device):
    """What stands at masked positions changes nothing at the others."""
    pytest.importorskip("torch")
    from attention.reference import Pick

    block = bp.TransformerBlock(2)
    net = bp.Sequential(block, block, Pick(), bp.LayerNorm(), bp.Linear(2))
    model = bp.Model(net, {"x": (5, 8), "lengths": bp.InputSpec((), "index", 6)}, device=device)
    lengths = np.array([5, 3, 1])
    y = np.asarray(model.predict({"x": X, "lengths": lengths}))
    other = np.where((np.arange(5) < lengths[:, None])[:, :, None], X, 7.0)
    again = np.asarray(model.predict({"x": other, "lengths": lengths}))
    for k, length in enumerate(lengths):
        np.testing.assert_array_equal(again[k, :length], y[k, :length])


def test_a_position_depends_on_itself_and_those_before():
    model = bp.Model(gpt(), bp.InputSpec(6, "index"), device="cpu")
    changed = TOKENS.copy()
    changed[:, 4:] = (changed[:, 4:] + 1) % 7
    before, after = model.predict(TOKENS), model.predict(changed)
    np.testing.assert_array_equal(after[:, :4], before[:, :4])
    assert (after[:, 4:] != before[:, 4:]).any(axis=-1).all()


def test_the_table_is_one_parameter_with_the_gradient_of_both_uses():
    torch = pytest.importorskip("torch")
    from attention.reference import check_gradients, float64_model, tensors

    net = bp.TiedEmbedding(bp.Embedding(7, 4), bp.Linear(4))
    model = float64_model(net, bp.InputSpec(6, "index"))
    assert list(model.parameters) == ["embedding.weight", "body.weight", "body.bias"]
    assert model.output_shape == (6, 7) and model.parameter_count == 28 + 20
    parameters = tensors(model)
    table = parameters["embedding.weight"]
    vectors = torch.nn.functional.embedding(torch.from_numpy(TOKENS), table)
    h = vectors @ parameters["body.weight"] + parameters["body.bias"]
    check_gradients(model, TOKENS, h @ table.T, parameters)


def test_every_layer_is_in_the_walk_and_in_the_summary():
    model = bp.Model(gpt(), bp.InputSpec(6, "index"), device="cpu")
    paths = [node.path for node in walk(model.net, model.input_shape)]
    for path in ("embedding", "body.1.norm1", "body.1.attention", "body.2.feed_forward.activation"):
        assert path in paths
    assert sum(row.parameters for row in model.summary().rows) == model.parameter_count
    assert model.inputs.size == 7


def test_a_file_keeps_a_gpt(tmp_path):
    model = bp.Model(gpt(), bp.InputSpec(6, "index"), device="cpu", seed=2)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert again.net == model.net and again.inputs == model.inputs
    np.testing.assert_array_equal(again.predict(TOKENS), model.predict(TOKENS))


def train(device, dtype="float32", compiled=True):
    model = bp.Model(gpt(dropout=0.1), bp.InputSpec(6, "index"), device=device, dtype=dtype, seed=0)
    steps = [(TOKENS[k % 3 :: 3], np.roll(TOKENS, -1, axis=1)[k % 3 :: 3]) for k in range(20)]
    optimizer = bp.Chain(bp.ClipByGlobalNorm(1.0), bp.AdamW(0.01, beta2=0.99, weight_decay=0.1))
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=optimizer, compiled=compiled)
    return np.array([float(trainer.step(x, t)) for x, t in steps])


def test_twenty_steps_have_the_same_losses_on_every_device(device):
    reference = train("cpu", "float64", compiled=False)
    assert reference[-1] < 0.9 * reference[0]
    np.testing.assert_allclose(train(device), reference, rtol=2e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.FeedForward(0), r"FeedForward\(expansion=0\): expected expansion >= 1"),
        (lambda: bp.FeedForward(4, bp.ReLU), "expected a layer such as GELU"),
        (lambda: bp.TransformerBlock(0), "expected heads >= 1"),
        (lambda: bp.TransformerBlock(2, expansion=0), "expected expansion >= 1"),
        (lambda: bp.TransformerBlock(2, dropout=1.0), r"TransformerBlock\(dropout=1.0\)"),
        (lambda: bp.TransformerBlock(2, norm=None), "expected a layer such as LayerNorm"),
        (lambda: bp.TransformerBlock(4, kv_heads=3), "a divisor of heads, 4"),
        (lambda: bp.TiedEmbedding(7, bp.Linear(4)), r"expected an Embedding such as"),
        (lambda: bp.TiedEmbedding(bp.Embedding(7, 4), None), "expected a layer such as"),
    ],
)
def test_fields_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("net", "inputs", "message"),
    [
        (bp.TransformerBlock(3), (5, 8), "features that 3 heads divide, got 8"),
        (bp.TransformerBlock(2), (8,), r"TransformerBlock: expected samples of shape \(time"),
        (
            bp.TiedEmbedding(bp.Embedding(7, 4), bp.Linear(3)),
            bp.InputSpec(6, "index"),
            r"TiedEmbedding\(body=\): expected an output of 4 features",
        ),
        (bp.TiedEmbedding(bp.Embedding(7, 4), bp.Linear(4)), (6,), "expected indices as its input"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_model_is_built(net, inputs, message):
    with pytest.raises(InputError, match=message):
        bp.Model(net, inputs, device="cpu")
