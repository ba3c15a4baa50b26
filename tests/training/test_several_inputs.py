"""Covers: training on tuples and dicts of arrays and on indices, on every runner."""

from __future__ import annotations

import numpy as np
import pytest
from several_inputs import AGES, IDS, INPUTS, T, X, make, moved

import bp_arrays as bp

LOSS = bp.CrossEntropy()
SPANS = [slice(0, 8), slice(8, 16), slice(16, 20)]
PARTS = [({"ids": IDS[s], "age": AGES[s]}, T[s]) for s in SPANS]
PAIRS = [((IDS[s], AGES[s]), T[s]) for s in SPANS]


def train(model, *data, **more):
    settings = {"epochs": 3, "loss": LOSS, "optimizer": bp.Adam(0.01)} | more
    return bp.fit(model, *data, **settings)


def in_order(model, *data, **more):
    return train(model, *data, batch_size=8, shuffle=False, **more)


def pair(device="cpu"):
    return make(device, inputs=(INPUTS["ids"], 3))


def test_training_on_several_inputs_is_forward_backward_and_update(device):
    model = make(device)
    theta = device.to_numpy(model.vector).astype(np.float64)
    history = in_order(model, X, T, optimizer=bp.SGD(0.5), epochs=2)
    by_hand, losses = make(device), []
    for _ in range(2):
        for x, t in PARTS:
            value, gradients = by_hand.gradients(x, t, LOSS)
            losses.append(float(value) * len(t))
            theta -= 0.5 * device.to_numpy(by_hand.flatten(gradients)).astype(np.float64)
            by_hand.vector = device.asarray(theta, "float32")
    assert history["loss"] == pytest.approx([sum(losses[:3]) / 20, sum(losses[3:]) / 20], rel=1e-5)
    np.testing.assert_allclose(device.to_numpy(model.vector), theta, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_every_source_of_the_same_batches_trains_alike(device, compiled):
    dicts = [make(device) for _ in range(7)]
    pairs = [pair(device) for _ in range(3)]
    here = X | {"ids": moved(X, device)["ids"]}
    histories = [
        in_order(dicts[0], X, T, compiled=compiled),
        in_order(dicts[1], {"age": AGES, "ids": IDS.astype(float)}, T, compiled=compiled),
        in_order(dicts[2], moved(X, device), T, compiled=compiled),
        in_order(dicts[3], here, T, compiled=compiled),
        train(dicts[4], PARTS, compiled=compiled),
        train(dicts[5], bp.data.Batches(X, T, batch_size=8, shuffle=False), compiled=compiled),
        in_order(pairs[0], (IDS, AGES), T, compiled=compiled),
        train(pairs[1], PAIRS, compiled=compiled),
        train(pairs[2], tuple(PAIRS), compiled=compiled),
    ]
    trainer = bp.Trainer(dicts[6], loss=LOSS, optimizer=bp.Adam(0.01), compiled=compiled)
    for _ in range(3):
        for x, t in PARTS:
            trainer.step(x, t)
    for history in histories[1:]:
        assert history["loss"] == pytest.approx(histories[0]["loss"], rel=1e-6)
    expected = device.to_numpy(dicts[0].vector)
    for model in dicts[1:] + pairs:
        np.testing.assert_allclose(device.to_numpy(model.vector), expected, rtol=1e-5, atol=1e-6)


def test_shuffled_batches_of_the_device_are_those_of_the_host(device):
    models = [make(device) for _ in range(2)]
    for model, x in zip(models, (X, moved(X, device)), strict=True):
        train(model, x, T, batch_size=6, seed=4, sample_weight=np.linspace(0.5, 1.5, 20))
    np.testing.assert_allclose(
        *(device.to_numpy(model.vector) for model in models), rtol=1e-5, atol=1e-6
    )


def test_a_single_input_of_indices_trains(device):
    class Table(bp.Layer):
        def init(self, input_shape):
            return {"table": bp.Parameter((5, 2), bp.GlorotNormal())}, (2,)

        def forward(self, params, x, ctx):
            xp = ctx.xp

            def backward(delta):
                rows = xp.arange(5, dtype=x.dtype, device=ctx.device)
                one_hot = xp.astype(x[:, None] == rows[None, :], delta.dtype)
                return None, {"table": one_hot.T @ delta}

            return xp.take(params["table"], x, axis=0), backward

    fractions = {k: T[k == IDS].mean() for k in np.unique(IDS).tolist()}
    uneven = {k: fraction > 0.5 for k, fraction in fractions.items() if fraction != 0.5}
    for ids in (IDS, IDS / 1, moved(X, device)["ids"]):
        model = bp.Model(Table(), bp.InputSpec((), "index", size=5), device=device, seed=1)
        train(model, ids, T, batch_size=8, epochs=60, optimizer=bp.Adam(0.2))
        assert dict(zip(uneven, model.predict(list(uneven)).argmax(axis=1), strict=True)) == uneven


@pytest.mark.parametrize(
    "validation",
    [
        ((IDS, AGES), T),
        [(IDS, AGES), T],
        ((IDS, AGES), T, np.ones(20)),
        [((IDS, AGES), T)],
        PAIRS,
        bp.data.Batches((IDS, AGES), T, batch_size=6),
    ],
    ids=["tuple", "list", "weighted", "one batch", "batches", "Batches"],
)
def test_validation_data_may_have_several_inputs(device, validation):
    model = pair(device)
    history = in_order(model, (IDS, AGES), T, validation=validation, metrics=[bp.Accuracy()])
    expected = bp.evaluate(model, (IDS, AGES), T, loss=LOSS, metrics=[bp.Accuracy()])
    assert history["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-5)
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"])


def test_training_continues_from_a_file(device, tmp_path):
    from several_inputs import Lookup

    whole, first = make(device), make(device)
    in_order(whole, X, T, epochs=4)
    in_order(first, X, T, epochs=2)
    first.save(tmp_path / "m.safetensors", training_state=True)
    second = bp.load(tmp_path / "m.safetensors", device, layers=[Lookup])
    in_order(second, X, T, epochs=2, optimizer=second.training_state.optimizer)
    np.testing.assert_allclose(
        device.to_numpy(second.vector), device.to_numpy(whole.vector), rtol=1e-6
    )


def test_a_layer_diagnosis_takes_several_inputs():
    diagnosis = bp.Diagnosis(X, T, LOSS)
    in_order(make(), X, T, callbacks=[diagnosis])
    assert [health.epoch for health in diagnosis.last] == [3] * 3
