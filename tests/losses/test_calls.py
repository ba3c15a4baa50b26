"""Covers: losses and layers called directly, `loss(y, t)` and `layer(x, params)`."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(4, 3))
LOSSES = [
    (bp.L2Loss(), RNG.normal(size=(4, 3))),
    (bp.Huber(0.5, reduction="sum"), RNG.normal(size=(4, 3))),
    (bp.BinaryCrossEntropy(), (RNG.random((4, 3)) > 0.5) * 1.0),
    (bp.CrossEntropy(), np.array([0, 2, 1, 2])),
    (bp.CrossEntropy(ignore_index=-1), np.array([0, -1, 1, 2])),
]


@pytest.mark.parametrize(("loss", "t"), LOSSES, ids=lambda part: type(part).__name__)
def test_a_call_is_forward_and_backward(loss, t, device):
    y = device.asarray(Y, "float32")
    t = t.astype("float32") if t.dtype.kind == "f" else t
    on_device = device.asarray(t, "int32" if t.dtype.kind == "i" else "float32")
    value, backward = loss.forward(y, on_device, bp.Context(device.xp, device.native))
    expected = device.to_numpy(value), device.to_numpy(backward())
    for targets in (t, t.tolist(), on_device):
        got = loss(y, targets)
        assert device.owns(got[1])
        np.testing.assert_array_equal(device.to_numpy(got[0]), expected[0])
        np.testing.assert_array_equal(device.to_numpy(got[1]), expected[1])


def test_lists_become_numpy_in_float64():
    value, delta = bp.L2Loss()([[1, 2]], [[0, 0]])
    assert (float(value), delta.tolist(), delta.dtype) == (2.5, [[1.0, 2.0]], np.float64)
    value, _ = bp.L2Loss()([[1.0], [2.0]], [0.0, 0.0], weight=[1, 3])
    assert float(value) == pytest.approx((0.5 + 3 * 2.0) / 4)


def test_losses_of_several_outputs_take_dicts_and_tuples():
    losses = {"a": bp.L2Loss(), "b": bp.CrossEntropy()}
    y, t = {"a": [[1.0]], "b": [[1.0, 2.0]], "c": [[9.0]]}, {"a": [0.5], "b": [1]}
    value, delta = bp.CombinedLoss(losses)(y, t)
    parts = bp.L2Loss()(y["a"], t["a"]), bp.CrossEntropy()(y["b"], t["b"])
    assert float(value) == pytest.approx(float(parts[0][0] + parts[1][0]), rel=1e-15)
    np.testing.assert_array_equal(delta["b"], parts[1][1])
    assert delta["c"] is None
    _, delta = bp.CombinedLoss((bp.L2Loss(), bp.L2Loss()))(([[1.0]], [[2.0]]), ([[0.0]], [[0.0]]))
    assert [part.tolist() for part in delta] == [[[1.0]], [[2.0]]]
    with pytest.raises(bp.InputError, match=r"CombinedLoss\(t=\): expected a dict of a, b"):
        bp.CombinedLoss(losses)(y, {"a": [0.5]})


def test_wrong_arguments_of_a_call_are_told_in_one_line():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    for message, y, t in [
        (r"CrossEntropy\(t=\): expected classes 0 to 2, got 3 at t\[1\]", Y, [0, 3, 1, 1]),
        (r"CrossEntropy\(t=\): expected classes", Y, [0, 0.5, 1, 1]),
        (r"CrossEntropy\(t=\): expected an array on the device of the others", Y, strict.ones(4)),
        (r"CrossEntropy\(y=\): expected an array of real numbers", "abc", [0]),
        (r"CrossEntropy\(y=\): expected a batch", 1.0, 0),
        ("expected", Y, [[0, 1]]),
    ]:
        with pytest.raises(bp.InputError, match=message) as error:
            bp.CrossEntropy()(y, t)
        assert "\n" not in str(error.value)


def test_a_layer_is_called_with_its_parameters(device):
    x = device.asarray(RNG.normal(size=(5, 4)), "float32")
    net = bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Dropout(0.5))
    model = bp.Model(net, 4, device=device, seed=1)
    weights = {"0": {"weight": model.parameters["0.weight"], "bias": model.parameters["0.bias"]}}
    expected, expected_backward = model.forward(x)
    y, backward = net(x, weights)
    np.testing.assert_array_equal(device.to_numpy(y), device.to_numpy(expected))
    dx, gradients = backward(np.ones((5, 3)))
    np.testing.assert_array_equal(
        device.to_numpy(dx), device.to_numpy(expected_backward(np.ones((5, 3)))[0])
    )
    assert sorted(gradients["0"]) == ["bias", "weight"]


def test_a_layer_called_without_what_it_needs_says_so():
    assert bp.Embedding(5, 2)([[0, 1]], {"weight": np.ones((5, 2))})[0].shape == (1, 2, 2)
    for message, layer, arguments in [
        (r"Linear\(params=\): expected 'weight', an array of shape \(3, 2\)", bp.Linear(2), (Y,)),
        (r"Linear\(params\['weight'\]=\): expected shape \(3, 2\), got \(1, 1\)",
         bp.Linear(2, bias=False), (Y, {"weight": [[1.0]]})),
        (r"Linear\(params=\): expected a dict", bp.Linear(2), (Y, [1.0])),
        (r"Sigmoid\(x=\): expected a batch", bp.Sigmoid(), (0.5,)),
    ]:  # fmt: skip
        with pytest.raises(bp.InputError, match=message):
            layer(*arguments)
