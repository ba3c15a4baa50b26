"""The model: names, shapes, doors, moving, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp


def make(device="cpu", dtype="float32", seed=0):
    net = bp.Sequential(bp.Linear(5), bp.Sigmoid(), bp.Linear(3))
    return bp.Model(net, input_shape=(4,), device=device, dtype=dtype, seed=seed)


X = np.random.default_rng(0).normal(size=(6, 4))
T = np.array([0, 1, 2, 0, 1, 2])


def test_parameters_by_name_on_the_device(device, dtype):
    model = make(device, dtype)
    shapes = {name: tuple(value.shape) for name, value in model.parameters.items()}
    assert shapes == {"0.weight": (4, 5), "0.bias": (5,), "2.weight": (5, 3), "2.bias": (3,)}
    assert list(shapes) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(device.owns(value) for value in model.parameters.values())
    assert all(value.dtype == device.dtype(dtype) for value in model.parameters.values())
    assert model.parameter_count == 4 * 5 + 5 + 5 * 3 + 3


def test_initial_weights_are_the_same_on_every_device(device, dtype):
    reference = make("cpu", dtype).host_parameters()
    for name, value in make(device, dtype).host_parameters().items():
        np.testing.assert_array_equal(value, reference[name])
    assert not np.array_equal(make(seed=1).host_parameters()["0.weight"], reference["0.weight"])


def test_gradients_are_the_same_on_every_device(device, dtype):
    x = X.astype(dtype).astype(np.float64)
    reference = make("cpu", "float64")
    reference.set_parameters(make("cpu", dtype).host_parameters())
    value64, gradients64 = reference.gradients(x, T, bp.CrossEntropy())
    value, gradients = make(device, dtype).gradients(x, T, bp.CrossEntropy())
    eps = float(np.finfo(dtype).eps)
    assert float(value) == pytest.approx(float(value64), rel=16 * eps)
    assert list(gradients) == list(gradients64)
    for name, gradient in gradients.items():
        assert device.owns(gradient)
        error = np.linalg.norm(device.to_numpy(gradient) - gradients64[name])
        assert error <= 16 * eps * np.linalg.norm(gradients64[name]), name


def test_forward_and_its_backward_agree_with_gradients(device, dtype):
    model = make(device, dtype)
    y, backward = model.forward(X)
    context = model.context(training=False, needs_input_gradient=True)
    t = device.asarray(T)
    _, loss_backward = bp.CrossEntropy().forward(y, t, context)
    dx, gradients = backward(loss_backward())
    assert tuple(dx.shape) == X.shape
    for name, gradient in model.gradients(X, T, bp.CrossEntropy())[1].items():
        np.testing.assert_array_equal(device.to_numpy(gradient), device.to_numpy(gradients[name]))


def test_predict_answers_in_kind(device, dtype):
    model = make(device, dtype)
    host = model.predict(X)
    assert isinstance(host, np.ndarray)
    assert host.dtype == np.dtype(dtype)
    there = model.predict(device.asarray(X, dtype))
    assert device.owns(there)
    np.testing.assert_array_equal(device.to_numpy(there), host)
    np.testing.assert_allclose(model.predict(X, batch_size=4), host, rtol=1e-5)
    assert model.predict(X[:0]).shape == (0, 3)
    assert model.predict(X.tolist()).shape == (6, 3)


def test_inputs_are_left_alone(device, dtype):
    model, x = make(device, dtype), device.asarray(X, dtype)
    before = device.to_numpy(x).copy()
    model.gradients(x, T, bp.CrossEntropy())
    model.predict(x)
    np.testing.assert_array_equal(device.to_numpy(x), before)


def test_moving_keeps_every_number(device, dtype):
    model = make("cpu", dtype)
    before = model.host_parameters()
    assert model.to(device) is model
    assert model.device == device
    assert all(device.owns(value) for value in model.parameters.values())
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_set_parameters_is_all_or_nothing(device):
    model = make(device)
    model.set_parameters({"0.bias": [1, 2, 3, 4, 5]})
    assert model.host_parameters()["0.bias"].tolist() == [1, 2, 3, 4, 5]
    before = model.host_parameters()
    with pytest.raises(bp.InputError, match=r"2\.weight: expected shape \(5, 3\), got \(3, 5\)"):
        model.set_parameters({"0.bias": np.zeros(5), "2.weight": np.zeros((3, 5))})
    with pytest.raises(bp.InputError, match=r"did you mean '0\.bias'"):
        model.set_parameters({"0.bais": np.zeros(5)})
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_standardize_is_kept_and_not_trained():
    net = bp.Sequential(bp.Standardize(), bp.Linear(2))
    model = bp.Model(net, input_shape=(3,), device="cpu")
    assert list(model.parameters) == ["0.mean", "0.scale", "1.weight", "1.bias"]
    _, gradients = model.gradients(np.ones((2, 3)), np.ones((2, 2)), bp.L2Loss())
    assert list(gradients) == ["1.weight", "1.bias"]
    assert "6 fixed" in str(model.summary())


def test_summary_names_every_layer():
    text = str(make().summary())
    for part in ("Linear", "Sigmoid", "(batch, 5)", "25", "18", "43 trainable", "float32", "cpu"):
        assert part in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.predict(np.zeros((2, 5))), r"expected shape \(batch, 4\), got \(2, 5\)"),
        (lambda m: m.predict(np.zeros(4)), r"batch of 1: x\[None\]"),
        (lambda m: m.predict([["a", "b", "c", "d"]]), "real numbers"),
        (lambda m: m.predict([[1.0], [1.0, 2.0]]), "array"),
        (lambda m: m.predict(np.zeros((2, 4)), batch_size=0), "batch_size"),
        (lambda m: m.predict(np.zeros((2, 4), dtype=complex)), "complex"),
        (lambda m: m.gradients(X, T[:3], bp.CrossEntropy()), "6"),
        (lambda m: m.gradients(X, T + 1, bp.CrossEntropy()), "3"),
        (lambda m: m.forward(X)[1](np.zeros((6, 2))), "delta"),
        (lambda m: bp.Model(m.net, input_shape=(0,), device="cpu"), "positive"),
        (lambda m: bp.Model("net", input_shape=(2,), device="cpu"), "expected a layer"),
        (lambda m: bp.Model(m.net, input_shape=(4,), device="cpu", dtype="float31"), "float32"),
        (lambda m: bp.Model(m.net, input_shape=(4,), device="cpx"), "did you mean 'cpu'"),
    ],
)
def test_bad_input_is_told_at_the_door(call, message):
    with pytest.raises(bp.InputError, match=message):
        call(make())


def test_arrays_of_another_device_are_named():
    strict = bp.device("strict")
    if not strict.availability().usable:
        pytest.skip("array-api-strict is not installed")
    with pytest.raises(bp.DeviceMismatchError, match=r"x is on device 'strict'.*'cpu'"):
        make().predict(strict.asarray(X))


class Forgetful(bp.Layer):
    """A layer whose backward leaves its gradient out."""

    def init(self, input_shape):
        return {"gain": bp.Parameter(input_shape, bp.Ones())}, input_shape

    def forward(self, params, x, ctx):
        return x * params["gain"], lambda delta: (delta, {})


class Transposed(bp.Linear):
    """A layer whose weight gradient has the wrong shape."""

    def forward(self, params, x, ctx):
        y, backward = super().forward(params, x, ctx)

        def wrong(delta):
            dx, gradients = backward(delta)
            return dx, gradients | {"weight": gradients["weight"].T}

        return y, wrong


@pytest.mark.parametrize(
    ("layer", "message"),
    [(Forgetful(), "returned no gradient"), (Transposed(3), r"shape \(3, 4\) for a parameter")],
)
def test_a_wrong_backward_of_a_users_layer_is_refused(layer, message):
    model = bp.Model(layer, input_shape=(4,), device="cpu")
    t = np.zeros((6, *model.output_shape))
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, X, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.1))


@pytest.mark.parametrize("rows", [1, 4, 5, 8, 9])
def test_every_row_is_predicted_whatever_is_left_for_the_last_pass(rows):
    model = bp.Model(bp.Identity(), 2, device="cpu", dtype="float64")
    x = np.arange(2.0 * rows).reshape(rows, 2)
    np.testing.assert_array_equal(model.predict(x, batch_size=4), x)


# -- the vector, and where outputs go ----------------------------------------------------------


def test_the_vector_can_be_set_to_one_like_it(device, dtype):
    model = make(device, dtype)
    values = np.arange(model.parameter_count) / 7
    model.vector = device.asarray(values, dtype)
    np.testing.assert_allclose(device.to_numpy(model.vector), values, rtol=1e-6)


def test_a_vector_that_is_none_of_the_model_is_refused_in_one_line(device):
    model = make(device, "float32")
    before, size = device.to_numpy(model.vector), model.parameter_count
    expected = rf"^Model\.vector: expected an array of shape \({size},\), dtype float32, on device "
    other = bp.device("cpu" if device.backend == "strict" else "strict")
    for vector, got in (
        (device.asarray(np.zeros(3, np.float32)), r"got shape \(3,\), dtype .*float32, on device"),
        (device.asarray(np.zeros((size, 1), np.float32)), rf"got shape \({size}, 1\)"),
        (device.asarray(np.zeros(size, np.int32)), "dtype .*int32"),
        (other.asarray(np.zeros(size, np.float32)), f"on device '{other}'"),
        ([0.0] * size, "got a list; set_parameters takes host data by name"),
        (None, "got a NoneType"),
    ):
        with pytest.raises(bp.InputError, match=f"{expected}.*{got}") as caught:
            model.vector = vector
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(device.to_numpy(model.vector), before)


def test_the_first_batch_decides_where_the_outputs_of_an_iterable_go(device):
    model = make(device)
    there = device.asarray(X, "float32")
    assert isinstance(model.predict(iter([X, X])), np.ndarray)
    assert device.owns(model.predict(iter([there, there])))
    if device.name == "cpu":
        return
    for batches, message in (
        (
            [X, there],
            f"batch 2: expected host data as in the batches before, got arrays on '{device}",
        ),
        ([there, there, X], f"batch 3: expected arrays on '{device}' as .* before, got host data"),
    ):
        with pytest.raises(bp.InputError, match=message):
            model.predict(iter(batches))


def test_an_underflow_to_zero_is_no_error_whatever_numpy_was_told():
    model = bp.Model(bp.Sequential(bp.Linear(64), bp.Sigmoid(), bp.Softmax()), 3, device="cpu")
    x = 100 * np.random.default_rng(0).normal(size=(200, 3))
    expected = model.predict(x)

    with np.errstate(all="raise"):
        np.testing.assert_array_equal(model.predict(x), expected)
        bp.evaluate(model, x, np.ones((200, 64)), loss=bp.L2Loss())
