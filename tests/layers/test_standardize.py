"""Covers: Standardize with measured numbers, its inverse, files, and the warning of `fit`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(3)
X = RNG.normal(size=(500, 3)) * [1e-9, 1.0, 1e6] + [5.0, -2.0, 1e9]


def numbers(layer):
    return np.array(layer.mean), np.array(layer.scale)


def exact(x):
    """Mean and deviation in extended precision, which is no code of ours."""
    rows = np.asarray(x, dtype=np.longdouble).reshape(-1, np.shape(x)[-1])
    mean = rows.mean(axis=0)
    return mean.astype(float), np.sqrt(((rows - mean) ** 2).mean(axis=0)).astype(float)


def test_it_measures_in_float64_whatever_the_scale():
    mean, scale = numbers(bp.Standardize.of(X))
    right_mean, right_scale = exact(X)
    np.testing.assert_allclose(mean, right_mean, rtol=1e-14)
    np.testing.assert_allclose(scale, right_scale, rtol=1e-12)


def test_it_measures_arrays_of_a_device(device, dtype):
    """float32 data too: its sums are in float64."""
    x = (RNG.normal(size=(3000, 2)) * 0.5 + 1000.0).astype(dtype)
    layer = bp.Standardize.of(bp.device(device).asarray(x))
    for measured, right in zip(numbers(layer), exact(x), strict=True):
        np.testing.assert_allclose(measured, right, rtol=1e-12)
    y = bp.Model(layer, 2, device=device, dtype="float32").predict(x)
    assert abs(y.mean()) < 1e-3 and y.std() == pytest.approx(1.0, abs=1e-3)


def test_constant_features_images_frames_and_one_feature():
    x = np.column_stack([np.full(7, 0.1), np.arange(7.0), np.zeros(7)])
    mean, scale = numbers(bp.Standardize.of(x))
    np.testing.assert_allclose(mean, [0.1, 3.0, 0.0], rtol=1e-15)
    np.testing.assert_allclose(scale, [1.0, 2.0, 1.0])
    images = RNG.normal(size=(4, 5, 6, 2))
    for measured, right in zip(numbers(bp.Standardize.of(images)), exact(images), strict=True):
        np.testing.assert_allclose(measured, right, rtol=1e-13)
    frame = pytest.importorskip("pandas").DataFrame({"a": [1, 2, 3], "b": [1.5, 2.5, 6.5]})
    assert bp.Standardize.of(frame).mean == (2.0, 3.5)
    assert bp.Standardize.of([1.0, 3.0]) == bp.Standardize((2.0,), (1.0,))


def test_more_values_than_a_piece():
    x = np.arange(2_200_000.0).reshape(-1, 2)
    mean, scale = numbers(bp.Standardize.of(x))
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-14)
    rows = 1_100_000  # of 0, 2, 4, ...: more exact than NumPy's sum
    np.testing.assert_allclose(scale, 2.0 * np.sqrt((rows**2 - 1) / 12), rtol=1e-13)


def test_the_inverse_returns_the_unit_of_the_data_and_files_keep_both(tmp_path):
    layer = bp.Standardize.of(X)
    net = bp.Sequential(layer, bp.Tanh(), layer.inverse())
    model = bp.Model(net, 3, device="cpu", dtype="float64")
    expected = np.tanh((X - exact(X)[0]) / exact(X)[1]) * exact(X)[1] + exact(X)[0]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-9)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert again.net == net
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert bp.Standardize().inverse() == bp.Standardize()
    assert repr(bp.Standardize.of(np.ones((2, 6)))).endswith("(1, 1, ..., 1))")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0], [np.nan]], "row 1, feature 0: expected a finite number, got nan"),
        (np.zeros((0, 3)), "expected an array"),
        (5.0, "expected an array"),
        ([["a"]], "expected an array of real numbers"),
        (np.array([["a"]]), "expected an array of real numbers"),
        (np.array([[1, "a"]], object), "expected an array of numbers"),
        ([[1.0], [2.0, 3.0]], "expected an array of numbers"),
    ],
)
def test_data_without_a_mean_is_refused(x, message):
    with pytest.raises(bp.InputError, match=message):
        bp.Standardize.of(x)


def test_numbers_that_do_not_fit_are_refused():
    for options in ({"mean": (1.0,)}, {"mean": (1.0,), "scale": (0.0,)}, {"mean": 3.0}):
        with pytest.raises(bp.InputError, match=r"Standardize\((mean|scale)"):
            bp.Standardize(**options)
    with pytest.raises(bp.InputError, match="expected 3 features, as measured"):
        bp.Model(bp.Standardize.of(X), 2, device="cpu")


def test_fit_warns_of_a_standardize_that_does_nothing():
    def train(layer):
        model = bp.Model(bp.Sequential(layer, bp.Linear(1)), 3, device="cpu")
        bp.fit(model, X, X[:, :1], loss=bp.Huber(), optimizer=bp.SGD(1e-3))

    with pytest.warns(
        bp.BpArraysWarning, match=r"layer 0 \(Standardize\) has the mean 0.*of\(x\)"
    ) as seen:
        train(bp.Standardize())
    assert seen[0].filename == __file__ or seen[0].filename.endswith("test_standardize.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(bp.Standardize.of(X))
