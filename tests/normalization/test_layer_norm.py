"""Covers: LayerNorm and RMSNorm against PyTorch, at large means, of any rank, in a file."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

LAYERS = [
    bp.LayerNorm(),
    bp.LayerNorm(epsilon=0.1, bias=False),
    bp.LayerNorm(scale=False),
    bp.RMSNorm(),
    bp.RMSNorm(epsilon=0.1, scale=False),
]


def of_pytorch(layer, x, delta, parameters):
    """y, dx and the gradients of the parameters by torch.nn.functional and autograd."""
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    functional = torch.nn.functional
    inputs = {
        name: torch.tensor(v, requires_grad=True) for name, v in {"x": x, **parameters}.items()
    }
    g, b = inputs.get("scale"), inputs.get("bias")
    shape = (x.shape[-1],)
    if isinstance(layer, bp.LayerNorm):
        y = functional.layer_norm(inputs["x"], shape, g, b, layer.epsilon)
    else:
        y = functional.rms_norm(inputs["x"], shape, g, layer.epsilon)
    y.backward(torch.tensor(delta))
    gradients = {name: t.grad.numpy() for name, t in inputs.items()}
    return y.detach().numpy(), gradients.pop("x"), gradients


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 2, 5), (70, 3, 2)])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_values_and_gradients_are_those_of_pytorch(layer, shape, device):
    rng = np.random.default_rng(0)
    model = bp.Model(layer, shape[1:], device=device, dtype="float64")
    x, delta = rng.normal(2.0, 3.0, size=shape), rng.normal(size=shape)
    model.set_parameters(
        {name: rng.normal(size=p.shape) for name, p in model.host_parameters().items()}
    )
    y, backward = model.forward(x)
    dx, gradients = backward(device.asarray(delta, "float64"))
    their_y, their_dx, theirs = of_pytorch(layer, x, delta, model.host_parameters())
    np.testing.assert_allclose(device.to_numpy(y), their_y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(device.to_numpy(dx), their_dx, rtol=1e-11, atol=1e-13)
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(device.to_numpy(gradient), theirs[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("features", [64, 65536])
def test_a_large_mean_costs_no_digits_but_those_it_has_taken(features, device):
    """Variances by E[x²] − E[x]² would be wrong by a factor of four, some of them negative."""
    x = np.random.default_rng(1).normal(1000.0, 1.0, size=(8, features)).astype(np.float32)
    exact, backward = bp.LayerNorm(scale=False, bias=False).forward(
        {}, x.astype(np.float64), bp.Context(np)
    )
    delta = np.random.default_rng(2).normal(size=x.shape)
    layer = bp.LayerNorm(scale=False, bias=False)
    y, its_backward = layer.forward({}, device.asarray(x), bp.Context(device.xp, device.native))
    mean_digit = 1000.0 * np.finfo(np.float32).eps  # m itself is rounded
    np.testing.assert_allclose(device.to_numpy(y), exact, rtol=1e-4, atol=mean_digit)
    dx = device.to_numpy(its_backward(device.asarray(delta, "float32"))[0])
    np.testing.assert_allclose(dx, backward(delta)[0], rtol=1e-3, atol=10 * mean_digit)


@pytest.mark.parametrize("layer", [bp.LayerNorm(), bp.RMSNorm()], ids=repr)
def test_a_row_of_zeros_is_normalized_to_zeros(layer):
    model = bp.Model(layer, 3, device="cpu")
    y, backward = model.forward(np.zeros((2, 3)))
    dx, _ = backward(np.ones((2, 3), np.float32))
    assert not y.any() and np.isfinite(dx).all()


def test_half_precision_is_computed_in_float32():
    """The squares of 300 overflow in float16."""
    x = np.random.default_rng(0).normal(300.0, 50.0, size=(4, 100)).astype(np.float16)
    model = bp.Model(bp.LayerNorm(), 100, device="cpu", dtype="float16")
    y, backward = model.forward(x)
    dx, gradients = backward(np.ones((4, 100), np.float16))
    exact = bp.Model(bp.LayerNorm(), 100, device="cpu", dtype="float64").predict(x)
    assert {y.dtype, dx.dtype, gradients["scale"].dtype} == {np.dtype(np.float16)}
    np.testing.assert_allclose(y, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("norm", [bp.LayerNorm(), bp.RMSNorm()], ids=repr)
def test_a_net_with_a_norm_trains_and_is_saved(norm, compiled, device, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 4.0, size=(90, 3, 4))
    t = (x[:, :1, 0] > 5.0) * 1.0
    net = bp.Sequential(norm, bp.Linear(6), norm, bp.Tanh(), bp.Flatten(), bp.Linear(1))
    model = bp.Model(net, (3, 4), device=device, seed=0)
    history = bp.fit(
        model, x, t, loss=bp.L2Loss(), optimizer=bp.Adam(0.02), epochs=8, batch_size=30,
        compiled=compiled,
    )  # fmt: skip
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history.not_compiled == ""
    model.save(tmp_path / "norm.safetensors")
    again = bp.load(tmp_path / "norm.safetensors", device="cpu")
    assert again.net == net
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-4, atol=1e-5)


def test_the_first_layer_skips_its_input_gradient():
    ctx = bp.Context(np, needs_input_gradient=False)
    for layer in (bp.LayerNorm(), bp.RMSNorm()):
        params = {"scale": np.ones(4), "bias": np.zeros(4)}
        dx, gradients = layer.forward(params, np.ones((3, 4)), ctx)[1](np.ones((3, 4)))
        assert dx is None and gradients["scale"].shape == (4,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.LayerNorm(0.0), r"LayerNorm\(epsilon=0.0\): expected epsilon > 0"),
        (lambda: bp.RMSNorm(float("nan")), r"RMSNorm\(epsilon=nan\): expected a finite number"),
        (lambda: bp.LayerNorm(scale=1), r"LayerNorm\(scale=1\): expected True or False"),
        (lambda: bp.LayerNorm(bias="no"), r"LayerNorm\(bias='no'\): expected True or False"),
        (lambda: bp.RMSNorm(scale=None), r"RMSNorm\(scale=None\): expected True or False"),
        (
            lambda: bp.Model(bp.LayerNorm(), (), device="cpu"),
            r"LayerNorm\(input=\): expected shape \(..., features\), got \(\)",
        ),
        (lambda: bp.Model(bp.RMSNorm(), (), device="cpu"), r"RMSNorm\(input=\): expected shape"),
    ],
)
def test_bad_settings_say_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()
