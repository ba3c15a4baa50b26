"""Convolution: values and gradients against PyTorch, memory, bad input, files and training.

Covers: Conv2d, and both forms of the kernels below it. `bp-arrays check` compares all devices.
"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import standard_forms

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

SETTINGS = {
    "plain": (bp.Conv2d(5, 3), 4, {}),
    "one channel": (bp.Conv2d(5, 3), 1, {}),
    "no bias": (bp.Conv2d(5, (2, 3), bias=False), 6, {}),
    "same": (bp.Conv2d(5, (3, 5), padding="same"), 4, {"padding": "same"}),
    "same, even": (bp.Conv2d(4, (2, 4), padding="same"), 4, {"padding": "same"}),
    "strides": (bp.Conv2d(5, (3, 2), stride=(2, 3), padding=(1, 2)), 3,
                {"stride": (2, 3), "padding": (1, 2)}),
    "dilation": (bp.Conv2d(5, 3, dilation=(2, 1), padding=2), 4,
                 {"dilation": (2, 1), "padding": 2}),
    "padding beyond the kernel": (bp.Conv2d(3, 2, padding=(3, 4)), 4, {"padding": (3, 4)}),
    "groups": (bp.Conv2d(6, 3, groups=2, stride=2), 4, {"groups": 2, "stride": 2}),
    "depthwise": (bp.Conv2d(4, 3, groups=4, padding=1), 4, {"groups": 4, "padding": 1}),
    "depthwise, two outputs each": (bp.Conv2d(8, 3, groups=4), 4, {"groups": 4}),
    "kernel of 1": (bp.Conv2d(5, 1, stride=2), 4, {"stride": 2}),
}  # fmt: skip

every_setting = pytest.mark.parametrize(("layer", "channels", "options"), SETTINGS.values(),
                                        ids=SETTINGS)  # fmt: skip


def images(channels: int, batch: int = 2, size: tuple[int, int] = (7, 8)) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(batch, *size, channels))


def by_torch(w, b, x, delta, options):
    """y, dx, dw of torch.nn.functional.conv2d, in our order of axes."""
    x = torch.tensor(x, requires_grad=True)
    w = torch.tensor(w, requires_grad=True)
    b = None if b is None else torch.tensor(b)
    y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, **options).permute(0, 2, 3, 1)
    y.backward(torch.tensor(delta))
    return y.detach().numpy(), x.grad.numpy(), w.grad.numpy()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@every_setting
def test_a_convolution_is_that_of_pytorch(layer, channels, options, device):
    x = images(channels)
    model = bp.Model(layer, x.shape[1:], device=device, dtype="float64", seed=0)
    parameters = model.host_parameters()
    delta = np.random.default_rng(6).normal(size=(len(x), *model.output_shape))
    expected = by_torch(parameters["weight"], parameters.get("bias"), x, delta, options)
    placed = [model.device.asarray(array) for array in (x, delta)]
    with standard_forms():
        y, backward = model.forward(placed[0])
        dx, gradients = backward(placed[1])
    for got, wanted in zip((y, dx, gradients["weight"]), expected, strict=True):
        np.testing.assert_allclose(model.device.to_numpy(got), wanted, rtol=0, atol=1e-12)
    if layer.bias:
        got = model.device.to_numpy(gradients["bias"])
        np.testing.assert_allclose(got, delta.sum(axis=(0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize(("size", "padded"), [((7, 8), (4, 3)), ((5, 6), (3, 2))])
def test_same_padding_gives_the_size_over_the_stride(size, padded):
    layer = bp.Conv2d(2, 3, stride=(2, 3), padding="same")
    assert layer.init((*size, 1))[1] == (*padded, 2)


def test_one_convolution_is_one_number():
    assert bp.Conv2d(2, 3, padding=1) == bp.Conv2d(2, (3, 3), padding=((1, 1), (1, 1)))


def test_between_forward_and_backward_only_the_image_is_kept():
    x = images(32, batch=8, size=(32, 32)).astype(np.float32)
    model = bp.Model(bp.Conv2d(8, 3), x.shape[1:], device="cpu")
    model.forward(x)
    tracemalloc.start()
    try:
        y, backward = model.forward(x)
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < y.nbytes + x.nbytes / 10
        assert backward(y)[0].shape == x.shape
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.Conv2d(0, 3), "out_channels >= 1"),
        (lambda: bp.Conv2d(2, 0), r"Conv2d\(kernel_size=0\): expected a whole number or"),
        (lambda: bp.Conv2d(2, (3, 3, 3)), r"kernel_size=\(3, 3, 3\).* or \(height, width\)"),
        (lambda: bp.Conv2d(2, 3, stride=1.5), r"stride=1.5\): expected a whole number"),
        (lambda: bp.Conv2d(2, 3, dilation="2"), "dilation='2'"),
        (lambda: bp.Conv2d(2, 3, padding="full"), 'padding=\'full\'.: expected "same", "valid"'),
        (lambda: bp.Conv2d(2, 3, padding=-1), r"padding=-1\): expected .* >= 0"),
        (lambda: bp.Conv2d(2, 3, padding=((1, 2), (3,))), "padding="),
        (lambda: bp.Conv2d(2, 3, groups=0), "groups >= 1"),
        (lambda: bp.Conv2d(2, 3, weight_init=3), "an initializer"),
    ],
)
def test_fields_out_of_range_are_refused(make, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (bp.Conv2d(2, 3), (28, 28), r"Conv2d\(2\)\(input=\): expected shape \(height, width, "
         r"channels\), got \(28, 28\); .*x\[\.\.\., None\]"),
        (bp.Conv2d(2, 3), (784,), "reshape each sample to its image first"),
        (bp.Conv2d(2, 3), (0, 5, 1), r"got \(0, 5, 1\)"),
        (bp.Conv2d(2, 5), (4, 6, 1), "at least 5 x 5, the reach of the kernel, got 4 x 6 from"),
        (bp.Conv2d(2, 3, dilation=2, padding=(0, 1)), (5, 2, 1), "at least 5 x 5.* got 5 x 4"),
        (bp.Conv2d(4, 3, groups=2), (5, 5, 3), "that 2 groups divide, got 3 in and 4 out"),
        (bp.Conv2d(3, 3, groups=2), (5, 5, 4), "got 4 in and 3 out; change groups or out_channels"),
    ],
)  # fmt: skip
def test_images_that_do_not_suit_are_refused(layer, shape, message):
    with pytest.raises(bp.InputError, match=message) as caught:
        bp.Model(layer, shape, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_model_with_convolutions_is_read_back(tmp_path):
    net = bp.Sequential(
        bp.Conv2d(3, (3, 2), stride=2, padding=((1, 0), (2, 1))), bp.ReLU(),
        bp.Conv2d(3, 3, padding="same", groups=3), bp.Flatten(), bp.Linear(2),
    )  # fmt: skip
    model = bp.Model(net, (7, 8, 2), device="cpu", seed=0)
    model.save(tmp_path / "model.safetensors")
    again = bp.load(tmp_path / "model.safetensors", device="cpu")
    assert again.net == net
    x = images(2).astype(np.float32)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_a_convolution_learns_to_tell_lines_apart(device):
    """Horizontal lines against vertical ones, anywhere in the image."""
    rng = np.random.default_rng(0)
    t = np.arange(200) % 2
    x = 0.3 * rng.normal(size=(200, 8, 8, 1))
    for image, line, kind in zip(x, rng.integers(0, 8, 200), t, strict=True):
        (image if kind else image.transpose(1, 0, 2))[line] += 1.0
    net = bp.Sequential(
        bp.Conv2d(4, 3), bp.ReLU(), bp.Conv2d(4, 3), bp.ReLU(), bp.Flatten(), bp.Linear(2)
    )
    model = bp.Model(net, (8, 8, 1), device=device, seed=0)
    bp.fit(model, x, t, loss=bp.CrossEntropy(), optimizer=bp.Adam(1e-2), epochs=15, batch_size=20)
    assert (np.asarray(model.predict(x)).argmax(axis=1) == t).mean() > 0.95


def test_a_convolution_is_explained_by_numbers():
    net = bp.Sequential(bp.Conv2d(2, 2), bp.Tanh(), bp.MaxPool2d(), bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, (3, 3, 1), device="cpu", seed=0)
    explanation = bp.explain(model, x=images(1, 1, (3, 3))[0], t=1, loss=bp.CrossEntropy())
    assert "z = Conv2d(x) = [" in str(explanation)
    assert explanation.largest_difference() < 1e-7
