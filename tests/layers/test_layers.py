"""Every layer against central differences, and the notes' formulas index by index."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import check_layer_backward

import bp_arrays as bp

LAYERS = [
    (bp.Linear(4), (3,)),
    (bp.Linear(1, bias=False), (5,)),
    (bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Linear(2)), (4,)),
    (bp.Sequential(bp.Tanh(), bp.Standardize(), bp.Linear(2), bp.Sigmoid()), (4,)),
    (bp.Residual(bp.Linear(4)), (4,)),
    (bp.Residual(bp.Linear(3), bp.Tanh(), bp.Linear(4)), (4,)),
    (bp.Sequential(bp.Residual(bp.Linear(4), bp.Tanh()), bp.Linear(2)), (4,)),
    (bp.Sequential(bp.Flatten(), bp.Linear(2)), (2, 3)),
    (bp.Flatten(), (2, 3)),
    (bp.Standardize(), (4,)),
    (bp.Dropout(0.5), (4,)),
    (bp.Linear(2), (3, 4)),
    (bp.Linear(1, bias=False), (2, 1, 3)),
    (bp.Sequential(bp.Linear(3), bp.Softmax(), bp.Linear(2), bp.LogSoftmax()), (5, 2)),
    (bp.Sequential(bp.Standardize(), bp.Residual(bp.Linear(3), bp.Dropout(0.5))), (2, 2, 3)),
]


@pytest.mark.parametrize(("layer", "input_shape"), LAYERS, ids=lambda v: repr(v)[:40])
@pytest.mark.parametrize("batch", [1, 3])
def test_backward_against_central_differences(layer, input_shape, batch):
    check_layer_backward(layer, input_shape, batch)


def test_the_notes_formulas_index_by_index(device, dtype):
    """The 2-3-2 net, all sigmoid, L = ½Σ(y − t)²: every ∂L/∂u_jk and ∂L/∂w_ij written out."""
    net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    model = bp.Model(net, input_shape=(2,), device=device, dtype=dtype, seed=5)
    x, t = [0.05, 0.10], [0.01, 0.99]
    value, gradients = model.gradients([x], [t], bp.L2Loss())

    p = {k: v.astype(np.float64).tolist() for k, v in model.host_parameters().items()}
    w, b1, u, b2 = p["0.weight"], p["0.bias"], p["2.weight"], p["2.bias"]

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h = [sigmoid(sum(x[i] * w[i][j] for i in range(2)) + b1[j]) for j in range(3)]
    y = [sigmoid(sum(h[j] * u[j][k] for j in range(3)) + b2[k]) for k in range(2)]
    loss = sum((y[k] - t[k]) ** 2 for k in range(2)) / 2
    delta_out = [(y[k] - t[k]) * y[k] * (1 - y[k]) for k in range(2)]
    delta_hidden = [
        sum(delta_out[k] * u[j][k] for k in range(2)) * h[j] * (1 - h[j]) for j in range(3)
    ]
    expected = {
        "2.weight": [[delta_out[k] * h[j] for k in range(2)] for j in range(3)],
        "2.bias": delta_out,
        "0.weight": [[delta_hidden[j] * x[i] for j in range(3)] for i in range(2)],
        "0.bias": delta_hidden,
    }
    tolerance = 8 * float(np.finfo(dtype).eps)
    assert float(value) == pytest.approx(loss, rel=tolerance)
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(device.to_numpy(gradient), expected[name], rtol=tolerance * 4)


def test_dropout_masks_are_the_same_everywhere_and_leave_the_mean(device, dtype):
    model = bp.Model(bp.Dropout(0.25), input_shape=(1000,), device=device, dtype=dtype, seed=3)
    x = np.ones((20, 1000))
    y, backward = model.forward(x, training=True)
    host = device.to_numpy(y)
    reference = bp.Model(bp.Dropout(0.25), input_shape=(1000,), device="cpu", dtype=dtype, seed=3)
    np.testing.assert_array_equal(host, reference.forward(x, training=True)[0])
    assert 0.74 < float((host != 0).mean()) < 0.76
    np.testing.assert_allclose(host[host != 0], 1 / 0.75, rtol=1e-6)
    dx, _ = backward(np.full((20, 1000), np.inf))
    assert not np.isnan(device.to_numpy(dx)).any()  # a mask by product would give 0 · inf


def test_two_dropouts_in_a_pass_draw_different_masks(device):
    net = bp.Sequential(bp.Dropout(0.5), bp.Dropout(0.5))
    model = bp.Model(net, input_shape=(4000,), device=device, dtype="float32", seed=3)
    y = device.to_numpy(model.forward(np.ones((1, 4000)), training=True)[0])
    assert 0.2 < float((y != 0).mean()) < 0.3


def test_the_first_layer_skips_its_input_gradient():
    layer = bp.Linear(2)
    x, w = np.ones((3, 4)), np.ones((4, 2))
    ctx = bp.Context(np, needs_input_gradient=False)
    _, backward = layer.forward({"weight": w, "bias": np.zeros(2)}, x, ctx)
    dx, gradients = backward(np.ones((3, 2)))
    assert dx is None
    assert gradients["weight"].shape == (4, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.Linear(0), "expected out_features >= 1"),
        (lambda: bp.Linear(2.5), "expected a whole number, out_features >= 1"),
        (lambda: bp.Linear(2, bias="no"), "expected True or False"),
        (
            lambda: bp.Linear(2, weight_init=bp.Tanh()),
            r"=Tanh\(\)\): expected an initializer",
        ),
        (lambda: bp.Linear(2, bias_init="zeros"), r"='zeros'\): expected an initializer"),
        (lambda: bp.Dropout(1.0), "expected 0 <= rate < 1"),
        (lambda: bp.Sequential(bp.Linear), "write Linear"),
        (lambda: bp.Sequential(3), "argument 0: expected a layer, got 3"),
        (lambda: bp.Residual(), "at least one layer"),
        (lambda: bp.Model(bp.Linear(2), input_shape=(), device="cpu"), "put Flatten"),
        (lambda: bp.Model(bp.Residual(bp.Linear(2)), 3, device="cpu"), "shape of x"),
    ],
)
def test_bad_layers_say_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


def test_dropout_divides_by_the_probability_that_was_drawn_with():
    """0.7 rounded to a multiple of 2⁻¹⁶, so that the expectation is exact."""
    model = bp.Model(bp.Dropout(0.3), 1000, device="cpu", dtype="float64")
    y, _ = model.forward(np.ones((1, 1000)), training=True)
    assert set(np.unique(y)) == {0.0, 65536 / round(0.7 * 65536)}


ON_THE_LAST_AXIS = [
    bp.Linear(4),
    bp.Linear(2, bias=False),
    bp.Softmax(),
    bp.LogSoftmax(),
    bp.Standardize(),
    bp.GELU(exact=True),
    bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Residual(bp.Linear(3))),
]


@pytest.mark.parametrize("layer", ON_THE_LAST_AXIS, ids=lambda layer: repr(layer)[:30])
@pytest.mark.parametrize("leading", [(1, 5), (3, 5), (3, 1, 2), (2, 3, 1, 4)])
def test_each_position_is_a_sample_to_what_acts_on_the_last_axis(layer, leading, device):
    """An explicit loop: outputs and dx position by position, parameters' gradients their sum."""
    rng = np.random.default_rng(3)
    many = bp.Model(layer, (*leading[1:], 3), device=device, dtype="float32", seed=2)
    one = bp.Model(layer, 3, device=device, dtype="float32", seed=2)
    x, delta = (rng.normal(size=(*leading, n)) for n in (3, many.output_shape[-1]))
    assert many.output_shape == (*leading[1:], *one.output_shape)
    y, backward = many.forward(x)
    dx, gradients = backward(device.asarray(delta, "float32"))
    summed = dict.fromkeys(gradients, 0.0)
    for at in np.ndindex(leading):
        y_at, backward_at = one.forward(x[at][None])
        dx_at, gradients_at = backward_at(device.asarray(delta[at][None], "float32"))
        for whole, part in ((y, y_at), (dx, dx_at)):
            part = device.to_numpy(part)[0]
            np.testing.assert_allclose(device.to_numpy(whole)[at], part, rtol=1e-5, atol=1e-6)
        for name, gradient in gradients_at.items():
            summed[name] = summed[name] + device.to_numpy(gradient)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(device.to_numpy(gradient), summed[name], rtol=1e-4, atol=1e-5)


def test_dropout_draws_for_every_position():
    model = bp.Model(bp.Dropout(0.5), (5, 8), device="cpu")
    y, _ = model.forward(np.ones((20, 5, 8)), training=True)
    assert 0.4 < (y != 0.0).mean() < 0.6
    assert len(np.unique((y != 0.0).reshape(100, 8), axis=0)) > 50


def test_standardize_has_one_scale_per_feature_of_the_last_axis():
    model = bp.Model(bp.Standardize(), (5, 2), device="cpu", dtype="float64")
    x = np.random.default_rng(0).normal(3.0, 7.0, size=(40, 5, 2))
    model.set_parameters({"mean": x.mean(axis=(0, 1)), "scale": x.std(axis=(0, 1))})
    y = model.predict(x)
    np.testing.assert_allclose(y.mean(axis=(0, 1)), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 1)), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("scale", "stored"),
    [(0.0, "float64"), (-1.0, "float64"), (np.nan, "float64"), (np.inf, "float64"),
     (1e-50, "float32"), (1e-9, "float16"), (1e300, "float32")],
)  # fmt: skip
def test_a_scale_that_would_divide_by_zero_is_refused_where_it_is_set(scale, stored):
    model = bp.Model(bp.Sequential(bp.Standardize()), 2, device="cpu", dtype=stored)
    with pytest.raises(bp.InputError, match=r"0\.scale\[1\]: expected a finite number > 0, got"):
        model.set_parameters({"0.mean": [0.0, 0.1], "0.scale": [1.0, scale]})
    assert model.predict([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
