"""Layers for images, sequences and text in PyTorch and here: the same function, the same weights.

Images are (batch, height, width, channels) here and (batch, channels, height, width) there.
"""

from __future__ import annotations

import numpy as np
import pytest
from formats.layer_nets import IMAGE, NETS, SIGNAL, model_of, samples

import bp_arrays as bp

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    # some modules end in probabilities, which from_torch warns of
    pytest.mark.filterwarnings("ignore::bp_arrays.BpArraysWarning"),
]


POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
         nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)  # fmt: skip
CHANNELS_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.Upsample, *POOLS
)  # fmt: skip


SEQUENCES = ("SelfAttention", "Output", "Positions", "CausalBlock", "TransformerEncoderLayer")


def takes_channels_first(module):
    """Whether the first module that minds is one of images or signals."""
    kinds = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
    for part in module.modules():
        if type(part).__name__ in SEQUENCES or isinstance(part, kinds):
            return False
        if isinstance(part, CHANNELS_FIRST):
            return True
        if isinstance(part, nn.Flatten):
            return False
        if isinstance(part, nn.PReLU) and part.num_parameters > 1:
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
    is_first = isinstance(last, CHANNELS_FIRST) or getattr(last, "num_parameters", 1) > 1
    return np.moveaxis(y, 1, -1) if y.ndim > 2 and is_first else y


@pytest.mark.parametrize("name", NETS)
def test_to_torch_computes_the_same(name, dtype):
    net, inputs = NETS[name]
    model = model_of(net, inputs, dtype)
    module, x = model.to_torch(), samples(inputs, dtype)
    expected = model.predict(x)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for with_gradients in (True, False):  # transformers have a fast path without
        with torch.set_grad_enabled(with_gradients):
            y = ours_of(module(theirs_of(x, module)), module)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NETS)
def test_there_and_back_is_the_same_model(name, dtype):
    net, inputs = NETS[name]
    model = model_of(net, inputs, dtype)
    module, x = model.to_torch(), samples(inputs, dtype)
    if any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        assert {str(each.dtype) for each in module.buffers()} == {f"torch.{dtype}", "torch.int64"}
    again = bp.from_torch(module, inputs, device="cpu")
    if model.parameters:  # else nothing says in which dtype
        np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-12, atol=1e-14)
    wrapped = isinstance(again.net, bp.Sequential) and not isinstance(model.net, bp.Sequential)
    for key, value in model.host_parameters().items():
        if "Embedding(padding)" in name:
            value[2] = 0.0
        other = again.host_parameters()[f"0.{key}" if wrapped else key]
        np.testing.assert_array_equal(other, value, strict=True)


TRAINED = [
    name
    for name, (net, inputs) in NETS.items()
    if bp.Model(net, inputs, device="cpu").layout.trainable
]


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
        for name, parameter in module.named_parameters():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            if "bias_hh" in name:  # the sum of two biases is one here, but for a part of a GRU's
                gradient[: 6 if "GRU" in repr(module) else None] = 0.0
            parameter.copy_(gradient)
    again = bp.from_torch(module, inputs, device="cpu")
    for key, value in again.host_parameters().items():
        own = key if key in gradients else key.removeprefix("0.")
        if own in gradients:
            np.testing.assert_allclose(value, gradients[own], rtol=1e-9, atol=1e-11, err_msg=key)


# -- refusals --------------------------------------------------------------------------------


def block(**settings):
    usual = {"dim_feedforward": 12, "dropout": 0.0, "batch_first": True, "norm_first": True}
    return nn.TransformerEncoderLayer(6, 2, **(usual | settings))


def stem(*rest):
    return nn.Sequential(nn.Conv2d(4, 2, 2), *rest)


def pooled(*rest):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), *rest)


@pytest.mark.parametrize(
    "rest",
    [
        (pooled(nn.Flatten(1, 3)), nn.Linear(2, 3)),
        (pooled(), nn.Flatten(), nn.Linear(2, 3)),
        (nn.AdaptiveMaxPool2d((1, 1)), nn.Sequential(nn.Flatten(), nn.Linear(2, 3))),
        (nn.AdaptiveMaxPool2d(1), nn.Flatten()),
    ],
)
def test_global_pooling_with_flatten_behind_it(rest):
    module = stem(*rest).double()
    model = bp.from_torch(module, IMAGE, device="cpu")
    x = np.random.default_rng(0).normal(size=(3, *IMAGE))
    expected = module(torch.tensor(x).permute(0, 3, 1, 2)).detach().numpy()
    y = model.predict(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"), "padding_mode=reflect"),
        (lambda: nn.Conv2d(3, 2, 3), "expected 3 channels on the last axis of input_shape, got"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.PReLU(3)), "PReLU"),
        (lambda: nn.MaxPool2d(2, ceil_mode=True), "ceil_mode=True"),
        (lambda: nn.MaxPool2d(2, return_indices=True), "return_indices=True"),
        (lambda: nn.AvgPool2d(2, divisor_override=3), "divisor_override=3"),
        (lambda: nn.AvgPool2d(2, ceil_mode=True), "ceil_mode=True"),
        (lambda: nn.AdaptiveAvgPool2d(2), "output_size 1"),
        (lambda: stem(nn.AdaptiveAvgPool2d(1)), r"'1', AdaptiveAvgPool2d: .* got nothing; put"),
        (lambda: stem(nn.AdaptiveMaxPool2d(1), nn.ReLU()), r"got ReLU\(\); put torch.nn.Flatten"),
        (lambda: stem(pooled(nn.Flatten(2))), r"'1.0', AdaptiveAvg.*Flatten\(start_dim=2, end"),
        (lambda: pooled(nn.Flatten(1, 2)), r"got Flatten\(start_dim=1, end_dim=2\); put"),
        (lambda: pooled(nn.Flatten(1, 1), nn.Flatten()), "got Flatten"),
        (lambda: pooled(nn.Sequential(nn.Linear(1, 2), nn.Flatten())), r"got Linear\("),
        (lambda: nn.Upsample(scale_factor=1.5), "whole numbers"),
        (lambda: nn.Upsample(size=(4, 4)), "size="),
        (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), "nearest"),
        (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corn"),
        (lambda: nn.ConvTranspose2d(3, 4, 2), "expected 3 channels"),
        (lambda: nn.BatchNorm2d(4, track_running_stats=False), "track_running_stats=False"),
        (lambda: nn.BatchNorm2d(4, momentum=None), "momentum=None"),
        (lambda: nn.LayerNorm((5, 4)), r"normalized_shape=\(5, 4\)"),
        (lambda: nn.RMSNorm(4), r"RMSNorm\(eps=None\)"),
        (lambda: nn.RMSNorm((5, 4), eps=1e-5), r"normalized_shape=\(5, 4\)"),
        (lambda: stem(nn.Linear(2, 2)), "'1', Linear: expected the channels on the last axis"),
        (lambda: stem(nn.LayerNorm(2)), "'1', LayerNorm: expected the channels on the last axis"),
        (lambda: stem(nn.Flatten()), "'1', Flatten: expected a Linear module after it"),
        (lambda: stem(nn.Flatten(), nn.BatchNorm1d(40)), "expected a Linear module after it"),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 2, 2)), "'1', Conv2d: expected the"),
        (lambda: stem(nn.Softmax(dim=-1)), r"'1', Softmax\(dim=-1\): expected the channels, 1"),
    ],
)  # fmt: skip
def test_what_is_not_the_same_here_is_refused_in_one_line(make, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.from_torch(make(), IMAGE, device="cpu")
    assert str(caught.value).startswith("from_torch: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LSTM(6, 3), r"LSTM\(batch_first=False\)"),
        (lambda: nn.GRU(6, 3, batch_first=True, bias=False), r"GRU\(bias=False\)"),
        (lambda: nn.RNN(6, 3, 2, batch_first=True, dropout=0.1), r"RNN\(dropout=0.1\)"),
        (lambda: nn.LSTM(6, 3, proj_size=2, batch_first=True), r"LSTM\(proj_size=2\)"),
        (lambda: nn.LSTM(5, 3, batch_first=True), "expected 5 values on the last axis"),
        (
            lambda: nn.Sequential(nn.Linear(6, 5), block()),
            "'1', MultiheadAttention: expected 6 values on the last axis",
        ),
        (lambda: block(norm_first=False), "norm_first=False"),
        (lambda: block(batch_first=False), "batch_first=False"),
        (lambda: block(dropout=0.1), "expected no dropout, 0.0"),
        (lambda: block(activation=torch.tanh), "expected ReLU or GELU"),
        (lambda: block(dim_feedforward=7), "a multiple of d_model"),
        (lambda: nn.GLU(1), r"GLU\(dim=1\): expected the last axis"),
    ],
)
def test_sequences_that_are_not_the_same_here_are_refused_in_one_line(make, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.from_torch(make(), SIGNAL, device="cpu")
    assert str(caught.value).startswith("from_torch: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_module_of_pytorch_with_its_two_biases(kind):
    torch.manual_seed(3)
    module = getattr(nn, kind)(6, 4, num_layers=2, bidirectional=True, batch_first=True).double()
    model = bp.from_torch(module, SIGNAL, device="cpu")
    x = samples(SIGNAL, "float64")
    expected, _ = module(torch.tensor(x))
    np.testing.assert_allclose(model.predict(x), expected.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("net", "inputs", "message"),
    [
        (bp.Conv2d(2, 2, padding="same", stride=2), (5, 5, 1), "as many before as after"),
        (bp.Conv2d(2, 2, padding=((0, 1), (0, 0))), IMAGE, "as many before as after"),
        (bp.MaxPool2d(2, padding="same", stride=2), (5, 5, 1), "as many before as after"),
        (bp.ConvTranspose2d(2, 3, stride=2, padding="same"), IMAGE, "no such setting"),
        (bp.TransformerBlock(2, dropout=0.1), SIGNAL, "no module for these settings: Transf"),
        (bp.TransformerBlock(2, norm=bp.RMSNorm()), SIGNAL, "no module for these settings: Transf"),
        (bp.MultiHeadAttention(2, kv_heads=1), SIGNAL, "no module for these settings: MultiHead"),
        (bp.MultiHeadAttention(1, rotary=True), SIGNAL, "no module for these settings: MultiHead"),
    ],
)
def test_settings_that_pytorch_lacks_are_refused_in_one_line(net, inputs, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.Model(net, inputs, device="cpu").to_torch()
    assert len(str(caught.value).splitlines()) == 1


def test_running_values_move_alike_in_both_libraries():
    net = bp.Sequential(bp.Linear(4), bp.BatchNorm(), bp.Tanh(), bp.Linear(2))
    model = model_of(net, 3, "float64")
    module = model.to_torch().train()
    x, t = np.random.default_rng(1).normal(size=(20, 3)), np.arange(20) % 2
    bp.fit(
        model, x, t, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.05), epochs=3, batch_size=20,
        shuffle=False,
    )  # fmt: skip
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(t)).backward()
        optimizer.step()
    after = bp.from_torch(module, 3, device="cpu")
    for name, value in model.parameters.items():
        np.testing.assert_allclose(after.parameters[name], value, rtol=1e-11, atol=1e-13)


def test_torchvision_s_permute_moves_the_channels_too():
    class Permute(nn.Module):
        def __init__(self, dims):
            super().__init__()
            self.dims = dims

        def forward(self, x):
            return x.permute(self.dims)

    module = nn.Sequential(nn.Conv2d(4, 2, 2), Permute([0, 2, 3, 1]), nn.Flatten())
    model = bp.from_torch(module, IMAGE, device="cpu")
    assert [type(layer).__name__ for layer in model.net] == ["Conv2d", "Flatten"]
    x = samples(IMAGE, "float32")
    expected = module(theirs_of(x, module)).detach().numpy()
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(bp.InputError, match="a permutation that moves the channels"):
        bp.from_torch(nn.Sequential(Permute([1, 0, 2, 3])), IMAGE, device="cpu")
