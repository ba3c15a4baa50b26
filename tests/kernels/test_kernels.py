"""Covers: which form of a kernel a namespace gets, and both forms of each against one truth."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.devices import library_of
from bp_arrays.execution import fast_numpy
from bp_arrays.kernels import (
    Kernel,
    erfc,
    logistic,
    random_bits,
    random_mask,
    random_mask_part,
    standard_forms,
)

COUNTS = [0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 1001]
SHAPES = [(), (0, 3), (1,), (1, 1), (5,), (7, 31), (3, 1, 5), (2, 3, 4, 5), (129, 67)]
KEYS = [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0x13198A2E, 0x03707344), (2**31, 2**31 - 1)]
STEPS = [0, 1, 2**31 - 1]


def twice():
    """A kernel with a native form for a library that does not exist."""

    @Kernel
    def double(x, *, xp):
        """x twice."""
        return x + x

    @double.native("elsewhere")
    def _(x, *, xp):
        return 2 * x

    return double


class Elsewhere:
    __backend__ = "elsewhere"


def test_the_namespace_says_which_form_is_used():
    double = twice()
    assert double.form(np) is double.standard
    assert double.form(Elsewhere) is not double.standard
    assert double(3, xp=Elsewhere) == double(3, xp=np) == 6


def test_the_standard_form_can_be_asked_for():
    double = twice()
    with standard_forms():
        assert double.form(Elsewhere) is double.standard
        with standard_forms():
            pass
        assert double.form(Elsewhere) is double.standard
    assert double.form(Elsewhere) is not double.standard


def test_a_kernel_has_the_name_and_the_words_of_its_standard_form():
    assert twice().__name__ == "double" and twice().__doc__ == "x twice."


def test_a_namespace_is_known_by_the_device_that_hands_it_out(device):
    assert library_of(device.xp) == device.backend


def test_namespaces_that_no_device_hands_out_get_the_standard_form():
    for xp in (fast_numpy, np):
        assert library_of(xp) is None
        assert erfc.form(xp) is erfc.standard


def test_numpy_has_no_native_form_so_that_its_bits_stay():
    xp = bp.device("cpu").xp
    for kernel in (erfc, random_bits, random_mask):
        assert kernel.form(xp) is kernel.standard


@pytest.mark.parametrize("form", ["native", "standard"])
def test_erfc_is_right_to_8_eps_in_every_form(form, device, dtype):
    """Relative to each value, down to the smallest normal number."""
    mpmath.mp.dps = 40
    x = device.asarray(np.linspace(-6.0, 9.0, 401), dtype)
    truth = [float(mpmath.erfc(mpmath.mpf(float(v)))) for v in device.to_numpy(x)]
    with device.activate():
        y = (erfc if form == "native" else erfc.standard)(x, xp=device.xp)
    truth, found, info = np.array(truth), device.to_numpy(y), np.finfo(dtype)
    normal = truth > 8 * info.tiny
    error = np.abs(found - truth)[normal] / truth[normal] / info.eps
    assert error.max() < 8.0
    assert found[~normal].max(initial=0.0) <= 16 * info.tiny


@pytest.mark.parametrize("form", ["native", "standard"])
def test_erfc_keeps_the_ends_and_nan(form, device, dtype):
    x = device.asarray([-np.inf, -30.0, 0.0, 30.0, np.inf, np.nan], dtype)
    with device.activate():
        y = (erfc if form == "native" else erfc.standard)(x, xp=device.xp)
    np.testing.assert_array_equal(device.to_numpy(y), [2.0, 2.0, 1.0, 0.0, 0.0, np.nan])


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("step", STEPS)
def test_bits_are_those_of_the_standard_form(key, step, device):
    for count in COUNTS:
        with device.activate():
            there = device.asarray(np.array([step], np.int32))
            found = random_bits(key, count, there, device=device.native, xp=device.xp)
        expected = random_bits.standard(key, count, np.array([step], np.int32), device=None, xp=np)
        assert device.to_numpy(found).dtype == np.int32
        np.testing.assert_array_equal(device.to_numpy(found), expected)


@pytest.mark.parametrize("threshold", [1, 2**15 - 1, 2**15, 45_875, 2**16])
@pytest.mark.parametrize("step", STEPS)
def test_masks_are_those_of_the_standard_form(threshold, step, device):
    for key, shape in zip(KEYS * 3, SHAPES, strict=False):
        with device.activate():
            there = device.asarray(np.array([step], np.int32))
            found = random_mask(key, shape, there, threshold, device=device.native, xp=device.xp)
        here = np.array([step], np.int32)
        expected = random_mask.standard(key, shape, here, threshold, device=None, xp=np)
        assert device.to_numpy(found).dtype == np.bool_ and device.to_numpy(found).shape == shape
        np.testing.assert_array_equal(device.to_numpy(found), expected)


@pytest.mark.parametrize(("first", "rows"), [(0, 5), (2, 1), (1, 6), (6, 1)])
def test_a_part_of_a_mask_is_that_of_the_whole(first, rows, device):
    step, threshold, key = np.array([3], np.int32), 2**15, (1, 2)
    whole = random_mask.standard(key, (7, 9), step, threshold, device=None, xp=np)
    with device.activate():
        arrays = [device.asarray(a, "int32") for a in (np.array([9 * first], np.int32), step)]
        part = random_mask_part(
            key, (rows, 9), arrays[0], 63, arrays[1], threshold, device=device.native, xp=device.xp
        )
    np.testing.assert_array_equal(device.to_numpy(part), whole[first : first + rows])


def test_a_net_is_the_same_in_standard_forms(device):
    net = bp.Sequential(bp.Linear(8), bp.GELU(exact=True), bp.Dropout(0.3), bp.Linear(2))
    x = np.random.default_rng(0).normal(size=(20, 4))

    def outputs():
        model = bp.Model(net, 4, device=device, seed=1)
        y, backward = model.forward(x, training=True)
        return device.to_numpy(y), device.to_numpy(backward(y)[1]["0.weight"])

    native = outputs()
    with standard_forms():
        standard = outputs()
    for one, other in zip(native, standard, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["native", "standard"])
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_erfc_in_half_precision_is_rounded_once(half, form, device):
    try:
        x = device.asarray(np.linspace(-6.0, 6.0, 401), half)
    except bp.InputError:
        pytest.skip(f"{device} has no {half}")
    with device.activate():
        y = (erfc if form == "native" else erfc.standard)(x, xp=device.xp)
    assert y.dtype == x.dtype
    truth = [float(mpmath.erfc(mpmath.mpf(float(v)))) for v in device.to_numpy(x)]
    eps, tiny = (2.0**-10, 2.0**-14) if half == "float16" else (2.0**-7, 2.0**-126)
    np.testing.assert_allclose(device.to_numpy(y), truth, rtol=0.51 * eps, atol=eps * tiny)


@pytest.mark.parametrize("precision", ["float16", "float32", "float64"])
def test_both_forms_of_the_logistic_function_are_right_where_it_overflows(device, precision):
    values = [-1000.0, -80.0, -8.0, -1.0, -0.0, 0.0, 0.25, 1.0, 8.0, 1000.0]
    truth = [float(1 / (1 + mpmath.exp(-value))) for value in values]
    try:
        a = device.asarray(np.asarray(values), precision)
    except bp.InputError:
        pytest.skip(f"{device} has no {precision}")
    eps = float(np.finfo(precision).eps)
    with device.activate():
        native = logistic(a, xp=device.xp)
        with standard_forms():
            standard = logistic(a, xp=device.xp)
    for result in (native, standard):
        assert result.dtype == a.dtype
        tiny = float(np.finfo(precision).tiny)  # some devices flush what is smaller
        np.testing.assert_allclose(device.to_numpy(result), truth, rtol=4 * eps, atol=tiny)
