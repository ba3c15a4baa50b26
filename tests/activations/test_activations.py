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
    np.testing.assert_allclose(backward(delta)[0], there.grad.numpy(), rtol=1e-12, atol=1e-14)


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
