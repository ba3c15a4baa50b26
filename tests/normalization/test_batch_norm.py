"""Covers: BatchNorm and GroupNorm against PyTorch, running values on every runner, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

SHAPES = [(6, 4), (3, 5, 4), (90, 1, 2, 4)]


def channels_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def of_pytorch(module, x, delta, parameters):
    """y, dx and the gradients of the parameters by a module of torch.nn."""
    import torch

    with torch.no_grad():
        for name, their_name in (("scale", "weight"), ("bias", "bias")):
            if name in parameters:
                getattr(module, their_name).copy_(torch.tensor(parameters[name]))
    x = torch.tensor(channels_first(x), requires_grad=True)
    y = module(x)
    y.backward(torch.tensor(channels_first(delta)))
    gradients = {
        name: part.grad.numpy()
        for name, part in (("scale", module.weight), ("bias", module.bias))
        if part is not None
    }
    dx = np.moveaxis(x.grad.numpy(), 1, -1)
    return np.moveaxis(y.detach().numpy(), 1, -1), dx, gradients


def module_of(layer, shape):
    """The module of torch.nn, in float64."""
    torch = pytest.importorskip("torch", reason="witness PyTorch is not installed")
    if isinstance(layer, bp.GroupNorm):
        module = torch.nn.GroupNorm(layer.groups, shape[-1], layer.epsilon, affine=layer.scale)
    else:
        kind = {2: "1d", 3: "1d", 4: "2d"}[len(shape)]
        norm = getattr(torch.nn, f"BatchNorm{kind}")
        module = norm(shape[-1], layer.epsilon, layer.momentum, affine=layer.scale)
    return module.double()


def with_random_parameters(layer, shape, device, dtype="float64"):
    rng = np.random.default_rng(5)
    model = bp.Model(layer, shape[1:], device=device, dtype=dtype)
    values = model.host_parameters()
    model.set_parameters(
        {k: rng.normal(size=values[k].shape) for k in ("scale", "bias") if k in values}
    )
    return model


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "layer",
    [bp.BatchNorm(), bp.BatchNorm(0.4, 0.1, scale=False, bias=False),
     bp.GroupNorm(1), bp.GroupNorm(2), bp.GroupNorm(4, 0.1, scale=False, bias=False)],
    ids=repr,
)  # fmt: skip
def test_values_and_gradients_are_those_of_pytorch(layer, shape, device):
    rng = np.random.default_rng(0)
    x, delta = rng.normal(2.0, 3.0, size=shape), rng.normal(size=shape)
    model = with_random_parameters(layer, shape, device)
    y, backward = model.forward(x, training=True)
    dx, gradients = backward(device.asarray(delta, "float64"))
    module = module_of(layer, shape)
    their_y, their_dx, theirs = of_pytorch(module, x, delta, model.host_parameters())
    np.testing.assert_allclose(device.to_numpy(y), their_y, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(device.to_numpy(dx), their_dx, rtol=1e-10, atol=1e-12)
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(device.to_numpy(gradient), theirs[name], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 5, 4)], ids=str)
def test_running_values_after_some_steps_are_those_of_pytorch(shape, device):
    """Also in prediction, where they normalize, and in its derivatives."""
    rng = np.random.default_rng(3)
    layer = bp.BatchNorm(momentum=0.3)
    model = with_random_parameters(layer, shape, device)
    module = module_of(layer, shape)
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(1e-30))
    for step in range(4):
        x = rng.normal(step, 1.0 + step, size=shape)
        trainer.step(x, np.zeros(shape))
        of_pytorch(module, x, np.ones(shape), model.host_parameters())
    state = model.host_parameters()
    np.testing.assert_allclose(state["mean"], module.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(state["variance"], module.running_var.numpy(), rtol=1e-12)

    x, delta = rng.normal(size=shape), rng.normal(size=shape)
    y, backward = model.forward(x)
    dx, gradients = backward(device.asarray(delta, "float64"))
    module.eval()
    module.zero_grad()
    their_y, their_dx, theirs = of_pytorch(module, x, delta, state)
    np.testing.assert_allclose(device.to_numpy(y), their_y, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(device.to_numpy(dx), their_dx, rtol=1e-12, atol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(device.to_numpy(gradient), theirs[name], rtol=1e-11, atol=1e-12)
    after = model.host_parameters()
    assert all(np.array_equal(after[name], value) for name, value in state.items())


NET = bp.Sequential(
    bp.BatchNorm(),
    bp.Residual(bp.Linear(4, bias=False), bp.BatchNorm(0.2), bp.Tanh()),
    bp.Linear(1),
)
X = np.random.default_rng(0).normal(3.0, 2.0, size=(70, 4))
T = np.sin(X[:, :1])


def trained(device, dtype, compiled, net=NET):
    model = bp.Model(net, 4, device=device, dtype=dtype, seed=1)
    history = bp.fit(
        model, X, T, loss=bp.L2Loss(), optimizer=bp.SGD(0.05), epochs=2, batch_size=16,
        compiled=compiled,
    )  # fmt: skip
    return model, history


@pytest.mark.parametrize("compiled", [True, False])
def test_every_runner_has_the_same_losses_and_running_values(device, dtype, compiled):
    """The last batch has 6 rows: a shape of its own, and another N − 1."""
    expected, its_history = trained("cpu", "float64", compiled=False)
    model, history = trained(device, dtype, compiled)
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(history["loss"], its_history["loss"], rtol=tolerance)
    parameters = model.host_parameters()
    for name, value in expected.host_parameters().items():
        np.testing.assert_allclose(parameters[name], value, rtol=tolerance, atol=tolerance)
    if compiled:
        assert history.not_compiled == ""
    evaluated = bp.evaluate(model, X, T, loss=bp.L2Loss())["loss"]
    theirs = bp.evaluate(expected, X, T, loss=bp.L2Loss())["loss"]
    assert evaluated == pytest.approx(theirs, rel=tolerance)


def test_a_trained_model_is_saved_with_its_running_values(tmp_path):
    model, _ = trained("cpu", "float32", compiled=True, net=bp.Sequential(NET, bp.GroupNorm(1)))
    model.save(tmp_path / "norm.safetensors")
    again = bp.load(tmp_path / "norm.safetensors", device="cpu")
    assert again.net == model.net
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert model.parameters["0.0.mean"].any()


@pytest.mark.parametrize("layer", [bp.BatchNorm(scale=False, bias=False), bp.GroupNorm(2)])
def test_65536_values_of_mean_1000_keep_their_digits(layer, device):
    """E[x²] − E[x]² would give variances from −2 to 4, and sums row after row lose 7 bits."""
    x = np.random.default_rng(1).normal(1000.0, 1.0, size=(1, 256, 256, 4)).astype(np.float32)
    delta = np.random.default_rng(2).normal(size=x.shape)

    def computed(on, dtype):
        model = bp.Model(layer, x.shape[1:], device=on, dtype=dtype)
        y, backward = model.forward(x, training=True)
        dx, gradients = backward(on.asarray(delta, dtype))
        return [on.to_numpy(part) for part in (y, dx, *gradients.values())]

    mean_digit = 1000.0 * np.finfo(np.float32).eps  # m itself is rounded
    results, exact = computed(device, "float32"), computed(bp.device("cpu"), "float64")
    tolerances = (2 * mean_digit, 4 * mean_digit, 0.1, 0.01)  # of sums: times 65,536
    for result, truth, tolerance in zip(results, exact, tolerances, strict=False):
        np.testing.assert_allclose(result, truth, rtol=1e-3, atol=tolerance)


def test_the_mean_of_100000_equal_rows_is_one_of_them():
    """Sums row after row are off by 1.4e-4 in float32."""
    x = np.full((100_000, 2), 0.1, np.float32)
    model = bp.Model(bp.BatchNorm(momentum=1.0), 2, device="cpu")
    trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(1e-30))
    trainer.step(x, x)
    np.testing.assert_allclose(model.parameters["mean"], 0.1, rtol=1e-6)
    assert float(model.parameters["variance"].max()) < 1e-14


def test_half_precision_is_computed_in_float32():
    """Sums of 3000 numbers around 100 overflow in float16."""
    x = np.random.default_rng(0).normal(100.0, 5.0, size=(3000, 2))
    model = bp.Model(bp.BatchNorm(), 2, device="cpu", dtype="float16")
    y, backward = model.forward(x, training=True)
    dx, gradients = backward(np.ones((3000, 2), np.float16))
    assert {y.dtype, dx.dtype, gradients["bias"].dtype} == {np.dtype(np.float16)}
    np.testing.assert_allclose(y.astype(np.float64).std(axis=0), 1.0, rtol=0.01)
    np.testing.assert_allclose(gradients["bias"], 3000.0)


@pytest.mark.parametrize("compiled", [True, False])
def test_one_value_per_channel_in_training_is_refused(device, compiled):
    message = (
        r"^BatchNorm\(x=\): expected more than one value per channel in training, got \(1, 5\); "
        "choose a batch size that leaves no single row over"
    )
    net = bp.Sequential(bp.Linear(5), bp.BatchNorm())
    model = bp.Model(net, 4, device=device, seed=0)
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, X[:17], X[:17, [0] * 5], loss=bp.L2Loss(), optimizer=bp.SGD(), batch_size=16,
               compiled=compiled)  # fmt: skip
    with pytest.raises(bp.InputError, match=message):
        bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD()).step(X[:1], X[:1, [0] * 5])
    model.predict(X[:1])


def test_a_sample_of_many_positions_is_enough_to_train():
    model = bp.Model(bp.BatchNorm(), (3, 2), device="cpu")
    y, _ = model.forward(np.arange(6.0).reshape(1, 3, 2), training=True)
    np.testing.assert_allclose(y.mean(axis=(0, 1)), 0.0, atol=1e-7)


def test_rows_without_weight_count_in_the_statistics():
    """As the docstring says: weights act on the loss only."""
    weight = np.where(np.arange(70) % 2, 0.0, 1.0)
    states = []
    for sample_weight in (None, weight):
        model = bp.Model(bp.BatchNorm(), 4, device="cpu")
        bp.fit(model, X, X, loss=bp.L2Loss(), optimizer=bp.SGD(1e-30), epochs=1, batch_size=70,
               sample_weight=sample_weight)  # fmt: skip
        states.append(model.host_parameters()["mean"])
    np.testing.assert_allclose(*states, rtol=1e-6)


def test_the_first_layer_skips_its_input_gradient():
    ctx = bp.Context(np, training=True, needs_input_gradient=False)
    params = {"scale": np.ones(4), "bias": np.zeros(4), "mean": np.zeros(4), "variance": np.ones(4)}
    for layer in (bp.BatchNorm(), bp.GroupNorm(2)):
        dx, gradients = layer.forward(params, X, ctx)[1](X)
        assert dx is None and gradients["scale"].shape == (4,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.BatchNorm(1.5), r"BatchNorm\(momentum=1.5\): expected 0 <= momentum <= 1"),
        (lambda: bp.BatchNorm(epsilon=-1.0), r"BatchNorm\(epsilon=-1.0\): expected epsilon > 0"),
        (lambda: bp.BatchNorm(scale="no"), r"BatchNorm\(scale='no'\): expected True or False"),
        (lambda: bp.BatchNorm(bias=0), r"BatchNorm\(bias=0\): expected True or False"),
        (lambda: bp.GroupNorm(0), r"GroupNorm\(groups=0\): expected groups >= 1"),
        (lambda: bp.GroupNorm(2.0), r"GroupNorm\(groups=2.0\): expected a whole number"),
        (lambda: bp.GroupNorm(2, 0.0), r"GroupNorm\(epsilon=0.0\): expected epsilon > 0"),
        (
            lambda: bp.Model(bp.GroupNorm(3), (5, 4), device="cpu"),
            r"GroupNorm\(3\)\(input=\): expected a number of channels that 3 divides, got 4",
        ),
        (
            lambda: bp.Model(bp.BatchNorm(), (), device="cpu"),
            r"BatchNorm\(input=\): expected shape \(..., channels\), got \(\)",
        ),
        (lambda: bp.Model(bp.GroupNorm(1), (), device="cpu"), r"GroupNorm\(1\)\(input=\): expec"),
    ],
)
def test_bad_settings_say_what_is_expected(make, message):
    with pytest.raises(bp.InputError, match=message):
        make()


def test_a_variance_below_zero_is_refused_and_zero_is_not(device):
    model = bp.Model(bp.BatchNorm(), 2, device=device)
    model.set_parameters({"variance": [0.0, 1.0]})
    for wrong in ([1.0, -1e-3], [np.nan, 1.0]):
        with pytest.raises(bp.InputError, match=r"variance\[\d\]: expected a number >= 0"):
            model.set_parameters({"variance": wrong})
    assert model.host_parameters()["variance"].tolist() == [0.0, 1.0]
