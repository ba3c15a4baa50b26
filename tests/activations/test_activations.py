"""Activations against their definitions, PyTorch's own, and arbitrary precision."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.activations import ACTIVATIONS, activation_named
from bp_arrays.kernels import erfc

POINTS = np.concatenate([np.linspace(-30, 30, 601), [-1e4, 1e4, -700.0, 700.0, 1e-300, -1e-12]])

EXACT = {
    "Sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "Tanh": mpmath.tanh,
    "SiLU": lambda a: a / (1 + mpmath.exp(-a)),
    "Softplus": lambda a: mpmath.log1p(mpmath.exp(a)) if a < 700 else a,
    "ELU": lambda a: a if a > 0 else mpmath.expm1(a),
    "Mish": lambda a: a * mpmath.tanh(mpmath.log1p(mpmath.exp(a))),
}


def values(layer, points):
    y, backward = layer.forward({}, points, bp.Context(np))
    return y, backward(np.ones_like(points))[0]


@pytest.mark.parametrize("name", EXACT)
def test_relative_accuracy_reaches_into_the_tails(name):
    mpmath.mp.dps = 50
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, _ = values(ACTIVATIONS[name](), POINTS)
    exact = [float(EXACT[name](mpmath.mpf(float(a)))) for a in POINTS]
    np.testing.assert_allclose(y, exact, rtol=2e-15, atol=1e-300)


def test_erfc_has_small_relative_error_everywhere():
    mpmath.mp.dps = 50
    x = np.concatenate([np.linspace(-6, 26, 3201), [-1e4, 1e4, 0.46875, 4.0, -0.46875]])
    exact = np.array([float(mpmath.erfc(mpmath.mpf(float(v)))) for v in x])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = erfc(x, xp=np)
    np.testing.assert_allclose(result, exact, rtol=8 * 2.0**-52, atol=1e-300)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_derivatives_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    functional = {
        "Identity": lambda a: a * 1.0,
        "LeakyReLU": lambda a: torch.nn.functional.leaky_relu(a, 0.01),
        "GELU": lambda a: torch.nn.functional.gelu(a, approximate="tanh"),
        "Softmax": lambda a: torch.softmax(a, -1),
        "LogSoftmax": lambda a: torch.log_softmax(a, -1),
    }
    theirs = functional.get(name) or getattr(torch.nn, name)()
    x = np.random.default_rng(0).normal(size=(7, 5)) * 3
    delta = np.random.default_rng(1).normal(size=(7, 5))
    y, backward = ACTIVATIONS[name]().forward({}, x, bp.Context(np))
    there = torch.tensor(x, requires_grad=True)
    out = theirs(there)
    out.backward(torch.tensor(delta))
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-12, atol=1e-14)
    # PyTorch takes its 1/6 of Hardsigmoid in float32, in float64 too
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-12
    np.testing.assert_allclose(backward(delta)[0], there.grad.numpy(), rtol=rtol, atol=1e-14)


def test_exact_gelu_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    x = np.linspace(-8, 8, 200)
    there = torch.tensor(x, requires_grad=True)
    out = torch.nn.functional.gelu(there)
    out.sum().backward()
    y, derivative = values(bp.GELU(exact=True), x)
    np.testing.assert_allclose(y, out.detach().numpy(), rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(derivative, there.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_comes_through_and_kinks_are_as_documented(device, name):
    xp = device.xp
    context = bp.Context(xp, device.native)
    y, _ = ACTIVATIONS[name]().forward({}, device.asarray([[math.nan, 1.0]], "float64"), context)
    assert math.isnan(device.to_numpy(y)[0, 0])
    if name in ("ReLU", "LeakyReLU"):
        zero = device.asarray([[0.0]], "float64")
        _, backward = ACTIVATIONS[name]().forward({}, zero, context)
        slope = {"ReLU": 0.0, "LeakyReLU": 0.01}[name]
        assert (
            float(device.to_numpy(backward(device.asarray([[1.0]], "float64"))[0])[0, 0]) == slope
        )


@pytest.mark.parametrize("exact", [False, True])
def test_gelu_of_huge_numbers_does_not_overflow(device, exact):
    a = device.asarray([[3e38, 1e20, 1e13, -1e13, -1e20, -3e38]], "float32")
    y, backward = bp.GELU(exact=exact).forward({}, a, bp.Context(device.xp, device.native))
    slope = device.to_numpy(backward(device.xp.ones_like(a))[0])
    assert slope.tolist() == [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(
        device.to_numpy(y), np.maximum(device.to_numpy(a), np.float32(0.0))
    )


def test_softmax_is_a_distribution_and_does_not_mind_a_shift(device):
    context = bp.Context(device.xp, device.native)
    a = np.array([[1.0, 2.0, 3.0], [1e4, 1e4, -1e4]])
    y, _ = bp.Softmax().forward({}, device.asarray(a), context)
    np.testing.assert_allclose(device.to_numpy(y).sum(axis=1), 1.0, rtol=1e-15)
    shifted, _ = bp.Softmax().forward({}, device.asarray(a + 5.0), context)
    np.testing.assert_allclose(device.to_numpy(shifted), device.to_numpy(y), rtol=1e-12)


def test_names_are_found_however_they_are_written():
    assert activation_named("leaky_relu") is bp.LeakyReLU
    assert activation_named("GELU") is bp.GELU
    with pytest.raises(bp.InputError, match="did you mean 'Sigmoid'"):
        activation_named("sigmod")


@pytest.mark.parametrize(
    "make",
    [lambda: bp.ELU(0.0), lambda: bp.LeakyReLU(float("nan")), lambda: bp.GELU(exact="tanh")],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(bp.InputError, match="expected"):
        make()


def test_gelu_in_float16_is_finite_and_right_everywhere():
    """The coefficients of erfc overflow in float16: it gave NaN from 3.8 to 5.7."""
    a = np.linspace(-8.0, 8.0, 321).astype(np.float16)
    params, ctx = {}, bp.Context(np)
    y, backward = bp.GELU(exact=True).forward(params, a, ctx)
    slope, _ = backward(np.ones_like(a))
    exact, its_backward = bp.GELU(exact=True).forward(params, a.astype(np.float64), ctx)
    assert y.dtype == slope.dtype == np.float16
    np.testing.assert_allclose(y, exact, rtol=4e-3, atol=1e-5)
    np.testing.assert_allclose(slope, its_backward(np.ones(a.size))[0], rtol=4e-3, atol=2e-4)


def test_the_slope_of_mish_is_accurate_in_the_tails():
    """1 − τ² would lose all digits where τ rounds to 1, and τ itself at the other end."""
    mpmath.mp.dps = 50

    def mish(a):
        return a * mpmath.tanh(mpmath.log1p(mpmath.exp(a)))

    points = np.concatenate([np.linspace(-30.0, -2.0, 29), np.linspace(0.0, 30.0, 31), [1e300]])
    _, slopes = values(bp.Mish(), points)
    exact = [float(mpmath.diff(mish, mpmath.mpf(a))) if a < 1e9 else 1.0 for a in points.tolist()]
    np.testing.assert_allclose(slopes, exact, rtol=1e-14)


def test_kinks_of_the_hard_activations_are_as_documented(device):
    context = bp.Context(device.xp, device.native)
    a = device.asarray([[-3.0, 3.0, -1e300, 1e300]], "float64")
    delta = device.asarray([[np.inf, 2.0, np.inf, 2.0]], "float64")
    expected = {
        bp.Hardsigmoid(): ([0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
        bp.Hardswish(): ([0.0, 3.0, 0.0, 1e300], [0.0, 2.0, 0.0, 2.0]),
    }
    for layer, (values_there, slopes) in expected.items():
        y, backward = layer.forward({}, a, context)
        assert device.to_numpy(y)[0].tolist() == values_there
        assert device.to_numpy(backward(delta)[0])[0].tolist() == slopes


# -- with parameters, or of another shape ----------------------------------------------------------


def in_both(layer, their_function, shape, device):
    """y, dx and the gradient of the slope, ours and PyTorch's."""
    import torch

    rng = np.random.default_rng(0)
    model = bp.Model(layer, shape[1:], device=device, dtype="float64")
    x = 2.0 * rng.normal(size=shape)
    delta = rng.normal(size=(shape[0], *model.output_shape))
    y, backward = model.forward(x)
    dx, gradients = backward(device.asarray(delta, "float64"))
    theirs = [torch.tensor(x, requires_grad=True)]
    theirs += [torch.tensor(p, requires_grad=True) for p in model.host_parameters().values()]
    out = their_function(*theirs)
    out.backward(torch.tensor(delta))
    ours = [device.to_numpy(part) for part in (y, dx, *gradients.values())]
    return ours, [out.detach().numpy(), *(part.grad.numpy() for part in theirs)]


@pytest.mark.parametrize("shape", [(7, 6), (90, 2, 4)], ids=str)
@pytest.mark.parametrize("name", ["GLU", "SwiGLU", "PReLU", "PReLU, per channel"])
def test_gated_and_learned_activations_are_those_of_pytorch(name, shape, device):
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    functional = torch.nn.functional

    def swiglu(x):
        v, u = torch.chunk(x, 2, dim=-1)
        return functional.silu(v) * u

    def prelu(x, s):
        return functional.prelu(x.movedim(-1, 1), s).movedim(1, -1)

    layer, theirs = {
        "GLU": (bp.GLU(), functional.glu),
        "SwiGLU": (bp.SwiGLU(), swiglu),
        "PReLU": (bp.PReLU(), prelu),
        "PReLU, per channel": (bp.PReLU(0.4, per_channel=True), prelu),
    }[name]
    for ours, expected in zip(*in_both(layer, theirs, shape, device), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-13)


def test_prelu_at_its_kink_and_with_infinite_errors():
    layer, ctx = bp.PReLU(), bp.Context(np)
    y, backward = layer.forward({"slope": np.array([0.25])}, np.array([[0.0, 2.0]]), ctx)
    dx, gradients = backward(np.array([[4.0, np.inf]]))
    assert y.tolist() == [[0.0, 2.0]] and dx.tolist() == [[1.0, np.inf]]
    assert gradients["slope"].tolist() == [0.0]


GATED_NET = bp.Sequential(
    bp.Linear(8, bias=False), bp.SwiGLU(), bp.PReLU(per_channel=True), bp.Linear(6), bp.GLU(),
    bp.PReLU(), bp.Linear(1),
)  # fmt: skip


@pytest.mark.parametrize("compiled", [True, False])
def test_a_net_of_them_trains_and_is_saved(device, compiled, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    t = np.abs(x[:, :1])
    model = bp.Model(GATED_NET, 3, device=device, seed=0)
    history = bp.fit(
        model, x, t, loss=bp.L2Loss(), optimizer=bp.Adam(0.02), epochs=20, batch_size=20,
        compiled=compiled,
    )  # fmt: skip
    assert history.not_compiled == "" and history["loss"][-1] < 0.5 * history["loss"][0]
    slopes = model.host_parameters()["2.slope"]
    assert slopes.shape == (4,) and (slopes != 0.25).all()
    model.save(tmp_path / "gated.safetensors")
    again = bp.load(tmp_path / "gated.safetensors", device="cpu")
    assert again.net == GATED_NET
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [bp.PReLU(), bp.GLU()], ids=repr)
def test_estimators_refuse_what_has_parameters_or_another_shape(activation):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from bp_arrays.estimators import MLPRegressor

    regressor = MLPRegressor(hidden_layer_sizes=(8,), activation=activation)
    with pytest.raises(bp.InputError, match=r"expected a layer without parameters, got \w+LU\("):
        regressor.fit(np.ones((8, 3)), np.ones(8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.PReLU(float("inf")), r"PReLU\(negative_slope=inf\): expected a finite number"),
        (lambda: bp.PReLU(per_channel=1), r"PReLU\(per_channel=1\): expected True or False"),
        (
            lambda: bp.Model(bp.PReLU(per_channel=True), (), device="cpu"),
            r"PReLU\(input=\): expected shape \(..., channels\), got \(\)",
        ),
        (
            lambda: bp.Model(bp.GLU(), (2, 5), device="cpu"),
            r"GLU\(input=\): expected shape \(..., features\), an even number of features, got "
            r"\(2, 5\); put a Linear of twice the features before it",
        ),
        (lambda: bp.Model(bp.SwiGLU(), (), device="cpu"), r"SwiGLU\(input=\): expected shape"),
    ],
)
def test_bad_settings_of_these_say_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


def test_the_products_of_prelu_in_float16_are_summed_in_float32():
    a = np.array([[-300.0], [-300.0]], np.float16)
    _, backward = bp.PReLU().forward({"slope": np.array([0.25], np.float16)}, a, bp.Context(np))
    _, gradients = backward(np.array([[300.0], [-299.0]], np.float16))
    assert gradients["slope"].tolist() == [-300.0]
