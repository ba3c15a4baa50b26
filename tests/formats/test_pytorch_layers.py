"""Layers for images, sequences and text in PyTorch and here: the same function, the same weights.

Images are (batch, height, width, channels) here and (batch, channels, height, width) there.
"""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

IMAGE, SIGNAL, WORDS = (6, 5, 4), (7, 6), bp.InputSpec((7,), "index")

NETS = {
    "Conv2d": (bp.Conv2d(3, (2, 3), stride=2, groups=1, bias=False), IMAGE),
    "Conv2d(padding)": (bp.Conv2d(6, 3, padding=(1, 2), dilation=(2, 1), groups=2), IMAGE),
    "Conv2d(same)": (bp.Conv2d(2, (3, 2), padding="same"), IMAGE),
    "LayerNorm": (bp.LayerNorm(1e-3), SIGNAL),
    "LayerNorm(bias)": (bp.LayerNorm(scale=False), SIGNAL),
    "LayerNorm(scale)": (bp.LayerNorm(bias=False), SIGNAL),
    "LayerNorm(neither)": (bp.LayerNorm(scale=False, bias=False), SIGNAL),
    "RMSNorm": (bp.RMSNorm(1e-3), SIGNAL),
    "RMSNorm(no scale)": (bp.RMSNorm(scale=False), SIGNAL),
    "Embedding": (bp.Embedding(9, 4), WORDS),
    "Embedding(padding)": (bp.Embedding(9, 4, padding_index=2), WORDS),
    "attention": (bp.MultiHeadAttention(2), SIGNAL),
    "attention(causal)": (bp.MultiHeadAttention(3, causal=True, bias=False), SIGNAL),
    "image to classes": (
        bp.Sequential(
            bp.Conv2d(3, 3, padding=1),
            bp.ReLU(),
            bp.Conv2d(2, 2),
            bp.Softmax(),
            bp.Flatten(),
            bp.Dropout(0.5),
            bp.Linear(4),
            bp.Tanh(),
            bp.Linear(2),
        ),
        IMAGE,
    ),
    "nested": (
        bp.Sequential(
            bp.Sequential(bp.Conv2d(3, 2), bp.ReLU()),
            bp.Sequential(bp.Flatten(), bp.Sequential(bp.Tanh(), bp.Linear(3))),
        ),
        IMAGE,
    ),
    "flat image": (bp.Sequential(bp.Conv2d(2, 2), bp.Flatten()), IMAGE),
    "flat image to a norm": (
        bp.Sequential(bp.Conv2d(2, 2), bp.Flatten(), bp.LayerNorm(), bp.Linear(2)), IMAGE,
    ),
    "norm of pixels": (
        bp.Sequential(bp.Conv2d(2, 2), bp.LayerNorm(), bp.Conv2d(3, 2), bp.ReLU()), IMAGE,
    ),
    "pixels first": (bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Conv2d(2, 2)), IMAGE),
    "words": (
        bp.Sequential(bp.Embedding(9, 4), bp.MultiHeadAttention(2), bp.LayerNorm(), bp.Linear(3)),
        WORDS,
    ),
}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def model_of(net, inputs, dtype):
    model = bp.Model(net, inputs, device="cpu", dtype=dtype)
    rng = np.random.default_rng(2)
    model.set_parameters(
        {
            name: rng.uniform(0.5, 2.0, size=p.shape)
            if name.endswith("variance")
            else rng.normal(size=p.shape) / 2
            for name, p in model.host_parameters().items()
        }
    )
    return model


def samples(inputs, dtype, rows=4):
    rng = np.random.default_rng(0)
    if isinstance(inputs, bp.InputSpec):
        return rng.integers(0, 9, (rows, *inputs.shape))
    return rng.normal(size=(rows, *inputs)).astype(dtype)


def takes_channels_first(module):
    """Whether the first module that minds is one of images or signals."""
    kinds = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
    for part in module.modules():
        if type(part).__name__ in ("SelfAttention", "Output") or isinstance(part, kinds):
            return False
        if isinstance(part, nn.modules.conv._ConvNd):
            return True
    return False


def theirs_of(x, module):
    x = np.moveaxis(x, -1, 1) if takes_channels_first(module) else x
    return torch.tensor(np.ascontiguousarray(x))


def ours_of(y, module):
    """An output of the module as this library lays it out."""
    y = y.detach().numpy()
    *_, last = [
        p for p in module.modules() if not isinstance(p, (nn.ReLU, nn.Softmax, nn.Sequential))
    ]
    return np.moveaxis(y, 1, -1) if y.ndim > 2 and isinstance(last, nn.Conv2d) else y


@pytest.mark.parametrize("name", NETS)
def test_to_torch_computes_the_same(name, dtype):
    net, inputs = NETS[name]
    model = model_of(net, inputs, dtype)
    module, x = model.to_torch(), samples(inputs, dtype)
    expected = model.predict(x)
    y = ours_of(module(theirs_of(x, module)), module)
    assert y.shape == expected.shape and y.dtype == expected.dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NETS)
def test_there_and_back_is_the_same_model(name, dtype):
    net, inputs = NETS[name]
    model = model_of(net, inputs, dtype)
    module, x = model.to_torch(), samples(inputs, dtype)
    again = bp.from_torch(module, inputs, device="cpu")
    if model.parameters:  # else nothing says in which dtype
        np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-12, atol=1e-14)
    wrapped = isinstance(again.net, bp.Sequential) and not isinstance(model.net, bp.Sequential)
    for key, value in model.host_parameters().items():
        if "Embedding(padding)" in name:
            value[2] = 0.0
        other = again.host_parameters()[f"0.{key}" if wrapped else key]
        np.testing.assert_array_equal(other, value, strict=True)


TRAINED = [name for name in NETS if name not in ("LayerNorm(neither)", "RMSNorm(no scale)")]


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_are_the_same(name):
    net, inputs = NETS[name]
    model = model_of(net, inputs, "float64")
    module, x = model.to_torch(), samples(inputs, "float64")
    y, backward = model.forward(x)
    delta = np.random.default_rng(3).normal(size=y.shape)
    _, gradients = backward(delta)
    out = module(theirs_of(x, module))
    moved = np.moveaxis(delta, -1, 1) if tuple(out.shape) != delta.shape else delta
    if tuple(out.shape) == delta.shape and out.ndim > 2 and takes_channels_first(module):
        pytest.skip("sizes do not tell the layouts apart")
    out.backward(torch.tensor(np.ascontiguousarray(moved)))
    with torch.no_grad():  # the gradients travel as weights do
        for parameter in module.parameters():
            parameter.copy_(
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            )
    again = bp.from_torch(module, inputs, device="cpu")
    for key, value in again.host_parameters().items():
        own = key if key in gradients else key.removeprefix("0.")
        if own in gradients:
            np.testing.assert_allclose(value, gradients[own], rtol=1e-9, atol=1e-11, err_msg=key)
