"""Convolution on NumPy, some samples or lines at a time, is that of the standard form."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import (
    Windows,
    _numpy_convolution,
    convolution,
    convolution_dw,
    convolution_dx,
)

SIZE = (7, 9)
KERNELS = [(1, 1), (3, 3), (2, 3), (4, 1)]
STRIDES = [(1, 1), (2, 1), (3, 2)]
DILATIONS = [(1, 1), (2, 1)]
PADDINGS = [((0, 0), (0, 0)), ((1, 2), (0, 3)), ((4, 4), (2, 2))]
GEOMETRIES = [
    windows
    for fields in itertools.product(KERNELS, STRIDES, DILATIONS, PADDINGS)
    if min((windows := Windows(*fields)).positions(SIZE)) > 0
]


@pytest.fixture(params=[2**19, 3000, 600], ids=["all samples", "some samples", "some lines"])
def buffer(request, monkeypatch):
    monkeypatch.setattr(_numpy_convolution, "BUFFER_BYTES", request.param)


@pytest.mark.parametrize(("batch", "channels", "groups"), [(1, 5, 1), (3, 5, 1), (2, 6, 3)])
def test_every_geometry(batch, channels, groups, buffer):
    rng = np.random.default_rng(0)
    options = {"groups": groups, "device": None, "xp": bp.device("cpu").xp}
    x = rng.normal(size=(batch, *SIZE, channels))
    for windows in GEOMETRIES:
        w = rng.normal(size=(*windows.kernel, channels // groups, 3))
        y = convolution(x, w, windows, **options)
        delta = rng.normal(size=y.shape)
        for form, arguments in (
            (convolution, (x, w, windows)),
            (convolution_dx, (delta, w, SIZE, windows)),
            (convolution_dw, (x, delta, windows)),
        ):
            expected = form.standard(*arguments, **options)
            np.testing.assert_allclose(form(*arguments, **options), expected, atol=1e-12)


def test_it_is_used(buffer):
    x, w = np.ones((3, *SIZE, 5)), np.ones((3, 3, 5, 3))
    form = convolution.form(bp.device("cpu").xp)
    arguments = {"device": None, "xp": bp.device("cpu").xp}
    out = np.empty((3, 5, 7, 3))
    assert form(x, w, Windows((3, 3)), out=out, **arguments) is out and np.all(out == 45.0)
    assert form(x.astype(np.float16), w.astype(np.float16), Windows((3, 3)), **arguments) is (
        NotImplemented
    )


def test_groups_need_no_more_memory_than_the_images():
    x = np.ones((8, 32, 32, 32), np.float32)
    model = bp.Model(bp.Conv2d(32, 3, padding="same", groups=4), x.shape[1:], device="cpu")
    tracemalloc.start()
    try:
        y, backward = model.forward(x)
        backward(y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * x.nbytes  # all windows side by side are 9 times x
