"""Covers: `Model.parameters` as a mapping that writes: what reaches the model, what is refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import bp_arrays as bp

X, T = np.array([[0.05, 0.35], [0.2, 0.1]]), np.array([[0.0175, 0.3825], [0.1, 0.9]])


def make(device, dtype="float32"):
    net = bp.Sequential(bp.Linear(3), bp.BatchNorm(), bp.Sigmoid(), bp.Linear(2))
    return bp.Model(net, 2, device=device, dtype=dtype, seed=0)


def test_an_assignment_sets_the_parameter_and_no_other(device, dtype):
    model = make(device, dtype)
    before, new = model.host_parameters(), np.arange(6.0).reshape(2, 3) / 7
    model.parameters["0.weight"] = new
    model.parameters["1.mean"] = device.asarray([1.0, 2.0, 3.0], dtype)
    after = model.host_parameters()
    np.testing.assert_array_equal(after["0.weight"], new.astype(dtype))
    np.testing.assert_array_equal(after["1.mean"], [1.0, 2.0, 3.0])
    for name in set(before) - {"0.weight", "1.mean"}:
        np.testing.assert_array_equal(after[name], before[name])


def test_minus_equals_is_an_update_bit_for_bit(device, dtype):
    """The same step as SGD's: w − η g, one product and one difference in the model's dtype."""
    by_hand, trained = make(device, dtype), make(device, dtype)
    parameters = by_hand.parameters  # made once: it follows the model
    optimizer = bp.SGD(0.5)
    for _ in range(3):
        _, gradients = by_hand.gradients(X, T, bp.L2Loss(), training=False)
        for name, g in gradients.items():
            parameters[name] -= 0.5 * g
        _, gradients = trained.gradients(X, T, bp.L2Loss(), training=False)
        g = trained.flatten(gradients)
        state = optimizer.init(trained.vector, device.xp)
        scalars = optimizer.scalars(1, optimizer.rate(0))
        trained.vector, _ = optimizer.update(trained.vector, g, state, scalars, device.xp)
    expected = trained.host_parameters()
    for name, value in by_hand.host_parameters().items():
        np.testing.assert_array_equal(value, expected[name])
    assert not np.array_equal(
        expected["0.weight"], make("cpu", dtype).host_parameters()["0.weight"]
    )


def test_elements_can_be_set_where_arrays_can_be_written_to(device):
    model = make(device)
    try:
        model.parameters["0.bias"][1] = 0.25
    except TypeError as error:  # JAX
        assert "immutable" in str(error)
    else:
        assert model.host_parameters()["0.bias"][1] == 0.25


def test_several_are_set_at_once_or_none(device):
    model = make(device)
    before = model.host_parameters()
    with pytest.raises(bp.InputError, match=r"3.bias: expected shape \(2,\), got \(5,\)"):
        model.parameters.update({"0.bias": np.ones(3), "3.bias": np.ones(5)})
    np.testing.assert_array_equal(model.host_parameters()["0.bias"], before["0.bias"])
    model.parameters |= {"0.bias": [1, 2, 3], "3.bias": [4, 5]}
    assert model.host_parameters()["3.bias"].tolist() == [4.0, 5.0]
    model.parameters = before
    np.testing.assert_array_equal(model.host_parameters()["0.bias"], before["0.bias"])


def test_what_cannot_be_assigned_is_refused_in_one_line():
    model = make("cpu")
    parameters, before = model.parameters, model.host_parameters()
    for name, value, message in [
        ("0.weight", np.ones((3, 2)), r"0\.weight: expected shape \(2, 3\), got \(3, 2\)"),
        ("0.bias", [1.0, np.nan, 2.0], r"0\.bias\[1\]: expected a number that is finite"),
        ("0.bias", [1.0, 2.0, 1e39], r"0\.bias\[2\]: .* finite in float32, got 1e\+39"),
        ("0.bias", "abc", "expected"),
        ("0.wieght", np.ones((2, 3)), "unknown parameter '0.wieght': did you mean '0.weight'"),
    ]:
        with pytest.raises(bp.InputError, match=message) as error:
            parameters[name] = value
        assert "\n" not in str(error.value)
    with pytest.raises(bp.InputError, match="expected no deletion"):
        del parameters["0.bias"]
    with pytest.raises(KeyError, match="unknown parameter"):
        parameters["0.wieght"]
    assert parameters.get("5.weight") is None and "5.weight" not in parameters
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_arrays_of_another_device_are_refused():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed")
    with pytest.raises(bp.DeviceMismatchError, match=r"0\.bias: expected an array on 'cpu'"):
        make("cpu").parameters["0.bias"] = strict.ones(3)


def test_a_copy_of_it_holds_the_arrays_of_that_moment(device):
    model = make(device)
    kept = dict(model.parameters)
    first = device.to_numpy(kept["0.bias"]).copy()
    model.parameters["0.bias"] = np.ones(3)
    np.testing.assert_array_equal(device.to_numpy(kept["0.bias"]), first)
    if device.is_host:
        again = pickle.loads(pickle.dumps(model.parameters))
        assert type(again) is dict and again["0.bias"].tolist() == [1.0] * 3
        assert type(copy.copy(model.parameters)) is dict


def test_training_goes_on_from_what_was_assigned():
    """Also after the training vectors have been adopted by a runner that writes in place."""
    model, optimizer, loss = make("cpu", "float64"), bp.SGD(0.1), bp.L2Loss()
    bp.fit(model, X, T, loss=loss, optimizer=optimizer, epochs=2)
    parameters = model.parameters
    parameters["3.bias"] = [50.0, 50.0]
    history = bp.fit(model, X, T, loss=loss, optimizer=optimizer, epochs=1)
    assert history["loss"][0] > 1000.0
    assert 50.0 > parameters["3.bias"][0] > 40.0  # follows the training
