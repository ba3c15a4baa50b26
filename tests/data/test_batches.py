"""Batches cut from arrays: the same in a plain loop, in fit, and on every device."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.data import RowFeed
from bp_arrays.inputs import BatchSpec

RNG = np.random.default_rng(3)
X = RNG.normal(size=(23, 4))
T = RNG.integers(0, 3, 23)
W = RNG.uniform(size=23)


def make(device="cpu", dtype="float32"):
    net = bp.Sequential(bp.Linear(5), bp.Tanh(), bp.Dropout(0.2), bp.Linear(3))
    return bp.Model(net, 4, device=device, dtype=dtype, seed=0)


def settings(**more):
    return {"loss": bp.CrossEntropy(), "optimizer": bp.Adam(0.01), "epochs": 3} | more


def seen(batches, device):
    """Every number of an epoch, on the host."""
    return [tuple(map(device.to_numpy, batch)) for batch in batches]


def test_an_epoch_has_every_row_once_with_its_target_and_weight(device):
    batches = bp.data.Batches(X, T, W, batch_size=5, seed=1, device=device, dtype="float32")
    assert len(batches) == 5
    epoch = seen(batches, device)
    assert [len(x) for x, _, _ in epoch] == [5, 5, 5, 5, 3]
    x, t, w = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
    assert x.dtype == w.dtype == np.float32 and t.dtype.kind == "i"
    found = [int(np.argmin(np.abs(X[:, 0] - value))) for value in x[:, 0]]
    assert sorted(found) == list(range(23)) and found != list(range(23))
    np.testing.assert_array_equal(x, X[found].astype(np.float32))
    np.testing.assert_array_equal(t, T[found])
    np.testing.assert_array_equal(w, W[found].astype(np.float32))


def test_small_batches_gathered_together_are_the_rows_of_the_order():
    x = RNG.normal(size=(23, 4096)).astype(np.float32)  # eight rows are gathered at once
    model = bp.Model(bp.Linear(3), 4096, device="cpu")
    feed = RowFeed(BatchSpec.of(model, bp.CrossEntropy()), x, T, W)
    order = RNG.permutation(23)
    epoch = list(feed.epoch(3, order, start=1))
    assert [len(batch.x) for batch in epoch] == [3, 3, 3, 3, 3, 3, 2]
    for k, batch in enumerate(epoch):
        rows = order[3 * (k + 1) : 3 * (k + 2)]
        np.testing.assert_array_equal(batch.x, x[rows])
        np.testing.assert_array_equal(batch.t, T[rows])
        np.testing.assert_array_equal(batch.weight, W[rows].astype(np.float32))
    for rank in range(2):  # shares of batches, with gaps between them
        for piece, start in zip(feed.pieces(3, order, rank, 2), range(0, 23, 3), strict=True):
            rows = order[start:][piece.first :][: len(piece.batch.x)]
            np.testing.assert_array_equal(piece.batch.x, x[rows])


def test_each_iteration_is_an_epoch_of_its_own_and_the_same_on_every_device(device):
    there = bp.data.Batches(X, T, batch_size=7, seed=1, device=device)
    host = bp.data.Batches(X, T, batch_size=7, seed=1, device="cpu")
    epochs = [seen(there, device) for _ in range(2)]
    for epoch in epochs:
        for (x, t), (x_host, t_host) in zip(epoch, host, strict=True):
            np.testing.assert_array_equal(x, x_host)
            np.testing.assert_array_equal(t, t_host)
    assert not np.array_equal(epochs[0][0][1], epochs[1][0][1])


def test_samples_alone_come_alone():
    parts = list(bp.data.Batches(X, batch_size=20, shuffle=False, device="cpu"))
    np.testing.assert_array_equal(np.concatenate(parts), X.astype(np.float32))


def test_fit_with_batches_is_fit_with_arrays(device):
    arrays, batches = make(device), make(device)
    one = bp.fit(arrays, X, T, sample_weight=W, batch_size=7, seed=4, **settings())
    data = bp.data.Batches(X, T, W, batch_size=7, seed=4)
    two = bp.fit(batches, data, seed=4, **settings())
    assert one["loss"] == two["loss"]
    np.testing.assert_array_equal(device.to_numpy(arrays.vector), device.to_numpy(batches.vector))


def test_fit_loops_over_the_batches_that_a_plain_loop_shows():
    net = bp.Sequential(bp.Linear(3))
    model, by_hand = (bp.Model(net, 4, device="cpu", dtype="float64") for _ in range(2))
    sgd = bp.SGD(0.1)
    bp.fit(model, bp.data.Batches(X, T, batch_size=6), **settings(optimizer=sgd))
    shown = bp.data.Batches(X, T, batch_size=6, device="cpu", dtype="float64")
    for _ in range(3):
        for x, t in shown:
            _, gradients = by_hand.gradients(x, t, bp.CrossEntropy())
            values = by_hand.host_parameters()
            by_hand.set_parameters({k: values[k] - 0.1 * g for k, g in gradients.items()})
    np.testing.assert_allclose(model.vector, by_hand.vector, rtol=1e-12)


def test_evaluate_and_predict_take_the_rows_as_they_lie(device):
    model = make(device, "float64" if device.backend != "jax" else "float32")
    batches = bp.data.Batches(X, T, W, batch_size=5)
    np.testing.assert_allclose(model.predict(batches), model.predict(X, 5), rtol=1e-6)
    loss = {"loss": bp.CrossEntropy(), "metrics": [bp.Accuracy()]}
    assert bp.evaluate(model, batches, **loss) == pytest.approx(
        bp.evaluate(model, X, T, sample_weight=W, **loss), rel=1e-5
    )
    history = bp.fit(model, batches, validation=batches, **settings())
    assert history["val_loss"][-1] == pytest.approx(
        bp.evaluate(model, batches, loss=bp.CrossEntropy())["loss"], rel=1e-5
    )


def test_the_next_batch_is_made_by_another_thread_where_that_helps(device):
    threads = []

    class Loader:
        def __iter__(self):
            for start in range(0, 20, 5):
                threads.append(threading.current_thread() is threading.main_thread())
                yield X[start : start + 5], T[start : start + 5]

    for _ in bp.data.Batches(Loader(), device=device):
        pass
    assert threads == [not device.is_asynchronous] * 4


def test_stopping_early_leaves_no_thread_behind(device):
    before = threading.active_count()
    for _ in bp.data.Batches(X, T, batch_size=2, device=device):
        break
    deadline = time.monotonic() + 10  # the thread is told to end, and not waited for
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_memory_mapped_targets_stay_on_disk_and_train_alike(device, tmp_path):
    targets = RNG.normal(size=(23, 3)).astype(np.float32)
    np.save(tmp_path / "t.npy", targets)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="r")
    models = [make(device), make(device)]
    for model, t in zip(models, (targets, mapped), strict=True):
        bp.fit(model, X, t, batch_size=5, **settings(loss=bp.L2Loss()))
    np.testing.assert_array_equal(*(device.to_numpy(model.vector) for model in models))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: expected a whole number >= 1"),
        ({"batch_size": True}, "batch_size=True: expected a whole number"),
        ({"window": 10}, "window: do not pass it, it is for data in blocks"),
        ({"device": "cpux"}, "unknown device"),
        ({"t": T[1:]}, "t: expected targets for the 23 rows"),
        ({"t": np.where(T == 0, np.nan, 1.0)}, r"t\[\d+\]: expected a finite number, got nan"),
        ({"x": np.where(X[2, 1] == X, np.nan, X)}, r"x\[2, 1\]: expected a finite number, got nan"),
        ({"x": X[:0], "t": T[:0]}, "x: expected at least one row"),
        ({"x": 3.0}, "x: expected an array"),
        ({"weight": -W}, "expected a number >= 0"),
        ({"weight": W, "t": None}, "weight: requires targets t"),
        ({"shuffle": "no"}, "shuffle: expected True, False, or a function"),
        ({"x": object()}, "x: expected an array, got a object"),
        ({"x": bp.data.Batches}, "x: expected an array, got a type"),
        ({"shuffle": lambda epoch: [0]}, "shuffle: expected 23 row numbers"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(bp.InputError, match=message):
        next(iter(bp.data.Batches(**{"x": X, "t": T, "device": "cpu"} | arguments)))


def test_batches_for_another_device_or_dtype_are_refused():
    with pytest.raises(
        bp.DeviceMismatchError, match=r"batches: expected device 'cpu', .*got 'strict'"
    ):
        bp.fit(make(), bp.data.Batches(X, T, device="strict"), **settings())
    with pytest.raises(bp.InputError, match=r"batches: expected dtype 'float32', .*got 'float64'"):
        bp.fit(make(), bp.data.Batches(X, T, dtype="float64"), **settings())


def test_a_batch_size_beside_batches_to_predict_is_refused():
    for x in (bp.data.Batches(X), iter([X])):
        with pytest.raises(bp.InputError, match="batch_size: do not pass it"):
            make().predict(x, batch_size=3)


def test_validation_may_be_a_list_of_two_arrays_or_of_batches():
    for validation in ([X, T], [(X, T)], [(X[:9], T[:9]), (X[9:], T[9:])], (X, T)):
        history = bp.fit(make(), X, T, validation=validation, **settings())
        assert history["val_loss"] == pytest.approx(
            bp.fit(make(), X, T, validation=(X, T), **settings())["val_loss"], rel=1e-6
        )


@pytest.mark.parametrize(
    "given", [{"t": T}, {"sample_weight": W}, {"batch_size": 3}, {"shuffle": True}]
)
def test_what_batches_have_themselves_is_refused_beside_them(given):
    [name] = given
    with pytest.raises(bp.InputError, match=f"{name}: do not pass it, bp.data.Batches have their"):
        bp.fit(make(), bp.data.Batches(X, T), **settings(), **given)


def test_targets_must_be_somewhere():
    for x in (X, bp.data.Batches(X), X.tolist()):
        with pytest.raises(bp.InputError, match="t: expected targets; without them"):
            bp.fit(make(), x, **settings())
