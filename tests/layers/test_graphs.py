"""Covers: Parallel, Select, Concatenate, Add, Multiply: nets that are not a chain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.layers import walk

PAIR = {"left": 5, "right": 2}


def build(net, inputs=PAIR, device="cpu", dtype="float64"):
    return bp.Model(net, inputs, device=device, dtype=dtype, seed=1)


def samples(rows=4):
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=(rows, n)) for name, n in PAIR.items()}


def two_branches():
    return bp.Sequential(
        bp.Parallel(left=bp.Sequential(bp.Linear(3), bp.Tanh()), right=bp.Linear(4)),
        bp.Concatenate(),
        bp.Linear(2),
    )


def test_parameters_are_named_after_the_branches():
    model = build(two_branches())
    assert list(model.parameters) == [
        "0.left.0.weight", "0.left.0.bias", "0.right.weight", "0.right.bias", "2.weight", "2.bias"
    ]  # fmt: skip
    paths = {node.path: node.input_shape for node in walk(model.net, model.input_shape)}
    assert paths["0"] == {"left": (5,), "right": (2,)}
    assert (paths["0.left.1"], paths["1"]) == ((3,), {"left": (3,), "right": (4,)})


def test_the_summary_shows_every_output():
    text = str(build(two_branches()).summary())
    assert "left: (batch, 3), right: (batch, 4)" in text
    assert "0.left.0" in text


@pytest.mark.parametrize(
    "net",
    [
        two_branches(),
        bp.Sequential(bp.Parallel(left=bp.Linear(2), right=bp.Identity()), bp.Add()),
        bp.Sequential(bp.Concatenate(), bp.Parallel(bp.Linear(3), bp.Linear(3)), bp.Multiply()),
        bp.Sequential(bp.Select("left"), bp.Linear(3)),
    ],
    ids=["concatenate", "add", "multiply", "select"],
)
def test_a_saved_graph_is_loaded_as_it_was(net, tmp_path):
    model = build(net)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert again.net == net
    x = samples()
    assert np.array_equal(np.asarray(again.predict(x)), np.asarray(model.predict(x)))


def test_an_entry_without_a_layer_passes_through():
    model = build(bp.Parallel(left=bp.Linear(3)))
    x = samples()
    y = model.predict(x)
    assert list(y) == ["left", "right"]
    assert np.array_equal(y["right"], x["right"])


def test_the_errors_of_a_fan_out_are_added(device):
    net = bp.Sequential(bp.Parallel(bp.Linear(3), bp.Linear(3), bp.Identity()), bp.Add())
    model = build(net, 3, device, "float32")
    delta = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    _, backward = model.forward(np.ones((4, 3), np.float32))
    dx, _ = backward(delta)
    w = model.host_parameters()
    expected = delta @ (w["0.0.weight"] + w["0.1.weight"]).T + delta
    assert np.allclose(device.to_numpy(dx), expected, atol=1e-6)


def test_a_layer_whose_output_is_not_used_has_gradients_of_zeros(device):
    net = bp.Sequential(bp.Linear(3), bp.Parallel(a=bp.Linear(2), b=bp.Linear(2)), bp.Select("a"))
    model = build(net, 3, device, "float32")
    x, t = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    _, gradients = model.gradients(x, t, bp.L2Loss())
    hosts = {name: device.to_numpy(g) for name, g in gradients.items()}
    assert not hosts["1.b.weight"].any() and not hosts["1.b.bias"].any()
    assert hosts["1.a.weight"].any() and hosts["0.weight"].any()
    bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.1), epochs=2)


def test_a_whole_chain_before_an_unused_output_is_skipped():
    unused = bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Parallel(bp.Linear(2), bp.Identity()))
    model = build(bp.Sequential(bp.Parallel(bp.Linear(2), unused), bp.Select(0)), 3)
    dx, gradients = model.forward(np.ones((4, 3)))[1](np.ones((4, 2)))
    assert np.allclose(dx, np.ones((4, 2)) @ model.parameters["0.0.weight"].T)
    assert not any(g.any() for name, g in gradients.items() if name.startswith("0.1"))


def test_an_error_of_several_outputs_may_be_none():
    model = build(bp.Parallel(a=bp.Linear(2), b=bp.Linear(1)), 3)
    y, backward = model.forward(np.ones((4, 3)))
    dx, gradients = backward({"a": None, "b": np.ones((4, 1))})
    assert np.allclose(dx, np.ones((4, 1)) @ model.parameters["b.weight"].T)
    assert not gradients["a.weight"].any()
    with pytest.raises(bp.InputError, match="expected a dict of a, b, as the outputs"):
        backward(y["a"])
    with pytest.raises(bp.InputError, match=r"delta\['b'\]: expected the shape of y, \(4, 1\)"):
        backward({"a": None, "b": y["a"]})


def test_indices_pass_beside_numbers():
    inputs = {"ids": bp.InputSpec((), "index", size=5), "age": 3}
    net = bp.Sequential(bp.Parallel(age=bp.Linear(2)), bp.Select("age"))
    model = build(net, inputs)
    x = {"ids": np.array([0, 4]), "age": np.ones((2, 3))}
    dx, _ = model.forward(x)[1](np.ones((2, 2)))
    assert dx["ids"] is None and dx["age"].shape == (2, 3)


def test_one_layer_at_two_places_is_two_sets_of_parameters():
    layer = bp.Linear(2)
    assert len(build(bp.Parallel(layer, layer), 3).parameters) == 4


def test_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    net = bp.Sequential(
        bp.Parallel(left=bp.Linear(3), right=bp.Linear(3)),
        bp.Multiply(),
        bp.Parallel(bp.Tanh(), bp.Linear(3), bp.Identity()),
        bp.Concatenate(),
        bp.Linear(2),
    )
    model, x = build(net), samples()
    t = np.ones((4, 2))
    value, gradients = model.gradients(x, t, bp.L2Loss())
    w = {name: torch.tensor(v, requires_grad=True) for name, v in model.parameters.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    left, right = (linear(torch.tensor(x[name]), f"0.{name}") for name in PAIR)
    h = left * right
    y = linear(torch.cat([torch.tanh(h), linear(h, "2.1"), h], dim=1), "4")
    loss = (0.5 * (y - torch.tensor(t)) ** 2).sum(dim=1).mean()
    loss.backward()
    assert np.isclose(float(value), loss.item(), rtol=1e-14)
    for name, gradient in gradients.items():
        assert np.allclose(gradient, w[name].grad.numpy(), rtol=1e-12, atol=1e-14), name


@pytest.mark.parametrize(
    ("make", "inputs", "message"),
    [
        (lambda: bp.Parallel(), 3, "expected layers by position or by name, got none"),
        (lambda: bp.Parallel(bp.Linear(1), a=bp.Linear(1)), 3, "got both"),
        (lambda: bp.Parallel(a=bp.Linear), 3, r"write Linear\(\.\.\.\)"),
        (lambda: bp.Parallel(**{"a.b": bp.Tanh()}), 3, "a name without a dot"),
        (lambda: bp.Parallel(a=bp.Tanh()), {"b": 3}, "unknown input 'a'"),
        (lambda: bp.Parallel(bp.Tanh()), {"b": 3}, "a tuple of 1, one for each layer"),
        (lambda: bp.Parallel(a=bp.Tanh()), ((3,), (4,)), "a dict with a, got a tuple of 2"),
        (lambda: bp.Concatenate(), 3, "a tuple or dict of arrays, got one array"),
        (lambda: bp.Concatenate(0), PAIR, "another axis than that of the batch"),
        (lambda: bp.Concatenate(2), PAIR, "an axis 2, got samples of shape"),
        (lambda: bp.Concatenate(1), {"a": (3, 4), "b": (2, 5)}, "equal except along axis 1"),
        (lambda: bp.Add(), PAIR, r"arrays of one shape, got \(5,\), \(2,\)"),
        (lambda: bp.Multiply(), PAIR, "arrays of one shape"),
        (lambda: bp.Select(1.5), PAIR, "a name, or a position"),
        (lambda: bp.Select("up"), PAIR, "an entry 'up', got a dict of left, right"),
        (lambda: bp.Select(0), PAIR, "a tuple of arrays, got a dict"),
        (lambda: bp.Select("x"), 3, "a dict with 'x', got one array"),
        (lambda: bp.Linear(2), PAIR, r"expected one array, got a dict of left, right"),
        (lambda: bp.Tanh(), PAIR, "put Concatenate"),
        (lambda: bp.Residual(bp.Tanh()), PAIR, "expected one array"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_one_line(make, inputs, message):
    with pytest.raises(bp.InputError, match=message) as raised:
        build(make(), inputs)
    assert "\n" not in str(raised.value)


@dataclass(frozen=True)
class Gated(bp.Layer):
    """y = x g, with the error of g as a fault: multiplied by `factor`."""

    factor: float = 1.0

    def init(self, input_shape):
        return {}, {"y": input_shape["x"], "ids": input_shape["ids"]}

    def forward(self, params, x, ctx):
        def backward(delta):
            dx, dg = delta["y"] * x["g"], self.factor * delta["y"] * x["x"]
            return {"x": dx, "g": dg, "ids": None}, {}

        return {"y": x["x"] * x["g"], "ids": x["ids"]}, backward


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_a_custom_layer_of_several_inputs_is_checked(factor):
    inputs = {"x": 3, "g": 3, "ids": bp.InputSpec((), "index", size=4)}
    report = bp.testing.check(Gated(factor), input_shape=inputs, devices=["cpu", "strict"])
    assert report.ok is (factor == 1.0)
    if factor != 1.0:
        assert "dx.g" in str(report) and "everywhere 1.5 times it" in str(report)


def test_a_loss_is_checked_for_one_output_only():
    with pytest.raises(bp.InputError, match="expected a model with one input of numbers"):
        bp.testing.check(bp.L2Loss(), input_shape={"a": 3, "b": 2}, devices=["cpu"])
