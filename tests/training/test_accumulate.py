"""Covers: `accumulate=` of fit, several batches of one update, on every device."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
X, CLASSES, WEIGHT = RNG.normal(size=(53, 5)), RNG.integers(0, 3, 53), RNG.uniform(0.0, 2.0, 53)
WEIGHT[:9] = 0.0
NET = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.3), bp.Linear(3))
WEIGHED = bp.CrossEntropy(class_weights=(1.0, 3.0, 0.5))


def trained(device, x=X, t=CLASSES, net=NET, shape=5, **options):
    model = bp.Model(net, shape, device=device, seed=0)
    options = {"loss": WEIGHED, "optimizer": bp.SGD(0.1), "epochs": 2} | options
    history = bp.fit(model, x, t, **options)
    values = [v for name, v in history.items() if name != "seconds"]
    arrays = map(model.device.to_numpy, (model.vector, model.state_vector))
    return np.concatenate([*arrays, *map(np.asarray, values)])


def test_several_batches_are_one_of_their_sum(device):
    """With uneven weights, a penalty, clipping, Dropout, a schedule, and a rest of an epoch."""
    options = {
        "sample_weight": WEIGHT,
        "penalty": bp.L2Penalty(0.3),
        "optimizer": bp.Chain(bp.ClipByGlobalNorm(0.2), bp.SGD(bp.StepDecay(0.3, 0.5, every=2))),
        "metrics": [bp.Accuracy()],
    }
    one, several = (
        trained(device, **options, **sizes)
        for sizes in ({"batch_size": 21}, {"batch_size": 7, "accumulate": 3})
    )
    np.testing.assert_allclose(several, one, rtol=3e-5, atol=3e-6)


def test_each_member_of_an_ensemble_has_the_masks_of_the_whole_batch(device):
    """Also in the last update of an epoch, whose part has the shape of others but fewer rows."""
    net, loss = bp.Ensemble(NET, 2), bp.EnsembleLoss(bp.CrossEntropy())
    options = {"net": net, "loss": loss, "x": X[:40], "t": CLASSES[:40]}
    one = trained(device, batch_size=16, **options)
    several = trained(device, batch_size=8, accumulate=2, **options)
    np.testing.assert_allclose(several, one, rtol=3e-5, atol=3e-6)


def test_metrics_are_those_of_all_batches(device):
    """Also those whose sums are arrays, alone and of one of several outputs."""
    options = {"optimizer": bp.SGD(1e-12), "epochs": 1, "sample_weight": WEIGHT}
    values = {"t": X[:, :3], "loss": bp.Huber(), "metrics": [bp.R2()]}
    net = bp.Parallel(kind=bp.Linear(3), size=bp.Linear(2))
    outputs = {"t": {"kind": CLASSES, "size": X[:, :2]}, "net": net} | {
        "loss": bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": bp.Huber()}),
        "metrics": [bp.OutputMetric("size", bp.R2())],
    }
    for settings in (values, outputs):
        one = trained(device, batch_size=21, **options, **settings)
        several = trained(device, batch_size=7, accumulate=3, **options, **settings)
        np.testing.assert_allclose(several, one, rtol=3e-5, atol=3e-6)


def test_batches_of_unequal_size_count_by_their_weights():
    batches = [(X[:5], CLASSES[:5]), (X[5:30], CLASSES[5:30]), (X[30:], CLASSES[30:])]
    two = [(X[:30], CLASSES[:30]), (X[30:], CLASSES[30:])]
    np.testing.assert_allclose(
        trained("cpu", batches, None, accumulate=2), trained("cpu", two, None), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("compiled", [True, False])
def test_each_loss_of_several_outputs_has_its_own_divisor(compiled):
    t = {"kind": np.where(RNG.uniform(size=53) < 0.6, -1, CLASSES), "size": X[:, :2]}
    net = bp.Parallel(kind=bp.Linear(3), size=bp.Linear(2))
    loss = bp.CombinedLoss({"kind": bp.CrossEntropy(ignore_index=-1), "size": bp.Huber()})
    options = {"net": net, "loss": loss, "sample_weight": WEIGHT, "compiled": compiled}
    several = trained("cpu", t=t, batch_size=5, accumulate=4, **options)
    one = trained("cpu", t=t, batch_size=20, **options)
    np.testing.assert_allclose(several, one, rtol=1e-5, atol=1e-6)


def test_batch_norm_follows_the_mean_of_the_batches_of_an_update():
    model = bp.Model(bp.Sequential(bp.BatchNorm(), bp.Linear(3)), 5, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "optimizer": bp.SGD(0.1), "shuffle": False}
    bp.fit(model, X[:40], CLASSES[:40], batch_size=20, accumulate=2, **options)
    means = 0.1 * X[:40].mean(axis=0)
    np.testing.assert_allclose(model.parameters["0.mean"], means, rtol=1e-5, atol=1e-7)


def test_statistics_that_no_layer_changes_stay_to_the_bit():
    net = bp.Sequential(bp.Standardize(), bp.Linear(3))
    model = bp.Model(net, 5, device="cpu", seed=0)
    model.set_parameters({"0.mean": X.mean(axis=0), "0.scale": X.std(axis=0)})
    before = model.state_vector.copy()
    options = {"loss": WEIGHED, "optimizer": bp.SGD(0.1)}
    bp.fit(model, X, CLASSES, batch_size=3, accumulate=3, epochs=3, **options)
    np.testing.assert_array_equal(model.state_vector, before)


def test_a_loss_that_is_not_finite_restores_the_last_good_parameters(device):
    x = X[:40].copy()
    x[35] = 1e30
    models = []
    for sizes in ({"batch_size": 20}, {"batch_size": 5, "accumulate": 4}):
        model = bp.Model(bp.Linear(3), 5, device=device, seed=0)
        options = {"loss": bp.L2Loss(), "optimizer": bp.SGD(0.01), "shuffle": False, **sizes}
        with pytest.raises(bp.NonFiniteLossError, match="epoch 1, batch 2: the first"):
            bp.fit(model, x, X[:40, :3], **options)
        models.append(model.device.to_numpy(model.vector))
    np.testing.assert_allclose(models[1], models[0], rtol=1e-5, atol=1e-7)


def test_two_calls_continue_one_training_run():
    optimizer = bp.Adam(0.01)
    model = bp.Model(NET, 5, device="cpu", seed=0)
    options = {"loss": bp.CrossEntropy(), "batch_size": 7, "accumulate": 3}
    for _ in range(2):
        bp.fit(model, X, CLASSES, optimizer=optimizer, **options)
    assert model.training_state.step == 6  # 8 batches are 3 updates
    once = bp.Model(NET, 5, device="cpu", seed=0)
    bp.fit(once, X, CLASSES, optimizer=bp.Adam(0.01), epochs=2, **options)
    np.testing.assert_array_equal(model.vector, once.vector)


def test_what_cannot_be_accumulated_is_refused():
    for value in (0, 1.5, "2"):
        with pytest.raises(bp.InputError, match="accumulate"):
            trained("cpu", accumulate=value)
    for loss in (bp.Contrastive(), bp.TripletMargin()):
        message = f"{type(loss).__name__} compares the samples of a batch"
        with pytest.raises(bp.InputError, match=message):
            trained("cpu", loss=loss, accumulate=2)
    with pytest.raises(bp.InputError, match="expected a group of processes"):
        trained("cpu", distributed="mpi")
