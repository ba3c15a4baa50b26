"""Pooling, upsampling, signals and transposed convolution, against PyTorch and ONNX's reference.

Covers: MaxPool*, AveragePool*, Global*Pool, Upsample, Conv1d, ConvTranspose2d: values, gradients,
bad input, files and training. `bp-arrays check` compares all devices.
"""

from __future__ import annotations

import contextlib
import tracemalloc

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import standard_forms

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional


def pool(function, **options):
    """A pooling of PyTorch as a function of (x, w, b), x with its order of axes."""
    return lambda x, w, b: function(x, **options)


IMAGES = {
    "max": (bp.MaxPool2d(), pool(F.max_pool2d, kernel_size=2)),
    "max, overlapping": (
        bp.MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0)),
        pool(F.max_pool2d, kernel_size=(3, 2), stride=(1, 2), padding=(1, 0)),
    ),
    "max, dilation": (
        bp.MaxPool2d(3, stride=1, padding=1, dilation=2),
        pool(F.max_pool2d, kernel_size=3, stride=1, padding=1, dilation=2),
    ),
    "max, one": (bp.MaxPool2d(1), pool(F.max_pool2d, kernel_size=1)),
    "max, gaps": (bp.MaxPool2d(2, stride=3), pool(F.max_pool2d, kernel_size=2, stride=3)),
    "average": (bp.AveragePool2d(3), pool(F.avg_pool2d, kernel_size=3)),
    "average, padding counted": (
        bp.AveragePool2d(3, stride=2, padding=1, count_padding=True),
        pool(F.avg_pool2d, kernel_size=3, stride=2, padding=1),
    ),
    "average, padding not counted": (
        bp.AveragePool2d(3, stride=2, padding=1),
        pool(F.avg_pool2d, kernel_size=3, stride=2, padding=1, count_include_pad=False),
    ),
    "global average": (bp.GlobalAveragePool(), lambda x, w, b: x.mean(dim=(2, 3))),
    "global max": (bp.GlobalMaxPool(), lambda x, w, b: F.adaptive_max_pool2d(x, 1)[..., 0, 0]),
    "nearest": (bp.Upsample((2, 3)), lambda x, w, b: F.interpolate(x, scale_factor=(2, 3))),
    "bilinear": (
        bp.Upsample((2, 3), "bilinear"),
        lambda x, w, b: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"),
    ),
    "transposed": (
        bp.ConvTranspose2d(6, (3, 4), stride=2, padding=1, output_padding=(1, 0), groups=2),
        lambda x, w, b: F.conv_transpose2d(
            x, w.permute(2, 3, 0, 1), b, 2, 1, output_padding=(1, 0), groups=2
        ),
    ),
    "transposed, dilation": (
        bp.ConvTranspose2d(3, 2, stride=3, dilation=(1, 2), bias=False),
        lambda x, w, b: F.conv_transpose2d(x, w.permute(2, 3, 0, 1), b, 3, dilation=(1, 2)),
    ),
}
SIGNALS = {
    "convolution": (
        bp.Conv1d(6, 3, stride=2, padding=4, dilation=2, groups=2),
        lambda x, w, b: F.conv1d(x, w.permute(2, 1, 0), b, 2, 4, 2, 2),
    ),
    "convolution, same": (
        bp.Conv1d(3, 5, padding="same", bias=False),
        lambda x, w, b: F.conv1d(x, w.permute(2, 1, 0), b, padding="same"),
    ),
    "max": (
        bp.MaxPool1d(3, stride=2, padding=1), pool(F.max_pool1d, kernel_size=3, stride=2, padding=1)
    ),
    "average": (bp.AveragePool1d(2), pool(F.avg_pool1d, kernel_size=2)),
    "average, padding counted": (
        bp.AveragePool1d(3, padding=1, count_padding=True),
        pool(F.avg_pool1d, kernel_size=3, padding=1),
    ),
    "global average": (bp.GlobalAveragePool(), lambda x, w, b: x.mean(dim=2)),
    "global max": (bp.GlobalMaxPool(), lambda x, w, b: F.adaptive_max_pool1d(x, 1)[..., 0]),
}  # fmt: skip
CASES = [
    pytest.param(layer, other, shape, id=f"{kind}, {name}")
    for kind, table, shape in (("images", IMAGES, (7, 6, 4)), ("signals", SIGNALS, (11, 4)))
    for name, (layer, other) in table.items()
]


@pytest.mark.parametrize(("layer", "other", "shape"), CASES)
def test_values_and_gradients_are_those_of_pytorch(layer, other, shape, device):
    rng = np.random.default_rng(1)
    model = bp.Model(layer, shape, device=device, dtype="float64", seed=0)
    x = np.round(rng.normal(size=(2, *shape)), 1)  # with ties
    delta = rng.normal(size=(2, *model.output_shape))
    host = model.host_parameters()
    leaves = {name: torch.tensor(p, requires_grad=True) for name, p in host.items()}
    image = torch.tensor(x, requires_grad=True)
    expected = other(torch.movedim(image, -1, 1), leaves.get("weight"), leaves.get("bias"))
    torch.movedim(expected, 1, -1).backward(torch.tensor(delta))
    for forms in ("native", "standard"):
        with standard_forms() if forms == "standard" else torch.enable_grad():
            y, backward = model.forward(model.device.asarray(x))
            dx, gradients = backward(model.device.asarray(delta))
        close(model, y, torch.movedim(expected, 1, -1).detach().numpy())
        close(model, dx, image.grad.numpy())
        for name, leaf in leaves.items():
            close(model, gradients[name], leaf.grad.numpy())


def close(model, got, wanted):
    np.testing.assert_allclose(model.device.to_numpy(got), wanted, rtol=0, atol=1e-12)


ONNX = [
    (bp.MaxPool2d(2, stride=1, padding="same"), "MaxPool",
     {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
    (bp.MaxPool2d(3, stride=2, padding=((1, 0), (0, 2))), "MaxPool",
     {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 0, 2]}),
    (bp.AveragePool2d(3, stride=2, padding="same"), "AveragePool",
     {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    (bp.AveragePool2d(3, stride=1, padding=2), "AveragePool",
     {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}),
    (bp.AveragePool2d(3, stride=1, padding=2, count_padding=True), "AveragePool",
     {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2], "count_include_pad": 1}),
    (bp.GlobalAveragePool(), "GlobalAveragePool", {}),
    (bp.GlobalMaxPool(), "GlobalMaxPool", {}),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "operator", "attributes"), ONNX)
def test_pooling_agrees_with_the_reference_of_onnx(layer, operator, attributes):
    helper = pytest.importorskip("onnx.helper", reason="onnx is not installed")
    reference = pytest.importorskip("onnx.reference")
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 6)).astype(np.float32)
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    [y] = reference.ReferenceEvaluator(node).run(None, {"x": x})
    images = np.moveaxis(x, 1, -1)
    got = bp.Model(layer, images.shape[1:], device="cpu").predict(images)
    got = got.reshape((*got.shape[:1], *(1,) * (4 - got.ndim), *got.shape[1:]))
    np.testing.assert_allclose(np.moveaxis(got, -1, 1), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.MaxPool2d(0), "kernel_size"),
        (lambda: bp.MaxPool2d(2, stride=0), r"MaxPool2d\(stride=0\)"),
        (lambda: bp.MaxPool1d((2, 2)), r"MaxPool1d\(kernel_size=\(2, 2\)\): .* a whole number"),
        (lambda: bp.AveragePool2d(2, padding="full"), "padding='full'"),
        (lambda: bp.AveragePool1d(2, count_padding=1), "True or False"),
        (lambda: bp.Conv1d(2, 3, padding=(1, 2, 3)), r"or \(before, after\)"),
        (lambda: bp.Upsample(0.5), "factor=0.5"),
        (lambda: bp.Upsample(2, "cubic"), '"nearest" or "bilinear"'),
        (lambda: bp.ConvTranspose2d(2, 3, output_padding=1), "less than the stride.*stride"),
        (lambda: bp.ConvTranspose2d(2, 3, 2, "same", 1), 'and 0 with "same"'),
    ],
)
def test_fields_out_of_range_are_refused(make, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (bp.MaxPool2d(), (28, 28), r"channels\), got \(28, 28\); .*x\[\.\.\., None\]"),
        (bp.MaxPool2d(3), (2, 5, 1), "image of at least 3 x 3, .* got 2 x 5 from shape"),
        (bp.MaxPool2d(2, padding=2), (4, 4, 1), "in every window, got a window of padding only"),
        (bp.AveragePool2d(2, padding=2), (4, 4, 1), "use less padding"),
        (bp.MaxPool1d(5), (4, 1), "signal of length at least 5, .* got 4 from shape"),
        (bp.AveragePool1d(), (4,), r"expected shape \(time, channels\), got \(4,\)"),
        (bp.Conv1d(2, 3), (4, 4, 1), r"Conv1d\(2\)\(input=\): expected shape \(time, channels\)"),
        (bp.Conv1d(2, 3, groups=2), (4, 3), "that 2 groups divide"),
        (bp.GlobalAveragePool(), (4,), r"GlobalAveragePool\(input=\).*add that axis"),
        (bp.Upsample(), (4, 4), "Upsample"),
        (bp.ConvTranspose2d(2, 2, padding=2), (2, 2, 1), "at least 1 x 1, got -1 x -1 from"),
    ],
)
def test_inputs_that_do_not_suit_are_refused(layer, shape, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.Model(layer, shape, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_window_as_large_as_a_file_may_say_takes_no_time():
    huge = bp.MaxPool2d(10**9, stride=1, padding=10**9 - 1)
    assert huge.init((1, 1, 1))[1] == (10**9, 10**9, 1)


def test_a_transposed_convolution_is_the_backward_of_a_convolution():
    """Of the one that would lead back to its input: with the same w, and in and out exchanged."""
    options = {"kernel_size": (3, 2), "stride": 2, "padding": ((1, 0), (0, 1)), "bias": False}
    up = bp.Model(bp.ConvTranspose2d(2, **options), (3, 4, 5), device="cpu", dtype="float64")
    down = bp.Model(bp.Conv2d(5, **options), up.output_shape, device="cpu", dtype="float64")
    assert down.output_shape == (3, 4, 5)
    down.set_parameters({"weight": up.host_parameters()["weight"].transpose(0, 1, 3, 2)})
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    _, backward = down.forward(np.zeros((2, *up.output_shape)))
    np.testing.assert_allclose(backward(x)[0], up.forward(x)[0], rtol=1e-13)


NETS = {
    "images": (
        (9, 8, 2),
        bp.Sequential(
            bp.Conv2d(4, 3, padding="same"), bp.MaxPool2d(3, stride=2, padding=1),
            bp.AveragePool2d(2, padding=1, count_padding=True), bp.Upsample((1, 2), "bilinear"),
            bp.ConvTranspose2d(3, 2, stride=2), bp.Upsample(), bp.GlobalMaxPool(), bp.Linear(2),
        ),
    ),
    "signals": (
        (12, 2),
        bp.Sequential(
            bp.Conv1d(4, 3, padding=(2, 0)), bp.MaxPool1d(), bp.AveragePool1d(3, padding="same"),
            bp.GlobalAveragePool(), bp.Linear(2),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "net"), NETS.values(), ids=NETS)
def test_nets_learn_and_are_read_back(shape, net, device, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, *shape)).astype(np.float32)
    t = (x[..., 0].reshape(40, -1).mean(axis=1) > 0).astype(int)
    model = bp.Model(net, shape, device=device, seed=0)
    history = bp.fit(
        model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-2), epochs=6, batch_size=8
    )
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "net.safetensors")
    again = bp.load(tmp_path / "net.safetensors", device="cpu")
    assert again.net == net
    np.testing.assert_allclose(again.predict(x), np.asarray(model.predict(x)), rtol=1e-4, atol=1e-5)


def test_the_error_of_a_window_of_minus_infinity_goes_to_the_image(device):
    xp, native = device.xp, device.native
    x = xp.full((1, 2, 2, 1), -np.inf, dtype=xp.float32, device=native)
    layer = bp.MaxPool2d(2, padding=1)
    for forms in (contextlib.nullcontext(), standard_forms()):
        with forms:
            y, backward = layer.forward({}, x, bp.Context(xp, native))
            dx, _ = backward(xp.ones_like(y))
            assert device.to_numpy(dx).sum() == 4.0


def test_a_user_who_disabled_cudnn_keeps_it_disabled():
    from bp_arrays.kernels._native_convolution import _exact

    with torch.backends.cudnn.flags(enabled=False), _exact():
        assert not torch.backends.cudnn.enabled


def test_the_memory_of_a_maximum_does_not_grow_with_the_window():
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 8)).astype(np.float32)
    layer = bp.MaxPool2d(7, stride=1, padding=3)
    y, backward = bp.Model(layer, x.shape[1:], device="cpu").forward(x)
    tracemalloc.start()
    try:
        backward(y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * x.nbytes  # an error for each of the 49 pixels of a window is 49 times x
