"""Covers: Ensemble and EnsembleLoss: trained as the members would be by themselves."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(8)
X, T = RNG.normal(size=(48, 4)), RNG.integers(0, 3, 48)
MEMBERS = 3
NETS = {
    "linear": bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(3)),
    "nested": bp.Sequential(
        bp.Standardize.of(X), bp.Linear(5, weight_init=bp.HeNormal()), bp.LayerNorm(),
        bp.Sequential(bp.ReLU(), bp.Linear(5, bias=False)),
        bp.Residual(bp.Linear(5), bp.PReLU()), bp.Linear(3),
    ),
    "state": bp.Sequential(bp.Linear(5), bp.BatchNorm(), bp.Linear(3)),
}  # fmt: skip


def members_of(model):
    """Each member as a model by itself, on the CPU."""
    for m in range(MEMBERS):
        member = bp.Model(model.net.net, model.input_shape, device="cpu", dtype=model.dtype)
        member.set_parameters({name: w[m] for name, w in model.host_parameters().items()})
        yield member


def test_an_ensemble_is_trained_as_its_members_would_be(device):
    check_training("linear", device)


@pytest.mark.parametrize("name", ["nested", "state"])
def test_so_is_one_of_layers_that_run_member_by_member(name):
    check_training(name, "cpu")


def check_training(name, device):
    net = bp.Ensemble(NETS[name], MEMBERS)
    model = bp.Model(net, 4, device=device, dtype="float64", seed=2)
    options = {"epochs": 3, "batch_size": 20, "sample_weight": RNG.uniform(0.5, 1.5, 48)}
    separate, losses = list(members_of(model)), 0.0
    assert not np.allclose(separate[0].predict(X), separate[1].predict(X))
    for member in separate:
        history = bp.fit(member, X, T, loss=bp.CrossEntropy(), optimizer=bp.SGD(0.1), **options)
        losses = losses + np.array(history["loss"])
    loss = bp.EnsembleLoss(bp.CrossEntropy())
    history = bp.fit(model, X, T, loss=loss, optimizer=bp.SGD(0.1), **options)
    assert history.not_compiled == ""
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
    for m, (right, member) in enumerate(zip(separate, members_of(model), strict=True)):
        for parameter, value in right.host_parameters().items():
            got = member.host_parameters()[parameter]
            np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(model.predict(X)[:, m], right.predict(X), rtol=1e-9, atol=1e-12)


def test_first_values_have_the_spread_of_a_net_by_itself():
    model = bp.Model(bp.Ensemble(bp.Linear(64), 10), 64, device="cpu", dtype="float64")
    weight = model.parameters["weight"]
    assert weight.shape == (10, 64, 64)
    np.testing.assert_allclose(weight.std(axis=(1, 2)), np.sqrt(2 / 128), rtol=0.05)
    assert len(np.unique(weight)) == weight.size
    with pytest.raises(bp.InputError, match="expected an initializer"):
        bp.Stacked(3)


def test_files_onnx_the_jacobian_and_sequences(tmp_path):
    net = bp.Ensemble(bp.Sequential(bp.Linear(5), bp.GELU(), bp.Linear(2)), 4)
    model = bp.Model(net, (3, 4), device="cpu", dtype="float32", seed=1)
    x = RNG.normal(size=(6, 3, 4)).astype("float32")
    y = model.predict(x)
    assert y.shape == (6, 4, 3, 2) and model.jacobian(x).shape == (6, 4, 3, 2, 3, 4)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu")
    assert again.net == net
    np.testing.assert_array_equal(again.predict(x), y)
    runtime = pytest.importorskip("onnxruntime")
    model.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    np.testing.assert_allclose(session.run(None, {"input": x})[0], y, rtol=1e-5, atol=1e-6)


def test_dropout_differs_from_member_to_member_and_images_are_flattened():
    model = bp.Model(bp.Ensemble(bp.Dropout(0.5), 2), 100, device="cpu")
    y, _ = model.forward(np.ones((1, 100)), training=True)
    assert 20 < np.sum(y[0, 0] != y[0, 1]) < 80
    images = bp.Model(bp.Ensemble(bp.Flatten(), 2), (2, 3), device="cpu", dtype="float64")
    x = RNG.normal(size=(4, 2, 3))
    np.testing.assert_array_equal(images.predict(x), np.stack([x.reshape(4, 6)] * 2, axis=1))


def test_indices_and_several_inputs():
    net = bp.Sequential(bp.Parallel(bp.Embedding(5, 2), bp.Linear(2)), bp.Add(), bp.Linear(1))
    model = bp.Model(bp.Ensemble(net, 2), (bp.InputSpec((), "index", size=5), 3), device="cpu")
    x = (np.array([0, 4]), RNG.normal(size=(2, 3)))
    assert model.predict(x).shape == (2, 2, 1)
    _, gradients = model.gradients(x, np.ones((2, 1)), bp.EnsembleLoss(bp.L2Loss()))
    assert gradients["0.0.weight"].shape == (2, 5, 2)
    only = bp.Model(
        bp.Ensemble(bp.Sequential(bp.Embedding(5, 2), bp.Flatten()), 2),
        bp.InputSpec((3,), "index"),
        device="cpu",
    )
    with pytest.raises(bp.InputError, match="from 0 to 4, got 5"):
        only.predict([[0, 1, 5]])


def test_what_does_not_fit_is_refused():
    two = bp.Parallel(bp.Linear(1), bp.Linear(1))
    for make, message in (
        (lambda: bp.Ensemble(bp.Linear(1), 0), "members"),
        (lambda: bp.Ensemble(bp.Linear, 2), "expected a layer"),
        (lambda: bp.Model(bp.Ensemble(two, 2), 3, device="cpu"), "expected one output"),
        (lambda: bp.EnsembleLoss(bp.Contrastive()), "compares those of a batch"),
        (lambda: bp.EnsembleLoss(bp.CombinedLoss((bp.L2Loss(),))), "a loss of one output"),
    ):
        with pytest.raises(bp.InputError, match=message):
            make()
    model = bp.Model(bp.Ensemble(bp.Linear(1), 2), 4, device="cpu")
    loss = bp.EnsembleLoss(bp.MeanSquaredError())
    with pytest.raises(bp.InputError, match=r"R2: .* ensemble; write EnsembleMetric\(R2\(\)\)"):
        bp.evaluate(model, X, X[:, :1], loss=loss, metrics=[bp.R2()])
    with pytest.raises(bp.InputError, match=r"expected the shape of the output, \(48, 1\)"):
        bp.evaluate(model, X, X[:, :2], loss=loss)
    plain = bp.Model(bp.Linear(1), 4, device="cpu")
    with pytest.raises(
        bp.InputError, match=r"\(batch, members, ...\) of an Ensemble, got \(48, 1\)"
    ):
        bp.evaluate(plain, X, X[:, :1], loss=loss)


def test_predict_returns_mean_and_spread(device):
    net = bp.Ensemble(bp.Sequential(bp.Linear(5), bp.Tanh(), bp.Linear(3)), 4)
    model = bp.Model(net, 4, device=device, dtype="float64", seed=1)
    members = model.predict(X)
    for batch_size in (None, 7):
        prediction = model.predict(X, batch_size, spread=True)
        np.testing.assert_allclose(prediction.mean, members.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(prediction.spread, members.std(axis=1), rtol=1e-12)
    p = np.exp(members) / np.exp(members).sum(axis=2, keepdims=True)
    mean, spread = model.predict(X, spread=True, activation=bp.Softmax())
    np.testing.assert_allclose(mean, p.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(spread, p.std(axis=1), rtol=1e-10)
    np.testing.assert_allclose(model.predict(X, activation=bp.Softmax()), p, rtol=1e-12)


def test_each_of_several_outputs_has_a_mean_and_a_spread():
    heads = bp.Parallel(
        value=bp.Sequential(bp.Ensemble(bp.Linear(2), 3), bp.Standardize()), kind=bp.Linear(2)
    )
    model = bp.Model(bp.Sequential(bp.Linear(5), heads), 4, device="cpu", seed=1)
    y = model.predict(X)
    mean, spread = model.predict(X, spread=True, activation={"kind": bp.Softmax()})
    np.testing.assert_allclose(mean["value"], y["value"].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(spread["value"], y["value"].std(axis=1), rtol=1e-4)
    np.testing.assert_allclose(mean["kind"].sum(axis=1), 1.0, rtol=1e-6)
    assert spread["kind"] is None
    pair = bp.Parallel(bp.Linear(1), bp.Ensemble(bp.Linear(2), 3))
    mean, spread = bp.Model(pair, 4, device="cpu").predict(X, spread=True)
    assert spread[0] is None and spread[1].shape == (48, 2)


def test_a_prediction_that_does_not_fit_is_refused():
    plain = bp.Model(bp.Linear(3), 4, device="cpu")
    flat = bp.Model(bp.Sequential(bp.Ensemble(bp.Linear(3), 2), bp.Flatten()), 4, device="cpu")
    for predict, message in (
        (lambda: plain.predict(X, spread=True), "expected a net that ends in an Ensemble"),
        (lambda: flat.predict(X, spread=True), "expected a net that ends in an Ensemble"),
        (lambda: plain.predict(X, spread=bp.Softmax()), "expected True or False"),
        (lambda: plain.predict(X, activation="softmax"), "a layer without parameters"),
        (lambda: plain.predict(X, activation=bp.Linear(3)), "a layer without parameters"),
        (lambda: plain.predict(X, activation={"a": bp.Tanh()}), "a layer without parameters"),
        (lambda: bp.data.bootstrap_weights(0, 3), "rows"),
    ):
        with pytest.raises(bp.InputError, match=message) as error:
            predict()
        assert "\n" not in str(error.value)


def test_weights_of_each_member_train_it_on_its_own_rows(device):
    net = bp.Ensemble(bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(3)), MEMBERS)
    model = bp.Model(net, 4, device=device, dtype="float64", seed=2)
    weights = bp.data.bootstrap_weights(48, MEMBERS, seed=1)
    assert len(np.unique(weights, axis=1).T) == MEMBERS
    # sums, which do not depend on the weight of the other members
    options = {"epochs": 3, "batch_size": 20, "optimizer": bp.SGD(0.01)}
    loss = bp.CrossEntropy(reduction="sum")
    separate = list(members_of(model))
    for m, member in enumerate(separate):
        bp.fit(member, X, T, loss=loss, sample_weight=weights[:, m], **options)
    bp.fit(model, X, T, loss=bp.EnsembleLoss(loss), sample_weight=weights, **options)
    for right, member in zip(separate, members_of(model), strict=True):
        np.testing.assert_allclose(member.predict(X), right.predict(X), rtol=1e-9, atol=1e-12)


def test_the_mean_has_the_weight_of_a_member_on_average():
    y, t = RNG.normal(size=(5, 3, 2)), RNG.normal(size=(5, 2))
    weight = RNG.uniform(0.5, 2.0, (5, 3))
    loss = bp.EnsembleLoss(bp.L2Loss())
    value, delta = loss(y, t, weight)
    squares = 0.5 * np.sum((y - t[:, None]) ** 2, axis=2)
    np.testing.assert_allclose(value, np.sum(weight * squares) / (weight.sum() / 3))
    np.testing.assert_allclose(delta, (weight / (weight.sum() / 3))[:, :, None] * (y - t[:, None]))
    ctx = bp.Context.of(y)
    np.testing.assert_allclose(loss.total_weight(t, y, ctx, weight), weight.sum() / 3)
    np.testing.assert_allclose(loss(y, t, np.repeat(weight[:, :1], 3, axis=1))[0],
                               loss(y, t, weight[:, 0])[0])  # fmt: skip
    with pytest.raises(bp.InputError, match="expected one number per sample"):
        loss(y, t, weight.T)
    half, whole = (bp.Model(bp.Ensemble(bp.Linear(2), 3), 4, device="cpu") for _ in range(2))
    x, options = X[:5], {"loss": loss, "optimizer": bp.SGD(0.1), "shuffle": False, "epochs": 2}
    bp.fit(half, x, t, sample_weight=weight, batch_size=3, accumulate=2, **options)
    bp.fit(whole, x, t, sample_weight=weight, batch_size=5, **options)
    np.testing.assert_allclose(half.predict(x), whole.predict(x), rtol=1e-4, atol=1e-6)


def test_metrics_of_an_ensemble_are_those_of_its_mean(device):
    net = bp.Ensemble(bp.Sequential(bp.Linear(6), bp.Tanh(), bp.Linear(3)), MEMBERS)
    model = bp.Model(net, 4, device=device, dtype="float64", seed=2)
    metric = bp.EnsembleMetric(bp.Accuracy(), bp.Softmax())
    loss = bp.EnsembleLoss(bp.CrossEntropy())
    weights = bp.data.bootstrap_weights(48, MEMBERS)
    history = bp.fit(
        model, X, T, loss=loss, optimizer=bp.Adam(0.05), epochs=2, metrics=[metric],
        sample_weight=weights, validation=(X, T),
    )  # fmt: skip
    assert history.not_compiled == ""
    p, _ = model.predict(X, spread=True, activation=bp.Softmax())
    right = p.argmax(axis=1) == T
    np.testing.assert_allclose(history["val_accuracy"][-1], right.mean())
    values = bp.evaluate(model, X, T, loss=loss, metrics=[metric], sample_weight=weights)
    expected = np.average(right, weights=weights.mean(axis=1))
    np.testing.assert_allclose(values["accuracy"], expected, rtol=1e-6)
    with pytest.raises(bp.InputError, match=r"expected an EnsembleLoss.* use Accuracy\(\)"):
        plain = bp.Model(bp.Linear(3), 4, device="cpu")
        bp.evaluate(plain, X, T, loss=bp.CrossEntropy(), metrics=[metric])


def test_the_page_of_a_training_run_shows_the_mean(tmp_path):
    model = bp.Model(bp.Ensemble(bp.Linear(3), MEMBERS), 4, device="cpu", seed=2)
    loss, options = bp.EnsembleLoss(bp.CrossEntropy()), {"optimizer": bp.SGD(0.1), "epochs": 1}
    history = bp.fit(model, X, T, loss=loss, **options)
    history.to_html(tmp_path / "r.html", model=model, test=(X, T), classes=["a", "b", "c"])
    accuracy = np.mean(model.predict(X).mean(axis=1).argmax(axis=1) == T)
    assert f"{accuracy:.2%}" in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(bp.InputError, match=r"Ensemble train with EnsembleLoss\(loss\)"):
        bp.fit(model, X, T, loss=bp.CrossEntropy(), **options)


def test_a_softmax_in_the_members_is_warned_of():
    net = bp.Ensemble(bp.Sequential(bp.Linear(3), bp.Softmax()), 2)
    model = bp.Model(net, 4, device="cpu")
    loss = bp.EnsembleLoss(bp.CrossEntropy())
    with pytest.warns(bp.BpArraysWarning, match=r"ends in Softmax \(layer 1\), but CrossEntropy"):
        bp.fit(model, X, T, loss=loss, optimizer=bp.SGD(0.1), epochs=1)


def test_a_net_without_members_is_told_so():
    model = bp.Model(bp.Linear(3), 3, device="cpu")
    for t, loss in ((np.zeros(60, int), bp.CrossEntropy()), (np.ones((60, 3)), bp.L2Loss())):
        with pytest.raises(bp.InputError, match=r"EnsembleLoss\(y=\).*bp.Ensemble\(net, members\)"):
            bp.evaluate(model, np.ones((60, 3)), t, loss=bp.EnsembleLoss(loss))
