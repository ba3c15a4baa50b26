"""Initializers have the variances of their papers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bp_arrays.errors import InputError
from bp_arrays.initializers import (
    INITIALIZERS,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Ones,
    Orthogonal,
    Zeros,
    fans,
    initializer_named,
    orthonormal_columns,
)
from bp_arrays.random import host_generator

FAN_IN, FAN_OUT = 400, 100
VARIANCES = {
    GlorotUniform: 2 / (FAN_IN + FAN_OUT),
    GlorotNormal: 2 / (FAN_IN + FAN_OUT),
    HeUniform: 2 / FAN_IN,
    HeNormal: 2 / FAN_IN,
    LeCunUniform: 1 / FAN_IN,
    LeCunNormal: 1 / FAN_IN,
}


@pytest.mark.parametrize("kind", VARIANCES, ids=lambda kind: kind.__name__)
def test_mean_and_variance(kind):
    w = kind().draw((FAN_IN, FAN_OUT), host_generator(0))
    variance = VARIANCES[kind]
    assert w.shape == (FAN_IN, FAN_OUT)
    assert w.dtype == np.float64
    assert abs(w.mean()) < 5 * (variance / w.size) ** 0.5
    # the variance of a sample variance is (κ − 1)/n: κ = 3 for normal, 9/5 for uniform
    kurtosis = 1.8 if "Uniform" in kind.__name__ else 3.0
    assert abs(w.var() / variance - 1) < 5 * ((kurtosis - 1) / w.size) ** 0.5
    measured = ((w - w.mean()) ** 4).mean() / w.var() ** 2
    assert abs(measured - kurtosis) < 0.15


@pytest.mark.parametrize("kind", [GlorotUniform, HeUniform, LeCunUniform])
def test_uniform_stays_within_its_limit(kind):
    limit = (3 * VARIANCES[kind]) ** 0.5
    w = kind().draw((FAN_IN, FAN_OUT), host_generator(0))
    assert 0.999 * limit < np.abs(w).max() <= limit


@pytest.mark.parametrize("kind", INITIALIZERS.values(), ids=INITIALIZERS)
def test_same_generator_same_values(kind):
    first, again = (kind().draw((6, 5), host_generator(4, "w")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float64


def test_constants():
    assert (Zeros().draw((2, 3), None) == np.zeros((2, 3))).all()
    assert (Ones().draw((4,), None) == np.ones(4)).all()
    assert Ones().draw((), None).shape == ()


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("gain", [1.0, 2.0**0.5])
def test_orthogonal(shape, gain):
    w = Orthogonal(gain).draw(shape, host_generator(1))
    assert w.shape == shape
    product = w.T @ w if shape[0] >= shape[1] else w @ w.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(shape)), atol=1e-14)


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan"), float("inf"), "1", None])
def test_orthogonal_bad_gain(gain):
    with pytest.raises(InputError, match="gain"):
        Orthogonal(gain)


def test_orthogonal_needs_a_matrix():
    with pytest.raises(InputError, match=r"\(in, out\)"):
        Orthogonal().draw((3, 3, 2, 4), host_generator(0))


def test_fans():
    assert fans((784, 30)) == (784, 30)
    assert fans((5, 16, 32)) == (80, 160)
    assert fans((3, 3, 16, 32)) == (144, 288)


@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0)])
def test_shapes_without_fans(shape):
    with pytest.raises(InputError):
        fans(shape)
    with pytest.raises(InputError):
        GlorotUniform().draw(shape, host_generator(0))


def test_names():
    assert initializer_named("HeNormal") is HeNormal
    assert initializer_named("lecun_uniform") is LeCunUniform
    assert initializer_named("glorot-normal") is GlorotNormal
    with pytest.raises(InputError, match="did you mean 'HeNormal'"):
        initializer_named("hinormal")


def test_descriptions_are_values():
    assert Orthogonal(2) == Orthogonal(np.float64(2.0))
    assert hash(GlorotUniform()) == hash(GlorotUniform())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Orthogonal().gain = 3.0


def test_orthonormal_columns_are_uniform():
    """With LAPACK's own signs the first element would be negative every time."""
    first = [orthonormal_columns(3, 2, host_generator(0, i))[0, 0] for i in range(400)]
    assert 150 < sum(value > 0 for value in first) < 250
    assert abs(np.mean(np.square(first)) - 1 / 3) < 0.08
