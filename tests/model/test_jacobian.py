"""Covers: model/_jacobian.py, Model.jacobian and Model.input_gradient, on every device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(11)
STEP = 1e-20


def complex_step(model, x):
    """∂y/∂x by a complex step in each input: exact to rounding, and no backward in it."""
    params = model.layout.tree(*map(model.device.to_numpy, model.current_vectors()), np)
    columns = []
    for i in np.ndindex(x.shape[1:]):
        moved = x.astype(complex)
        moved[:, *i] += 1j * STEP
        y, _ = model.net.forward(params, moved, bp.Context(np))
        columns.append(y.imag / STEP)
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *x.shape[1:])


NETS = {
    "several passes": (
        bp.Sequential(bp.Standardize(), bp.Linear(8), bp.Tanh(), bp.Linear(7), bp.Softmax()),
        (4,),
        200,
    ),
    "one pass": (bp.Sequential(bp.BatchNorm(), bp.Dropout(0.5), bp.Linear(5)), (3,), 4),
    "several axes": (bp.Sequential(bp.Linear(2), bp.Tanh(), bp.Residual(bp.Tanh())), (3, 2), 9),
    "convolution": (
        bp.Sequential(bp.Conv2d(2, 3), bp.Tanh(), bp.Flatten(), bp.Linear(3)),
        (4, 4, 1),
        3,
    ),
    "scalar": (bp.Sequential(bp.Flatten(), bp.Linear(1)), (2,), 600),
}


def test_jacobian_is_that_of_complex_steps(device, dtype):
    check_jacobian("several passes", device, dtype)


@pytest.mark.parametrize("name", NETS)
def test_jacobian_of_each_net(name):
    check_jacobian(name, "cpu", "float64")


def check_jacobian(name, device, dtype):
    net, shape, rows = NETS[name]
    model = bp.Model(net, shape, device=device, dtype=dtype, seed=1)
    if "0.mean" in model.parameters:
        other = "0.scale" if "0.scale" in model.parameters else "0.variance"
        values = {"0.mean": RNG.normal(size=shape), other: RNG.uniform(0.5, 2.0, size=shape)}
        model.set_parameters(values)
    x = RNG.normal(size=(rows, *shape)).astype(dtype)
    exact = bp.Model.from_values(net, shape, lambda e: values_of(model, e), device="cpu",
                                 dtype="float64")  # fmt: skip
    expected = complex_step(exact, x.astype("float64"))
    jacobian = model.jacobian(x)
    assert isinstance(jacobian, np.ndarray) and jacobian.dtype == dtype
    assert jacobian.shape == (rows, *model.output_shape, *shape)
    limit = 1e-13 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(jacobian, expected, rtol=limit, atol=limit * np.abs(expected).max())
    on_device = model.jacobian(model.device.asarray(x))
    assert model.device.owns(on_device)
    np.testing.assert_array_equal(model.device.to_numpy(on_device), jacobian)


def values_of(model, entry):
    return model.host_parameters()[entry.name].astype("float64")


def test_jacobian_of_several_inputs_and_outputs(device):
    """Nested like the outputs and then like the inputs; None for indices, zeros without a path."""
    net = bp.Parallel(ids=bp.Embedding(5, 2), age=bp.Linear(2), other=bp.Tanh())
    inputs = {"ids": bp.InputSpec((), "index"), "age": 3, "other": 2}
    model = bp.Model(net, inputs, device=device, dtype="float64", seed=1)
    x = {"ids": [0, 4], "age": RNG.normal(size=(2, 3)), "other": RNG.normal(size=(2, 2))}
    jacobian = model.jacobian(x)
    w = model.host_parameters()["age.weight"]
    assert list(jacobian) == ["ids", "age", "other"]
    assert all(jacobian[name]["ids"] is None for name in jacobian)
    for row in range(2):
        np.testing.assert_allclose(jacobian["age"]["age"][row], w.T, rtol=1e-15)
        slope = np.diag(1.0 - np.tanh(x["other"][row]) ** 2)
        np.testing.assert_allclose(jacobian["other"]["other"][row], slope, rtol=1e-14)
    assert not np.any(jacobian["other"]["age"]) and jacobian["other"]["age"].shape == (2, 2, 3)
    dx = model.input_gradient(x, {"ids": None, "age": np.ones((2, 2)), "other": None})
    assert dx["ids"] is None and not np.any(dx["other"])
    np.testing.assert_allclose(dx["age"], np.tile(w.sum(axis=1), (2, 1)), rtol=1e-15)


def test_outputs_may_have_different_sizes(device):
    net = bp.Parallel(one=bp.Linear(1), three=bp.Linear(3))
    model = bp.Model(net, 4, device=device, seed=1)
    jacobian, to_numpy = model.jacobian(np.ones((5, 4), "float32")), model.device.to_numpy
    for name, j in jacobian.items():
        weight = to_numpy(model.parameters[f"{name}.weight"])
        np.testing.assert_array_equal(j, np.broadcast_to(weight.T, (5, *weight.T.shape)))


def test_indices_alone_have_no_derivative():
    net = bp.Sequential(bp.Embedding(5, 2), bp.Flatten(), bp.Linear(1))
    model = bp.Model(net, bp.InputSpec((3,), "index"), device="cpu")
    for call in (lambda: model.jacobian([[0, 1, 2]]), lambda: model.input_gradient([[0, 1, 2]], 1)):
        with pytest.raises(bp.InputError, match="indices have no derivative"):
            call()


def test_input_gradient_is_the_backward_of_forward_and_no_rows_are_no_rows(device):
    model = bp.Model(bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(2)), 3, device=device)
    x, delta = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
    expected, _ = model.forward(x)[1](delta)
    dx = model.input_gradient(x, delta)
    assert isinstance(dx, np.ndarray)
    np.testing.assert_array_equal(dx, model.device.to_numpy(expected))
    assert model.device.owns(model.input_gradient(model.device.asarray(x, "float32"), delta))
    assert model.jacobian(np.zeros((0, 3))).shape == (0, 2, 3)
    with pytest.raises(bp.InputError, match=r"delta: expected the shape of y, \(6, 2\)"):
        model.input_gradient(x, delta[:, :1])


LAYERS = {
    "linear": (bp.Linear(2), (3,)),
    "rows": (bp.Linear(2), (4, 3)),
    "conv1d": (bp.Conv1d(2, 3), (5, 2)),
    "conv2d": (bp.Conv2d(2, 3), (4, 4, 2)),
    "transposed": (bp.ConvTranspose2d(2, 3), (4, 4, 2)),
    "gru": (bp.GRU(3, bidirectional=True, layers=2), (4, 2)),
    "attention": (bp.TransformerBlock(2), (4, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_skip_the_gradients_of_weights(name):
    """dx has the same bits without them; before, they were computed and thrown away."""
    layer, shape = LAYERS[name]
    model = bp.Model(layer, shape, device="cpu", dtype="float64")
    x = RNG.normal(size=(2, *shape))
    ctx = bp.Context(np)
    y, backward = layer.forward(model.tree(), x, ctx)
    delta = RNG.normal(size=y.shape)
    without = replace(ctx, needs_parameter_gradients=False)
    dx, gradients = layer.forward(model.tree(), x, without)[1](delta)
    np.testing.assert_array_equal(dx, backward(delta)[0])
    assert not any("weight" in str(g) for g in gradients.values()), gradients
