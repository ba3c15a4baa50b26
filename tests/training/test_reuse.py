"""What a training run leaves to the next is used again, and only where it fits.

Covers: recordings, passes, compiled steps; their keys, bounds and lifetime.
"""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.training.runners import _reuse
from bp_arrays.training.runners._replayed_pass import Recording

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(40, 6)), RNG.integers(0, 3, 40)
NET = bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.25), bp.Linear(3))


@pytest.fixture
def recorded(monkeypatch):
    """The batch shapes recorded from here on, in order."""
    _reuse.recordings.clear()
    shapes = []
    init = Recording.__init__

    def counting(self, step, batch, *vectors):
        shapes.append(batch.x.shape)
        init(self, step, batch, *vectors)

    monkeypatch.setattr(Recording, "__init__", counting)
    yield shapes
    _reuse.recordings.clear()


def new_model(net=NET, dtype="float64", seed=0):
    return bp.Model(net, 6, device="cpu", dtype=dtype, seed=seed)


def train(model, *, loss=None, optimizer=None, x=X, t=T, batch_size=10, **settings):
    settings = {
        "loss": loss or bp.CrossEntropy(),
        "optimizer": optimizer or bp.Adam(0.01),
    } | settings
    return bp.fit(model, x, t, batch_size=batch_size, **settings)


def fresh(model, **settings):
    """Train a copy with nothing kept; return its parameters."""
    _reuse.recordings.clear()
    other = pickle.loads(pickle.dumps(model))
    train(other, **settings)
    return other.vector


def test_a_step_is_recorded_once_for_many_training_runs(recorded):
    model = new_model()
    for _ in range(3):
        train(model)
    train(new_model(seed=1))
    train(copy.copy(model))
    train(pickle.loads(pickle.dumps(model)))
    assert recorded == [(10, 6)]


def test_a_step_in_parts_is_recorded_once_for_many_training_runs(recorded):
    model = new_model()
    for _ in range(3):
        train(model, accumulate=2)
    train(new_model(seed=1), accumulate=2)
    assert recorded == [(10, 6)]
    train(model)  # of one part, which is another step
    train(model, accumulate=4)  # masks of as many rows as before, of a larger batch
    assert recorded == [(10, 6)] * 3


@pytest.mark.parametrize("net", [NET, bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Linear(3))])
def test_a_step_in_parts_continues_as_with_nothing_kept(net):
    """After a step of one part with batches of this shape, and with another number of parts."""
    model = new_model(net)
    settings = {"penalty": bp.L2Penalty(0.1), "batch_size": 10}
    train(model, **settings)
    for accumulate in (2, 2, 4, 1):
        model.training_state = None
        expected = fresh(model, accumulate=accumulate, **settings)
        train(model, accumulate=accumulate, **settings)
        np.testing.assert_array_equal(model.vector, expected)


CHANGES = {
    "loss": {"loss": bp.CrossEntropy(label_smoothing=0.1)},
    "loss, reduction": {"loss": bp.CrossEntropy(reduction="sum")},
    "class weights": {"loss": bp.CrossEntropy(class_weights=(1.0, 2.0, 3.0))},
    "penalty": {"penalty": bp.L2Penalty(0.5)},
    "batch size": {"batch_size": 7},
    "seed": {"seed": 5},
    "weights": {"sample_weight": RNG.uniform(0.5, 2.0, 40)},
    "optimizer": {"optimizer": bp.SGD(0.1, momentum=0.9)},
    "rate": {"optimizer": bp.Adam(0.1)},
    "metrics": {"metrics": [bp.Accuracy()]},
    "dtype of targets": {"t": T.astype(np.int16)},
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_after_a_change_training_is_as_with_nothing_kept(change):
    """The first run leaves its recordings; the second, changed, must not be run by them."""
    settings = CHANGES[change]
    model = new_model()
    train(model)
    model.training_state = None
    expected = fresh(model, **settings)
    train(model, **settings)
    np.testing.assert_array_equal(model.vector, expected)


def test_changed_parameters_are_used():
    model = new_model()
    train(model)
    model.set_parameters({"0.weight": np.ones((6, 8))})
    expected = fresh(model)
    train(model)
    np.testing.assert_array_equal(model.vector, expected)


def test_another_net_or_dtype_is_another_step(recorded):
    train(new_model())
    train(new_model(dtype="float32"))
    train(new_model(bp.Sequential(bp.Linear(8), bp.Tanh(), bp.Dropout(0.5), bp.Linear(3))))
    assert len(recorded) == 3


def test_a_custom_part_is_recorded_in_every_training_run(recorded):
    class Doubled(bp.Layer):
        def forward(self, params, x, ctx):
            return x * factor, lambda delta: (delta * factor, {})

    factor = 2.0
    model = new_model(bp.Sequential(Doubled(), bp.Linear(3)))
    train(model)
    factor = 3.0  # what it reads from Python
    expected = fresh_in_place = new_model(model.net)
    fresh_in_place.set_parameters(model.host_parameters())
    train(expected, compiled=False)
    train(model, optimizer=bp.Adam(0.01))
    np.testing.assert_array_equal(model.vector, expected.vector)
    assert len(recorded) == 2


@pytest.mark.parametrize("depth", [1, 2])
def test_a_custom_part_in_a_metric_is_recorded_in_every_epoch(recorded, depth):
    """What it reads from Python may have changed."""

    class Custom(bp.Layer):
        def forward(self, params, x, ctx):
            return 2.0 * x, lambda delta: (2.0 * delta, {})

    activation = Custom()
    for _ in range(depth):
        activation = bp.Sequential(activation, bp.Softmax())
    model = new_model(bp.Ensemble(bp.Linear(3), 2))
    bp.fit(
        model, X, T, loss=bp.EnsembleLoss(bp.CrossEntropy()), optimizer=bp.Adam(0.01),
        batch_size=40, metrics=[bp.EnsembleMetric(bp.Accuracy(), activation)], epochs=2,
    )  # fmt: skip
    assert len(recorded) == 2


def redefined(base, name, **attributes):
    """A class that replaces that of the same name, as a notebook's cell does that runs again."""
    kind = type(name, (base,), {"__module__": __name__, **attributes})
    globals()[name] = kind
    return kind


@pytest.mark.parametrize("compiled_by", ["recorded step", "jax.jit"])
def test_a_loss_or_optimizer_defined_again_inside_of_others_is_used(compiled_by):
    if compiled_by == "jax.jit":
        pytest.importorskip("jax", reason="JAX is not installed")
    device = "cpu" if compiled_by == "recorded step" else "jax:cpu"
    first, losses, weights = [], [], []
    for factor in (1.0, 10.0):

        def forward(self, y, t, ctx, weight=None, factor=factor):
            value, backward = bp.CrossEntropy.forward(self, y, t, ctx, weight)
            return factor * value, lambda: factor * backward()

        def update(self, theta, g, state, scalars, xp, factor=factor):
            return theta - factor * g, state

        loss = redefined(bp.CrossEntropy, "Defined", forward=forward)()
        model = bp.Model(bp.Ensemble(bp.Linear(3), 2), 6, device=device, seed=0)
        history = train(model, loss=bp.EnsembleLoss(loss), epochs=1)
        losses.append(history["loss"][0])
        optimizer = redefined(bp.SGD, "Updating", update=update)(0.1)
        model = bp.Model(bp.Linear(3), 6, device=device, seed=0)
        first.append(model.device.to_numpy(model.vector))
        train(model, optimizer=bp.Chain(bp.ClipByGlobalNorm(1e9), optimizer), batch_size=40)
        weights.append(model.device.to_numpy(model.vector))
    assert losses[1] > 5.0 * losses[0]
    once, ten_times = (np.linalg.norm(w - w0) for w, w0 in zip(weights, first, strict=True))
    np.testing.assert_allclose(ten_times, 10.0 * once, rtol=1e-3)


def test_what_is_kept_keeps_no_model_and_no_data():
    model, x = new_model(), X.copy()
    train(model, x=x)
    assert len(_reuse.passes_of_models[model]) == 1
    theta = model.vector
    references = [weakref.ref(model), weakref.ref(theta), weakref.ref(x)]
    del model, theta, x
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_parameters_that_were_returned_keep_their_values():
    model = new_model()
    train(model)
    before = model.vector
    values = before.copy()
    train(model)
    np.testing.assert_array_equal(before, values)
    assert not np.array_equal(model.vector, values)


def test_copies_trained_in_two_threads_do_not_disturb_each_other():
    model = new_model()
    train(model)
    model.training_state = None
    expected = fresh(model, epochs=20)
    copies = [copy.copy(model) for _ in range(3)]
    threads = [threading.Thread(target=train, args=(m,), kwargs={"epochs": 20}) for m in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in copies:
        np.testing.assert_array_equal(each.vector, expected)


def test_passes_in_use_are_not_given_to_another_training_run():
    model = new_model()
    train(model)
    [key] = _reuse.passes_of_models[model]._values
    passes = _reuse.take_passes(model, key)
    assert passes.by_shape
    assert not _reuse.take_passes(model, key).by_shape


def test_the_last_used_are_kept():
    recent = _reuse.Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    recent.get("a")
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c")) == (1, None, 3)


def test_large_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(_reuse, "ARENA_BYTES", 10)
    monkeypatch.setattr(_reuse, "CONSTANT_BYTES", -1)
    _reuse.recordings.clear()
    model = new_model()
    train(model)
    assert model not in _reuse.passes_of_models and len(_reuse.recordings) == 0


def test_jax_compiles_an_equal_step_once():
    pytest.importorskip("jax", reason="JAX is not installed")
    _reuse.compiled_steps.clear()
    models = [bp.Model(NET, 6, device="jax:cpu", seed=k) for k in range(2)]
    train(models[0])
    [compiled] = _reuse.compiled_steps._values.values()
    train(models[0], optimizer=bp.Adam(0.5))  # the rate is an argument
    train(models[1])
    assert list(_reuse.compiled_steps._values.values()) == [compiled]
    reference = weakref.ref(models[0])
    expected = fresh_on_jax(models[1], penalty=bp.L2Penalty(0.5))
    models[1].training_state = None
    train(models[1], penalty=bp.L2Penalty(0.5))
    np.testing.assert_array_equal(np.asarray(models[1].vector), expected)
    models.clear()
    gc.collect()
    assert reference() is None


def test_jax_compiles_an_equal_step_in_parts_once():
    pytest.importorskip("jax", reason="JAX is not installed")
    _reuse.compiled_steps.clear()
    models = [bp.Model(NET, 6, device="jax:cpu", seed=k) for k in range(2)]
    train(models[0], accumulate=2)
    compiled = set(map(id, _reuse.compiled_steps.values()))
    assert len(compiled) == 2  # the gradient of a part, and the update
    train(models[0], accumulate=2, optimizer=bp.Adam(0.5))
    train(models[1], accumulate=2)
    assert set(map(id, _reuse.compiled_steps.values())) == compiled
    models[1].training_state = None
    expected = fresh_on_jax(models[1], accumulate=2, penalty=bp.L2Penalty(0.5))
    train(models[1], accumulate=2, penalty=bp.L2Penalty(0.5))
    np.testing.assert_array_equal(np.asarray(models[1].vector), expected)
    reference = weakref.ref(models[0])
    models.clear()
    gc.collect()
    assert reference() is None


def fresh_on_jax(model, **settings):
    _reuse.compiled_steps.clear()
    other = bp.Model(NET, 6, device="jax:cpu")
    other.set_parameters(model.host_parameters())
    train(other, **settings)
    return np.asarray(other.vector)


def test_estimators_of_equal_nets_share_what_is_recorded(recorded):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    for seed in range(2):
        classifier = bp.MLPClassifier((8,), random_state=seed, device="cpu")
        for _ in range(2):
            classifier.partial_fit(X, T, classes=[0, 1, 2])
    assert recorded == [(40, 6)]
