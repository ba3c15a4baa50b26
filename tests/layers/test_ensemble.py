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
    with pytest.raises(bp.InputError, match="R2: expected targets of the shape of the outputs"):
        bp.evaluate(model, X, X[:, :1], loss=loss, metrics=[bp.R2()])
    with pytest.raises(bp.InputError, match=r"expected the shape of the output, \(48, 1\)"):
        bp.evaluate(model, X, X[:, :2], loss=loss)
    plain = bp.Model(bp.Linear(1), 4, device="cpu")
    with pytest.raises(
        bp.InputError, match=r"\(batch, members, ...\) of an Ensemble, got \(48, 1\)"
    ):
        bp.evaluate(plain, X, X[:, :1], loss=loss)
