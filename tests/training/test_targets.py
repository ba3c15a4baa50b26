"""Covers: the check of targets for every loss and metric, at every door of training."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
COLUMN = (X[:, :1] > 0).astype(float)
CLASSES = RNG.integers(0, 3, 12)
ONE_HOT = np.eye(3)[CLASSES]
SEVERAL = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]] * 4)
VALUES = RNG.normal(size=(12, 3)) * 10
SOFT = RNG.dirichlet(np.ones(3), size=12)

BCE, CE, MSE = bp.BinaryCrossEntropy(), bp.CrossEntropy(), bp.MeanSquaredError()
IGNORING = bp.CrossEntropy(ignore_index=-100)
PADDED = np.where(CLASSES == 2, -100, CLASSES)


REFUSED = {
    "one output has no largest": (BCE, bp.Accuracy(), COLUMN, r"use BinaryAccuracy\(\)"),
    "also of values": (MSE, bp.Accuracy(), COLUMN, r"use BinaryAccuracy\(\)"),
    "several labels are no class": (BCE, bp.Accuracy(), SEVERAL, r"t\[0\].*use BinaryAccuracy"),
    "values are no class": (MSE, bp.Accuracy(), VALUES, r"use .*R2\(\) for values"),
    "an ignored class": (IGNORING, bp.Accuracy(), PADDED, r"use Accuracy\(ignore_index=-100\)"),
    "classes are not 0 and 1": (CE, bp.BinaryAccuracy(), CLASSES, r"use Accuracy\(\)"),
    "nor are their probabilities": (CE, bp.BinaryAccuracy(), SOFT, r"use Accuracy\(\)"),
    "nor are values": (MSE, bp.BinaryAccuracy(0.5), VALUES, "expected a target from 0 to 1"),
    "values are not logits": (MSE, bp.BinaryAccuracy(), SEVERAL, r"use BinaryAccuracy\(0.5\)"),
    "classes are no values": (CE, bp.R2(), CLASSES, r"use Accuracy\(\)"),
    "logits are no values": (BCE, bp.R2(), COLUMN, r"use BinaryAccuracy\(\)"),
    "one output has no softmax": (CE, None, COLUMN, "for one output use BinaryCrossEntropy"),
    "also for numbers of classes": (CE, None, COLUMN[:, 0].astype(int), "use BinaryCrossEntropy"),
    "-1 and 1": (BCE, None, np.sign(X[:, :1]), r"t\[., 0\]: expected a target from 0 to 1 for"),
    "2 and 3": (BCE, None, COLUMN + 2, "code two classes as 0 and 1"),
    "several labels are no distribution": (
        CE, None, SEVERAL, r"t\[0\]: expected .* sum to 1, .*\[1.0, 1.0, 0.0\].*BinaryCross"),
    "nor are halves of one": (CE, None, SOFT * 0.5, r"t\[0\]: expected .* that sum to 1"),
    "-1 and 1 for classes": (CE, None, 2 * ONE_HOT - 1, "from 0 to 1 for CrossEntropy"),
}  # fmt: skip


def doors(model, loss, metrics, t):
    train = {"loss": loss, "optimizer": bp.SGD(0.1), "metrics": metrics}
    yield lambda: bp.fit(model, X, t, **train)
    yield lambda: bp.fit(model, bp.data.Batches(X, t), **train)
    yield lambda: bp.fit(model, [(X, t)], **train)
    yield lambda: bp.evaluate(model, X, t, loss=loss, metrics=metrics)
    yield lambda: bp.evaluate(model, [(X, t)], loss=loss, metrics=metrics)
    yield lambda: bp.Trainer(model, **train).step(X, t)
    if not metrics:
        yield lambda: model.gradients(X, t, loss)
        yield lambda: bp.explain(model, X[3], t[3], loss)


@pytest.mark.parametrize("name", REFUSED)
def test_targets_that_do_not_suit_are_refused_at_every_door(name):
    loss, metric, t, message = REFUSED[name]
    outputs = 1 if t.shape == (12, 1) or "numbers of classes" in name else 3
    model = bp.Model(bp.Linear(outputs), 3, device="cpu", seed=0)
    before = model.vector.copy()
    for door in doors(model, loss, [metric] if metric else [], t):
        with pytest.raises(bp.InputError, match=message) as error:
            door()
        assert "\n" not in str(error.value)
        np.testing.assert_array_equal(model.vector, before)


ACCEPTED = {
    "two classes in one column": (BCE, bp.BinaryAccuracy(), COLUMN),
    "several labels": (BCE, bp.BinaryAccuracy(), SEVERAL),
    "soft labels": (BCE, bp.BinaryAccuracy(), np.full((12, 1), 0.3)),
    "rounded labels": (BCE, bp.BinaryAccuracy(), np.full((12, 1), 1 + 1e-7)),
    "labels as values": (MSE, bp.BinaryAccuracy(0.5), SEVERAL),
    "classes": (CE, bp.Accuracy(), CLASSES),
    "an ignored class": (IGNORING, bp.Accuracy(ignore_index=-100), PADDED),
    "probabilities": (CE, bp.Accuracy(), SOFT.astype(np.float16)),
    "classes as values": (MSE, bp.Accuracy(), ONE_HOT),
    "values": (MSE, bp.R2(), VALUES),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_metric_is_that_of_scikit_learn(name):
    scores = pytest.importorskip("sklearn.metrics", reason="witness scikit-learn is missing")
    loss, metric, t = ACCEPTED[name]
    y = RNG.normal(size=(12, 1 if t.shape == (12, 1) else 3))
    model = bp.Model(bp.Identity(), y.shape[1:], device="cpu", dtype="float64")
    value = bp.evaluate(model, y, t, loss=loss, metrics=[metric], batch_size=5)[metric.name]
    if isinstance(metric, bp.R2):
        expected = scores.r2_score(t, y)
    elif isinstance(metric, bp.BinaryAccuracy):
        expected = scores.accuracy_score(t.ravel() > 0.5, y.ravel() > metric.threshold)
    else:
        classes = t if t.ndim == 1 else t.argmax(axis=1)
        counted = classes != metric.ignore_index
        expected = scores.accuracy_score(classes[counted], y.argmax(axis=1)[counted])
    assert value == pytest.approx(expected, rel=1e-12)


def test_validation_targets_are_checked_too():
    model = bp.Model(bp.Linear(1), 3, device="cpu", seed=0)
    with pytest.raises(bp.InputError, match="code two classes as 0 and 1"):
        bp.fit(model, X, COLUMN, loss=BCE, optimizer=bp.SGD(), validation=(X, 2 * COLUMN - 1))


def test_a_batch_that_does_not_suit_is_refused_when_it_comes():
    model = bp.Model(bp.Linear(1), 3, device="cpu", seed=0)
    batches = [(X, COLUMN), (X, COLUMN + 1)]
    with pytest.raises(bp.InputError, match=r"batch 2: t\[.*code two classes as 0 and 1"):
        bp.fit(model, batches, loss=BCE, optimizer=bp.SGD())


def test_a_custom_loss_states_the_range_of_its_targets():
    class Poisson(bp.Loss):
        target_range = (0.0, float("inf"))

        def per_sample(self, y, t, ctx):
            rate = ctx.xp.exp(y)
            return ctx.xp.sum(rate - t * y, axis=1), lambda c: c * (rate - t)

    model = bp.Model(bp.Linear(1), 3, device="cpu", seed=0)
    with pytest.raises(bp.InputError, match="expected a target >= 0 for Poisson"):
        model.gradients(X, -COLUMN, Poisson())
    assert np.isfinite(model.gradients(X, 100 * COLUMN, Poisson())[0])


WEIGHTS = np.r_[RNG.uniform(size=9), 0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["several labels", "classes", "an ignored class", "probabilities",
                                  "labels as values", "values"])  # fmt: skip
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_metrics_with_sample_weights_are_those_of_scikit_learn(device, name, batch_size):
    scores = pytest.importorskip("sklearn.metrics", reason="witness scikit-learn is missing")
    loss, metric, t = ACCEPTED[name]
    y = np.random.default_rng(5).normal(size=(12, 3))
    model = bp.Model(bp.Identity(), 3, device=device, dtype="float64")
    settings = {"loss": loss, "metrics": [metric], "sample_weight": WEIGHTS}
    value = bp.evaluate(model, y, t, batch_size=batch_size, **settings)[metric.name]
    if isinstance(metric, bp.R2):
        expected = scores.r2_score(t, y, sample_weight=WEIGHTS)
    elif isinstance(metric, bp.BinaryAccuracy):
        right = (t > 0.5) == (y > metric.threshold)
        expected = np.average(right.mean(axis=1), weights=WEIGHTS)
    else:
        classes = t if t.ndim == 1 else t.argmax(axis=1)
        counted = classes != metric.ignore_index
        expected = scores.accuracy_score(
            classes[counted], y.argmax(axis=1)[counted], sample_weight=WEIGHTS[counted]
        )
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("net", ["sequence of classes", "sequence of values"])
def test_weights_of_positions_weigh_positions(net, compiled):
    rng = np.random.default_rng(1)
    y, weight = rng.normal(size=(6, 4, 3)), rng.uniform(size=(6, 4))
    if net == "sequence of classes":
        t, loss, metric = rng.integers(0, 3, (6, 4)), bp.CrossEntropy(), bp.Accuracy()
        expected = np.average(y.argmax(axis=2) == t, weights=weight)
    else:
        weight = weight[:, 0]
        t, loss, metric = y + rng.normal(size=y.shape), MSE, bp.R2()
        w = np.repeat(weight, 4)[:, None]
        flat, off = t.reshape(24, 3), (t - y).reshape(24, 3)
        centered = flat - (w * flat).sum(axis=0) / w.sum()
        expected = np.mean(1 - (w * off**2).sum(axis=0) / (w * centered**2).sum(axis=0))
    model = bp.Model(bp.Linear(3, bias=False), (4, 3), device="cpu", dtype="float64")
    model.set_parameters({"weight": np.eye(3)})
    history = bp.fit(
        model, y, t, loss=loss, optimizer=bp.SGD(1e-12), metrics=[metric], sample_weight=weight,
        batch_size=4, compiled=compiled,
    )  # fmt: skip
    assert history[metric.name][0] == pytest.approx(expected, rel=1e-9)


class Rows(bp.Metric):
    name = "rows"

    def sums(self, y, t, ctx):
        return (float(y.shape[0]),)

    def value(self, sums):
        return float(sums[0])


def test_a_metric_without_weights_is_refused_where_there_are_some():
    model = bp.Model(bp.Linear(1), 3, device="cpu", seed=0)
    settings = {"loss": MSE, "metrics": [Rows()]}
    assert bp.evaluate(model, X, COLUMN, **settings)["rows"] == 12
    for data in ((X, COLUMN), ([(X, COLUMN, WEIGHTS)],)):
        weight = {"sample_weight": WEIGHTS} if len(data) == 2 else {}
        with pytest.raises(bp.InputError, match=r"Rows does not; define sums\(.*weight=None\)"):
            bp.evaluate(model, *data, **settings, **weight)


def test_the_advice_to_ignore_a_class_can_be_followed():
    loss, t = bp.CrossEntropy(ignore_index=-100), np.full(12, -100.0)
    t[0] = 1.0
    model = bp.Model(bp.Linear(3), 3, device="cpu", seed=0)
    advice = r"got -100\.0; to ignore it as the loss does use Accuracy\(ignore_index=-100\)$"
    with pytest.raises(bp.InputError, match=advice):
        bp.evaluate(model, X, t, loss=loss, metrics=[bp.Accuracy()])
    metric = bp.Accuracy(ignore_index=-100)
    assert bp.evaluate(model, X, t, loss=loss, metrics=[metric])["accuracy"] in (0.0, 1.0)
    for value in (-1.0, 1.5):  # which the loss does not ignore
        with pytest.raises(bp.InputError, match=f"got {value}$"):
            metric.check_targets(np.array([value]), (3,), loss)


def test_weights_are_passed_to_metrics_by_name():
    class ByName(Rows):
        def sums(self, y, t, ctx, *, weight=None):
            return (float(y.shape[0]) if weight is None else ctx.xp.sum(weight),)

    class Options(Rows):
        def sums(self, y, t, ctx, **options):
            return ByName.sums(self, y, t, ctx, **options)

    class ByPosition(Rows):
        def sums(self, y, t, ctx, weight=None, /):
            return (0.0,)

    model = bp.Model(bp.Linear(1), 3, device="cpu", dtype="float64", seed=0)

    def measured(metric, weight):
        settings = {"loss": MSE, "metrics": [metric], "sample_weight": weight}
        return bp.evaluate(model, X, COLUMN, **settings)["rows"]

    for metric in (ByName(), Options()):
        assert measured(metric, WEIGHTS) == pytest.approx(np.sum(WEIGHTS))
        assert measured(metric, None) == 12
    with pytest.raises(bp.InputError, match="ByPosition does not; define sums"):
        measured(ByPosition(), WEIGHTS)


ZEROS = np.zeros(12, int)
NOTHING = {
    "class weights": (bp.CrossEntropy(class_weights=(0.0, 1.0)), ZEROS, None),
    "class weights, summed": (
        bp.CrossEntropy(class_weights=(0.0, 1.0), reduction="sum"), ZEROS, None),
    "all ignored": (bp.CrossEntropy(ignore_index=0), ZEROS, None),
    "class weights times sample weights": (
        bp.CrossEntropy(class_weights=(0.0, 1.0)), np.r_[1, ZEROS[1:]], np.r_[0.0, np.ones(11)]),
    "sample weights": (CE, ZEROS, np.zeros(12)),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_data_in_which_nothing_counts_is_refused_before_training(name):
    loss, t, weight = NOTHING[name]
    model = bp.Model(bp.Linear(2), 3, device="cpu", seed=0)
    before = model.vector.copy()
    message = "expected samples that count|expected a weight > 0"
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, X, t, loss=loss, optimizer=bp.Adam(), sample_weight=weight)
    with pytest.raises(bp.InputError, match=message):
        bp.evaluate(model, X, t, loss=loss, sample_weight=weight)
    with pytest.raises(bp.InputError, match=message):
        bp.fit(model, X, ZEROS + 1, loss=loss, optimizer=bp.Adam(), validation=(X, t, weight))
    with pytest.raises(bp.InputError, match=message):
        model.gradients(X, t, loss, sample_weight=weight)
    assert bp.Trainer(model, loss=loss, optimizer=bp.SGD()).step(X, t, weight) == 0.0
    np.testing.assert_array_equal(model.vector, before)
    batch = (X, t) if weight is None else (X, t, weight)
    if loss.reduction == "mean":  # the weights of batches are known at the end
        with pytest.raises(bp.InputError, match="expected samples that count"):
            bp.evaluate(model, [batch], loss=loss)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_batch_of_weight_zero_within_an_epoch_changes_nothing(device, compiled):
    classes = np.r_[ZEROS[:4], 1, 0, 1, 0]
    loss = bp.CrossEntropy(class_weights=(0.0, 1.0))
    model = bp.Model(bp.Linear(2), 3, device=device, dtype="float64", seed=0)
    history = bp.fit(
        model, X[:8], classes, loss=loss, optimizer=bp.SGD(1e-12), batch_size=4, shuffle=False,
        metrics=[bp.Accuracy()], compiled=compiled,
    )  # fmt: skip
    y = model.predict(X[:8])[classes == 1]
    assert history["loss"][0] == pytest.approx(np.logaddexp(0.0, y[:, 0] - y[:, 1]).mean())


@pytest.mark.parametrize("weight", [None, np.r_[np.ones(11), 0.0]])
def test_outputs_of_nan_are_no_class(device, weight):
    y = np.ones((12, 3))
    model = bp.Model(bp.Linear(3, bias=False), 3, device=device, seed=0)

    def measured(metric, loss, t, rows):
        outputs = y.copy()
        outputs[rows, 1] = np.nan
        xp, dtype = model.device.xp, model.device.dtype("float32")
        arrays = [model.device.asarray(a, "float32") for a in (outputs, t)]
        if loss.takes_classes:
            arrays[1] = model.device.asarray(t, "int32")
        weights = {} if weight is None else {"weight": model.device.asarray(weight, "float32")}
        ctx = bp.layers.Context(xp, sum_dtype=dtype)
        sums = metric.sums(*arrays, ctx, **weights)
        return metric.value(tuple(float(s) for s in sums))

    for metric, loss, t in (
        (bp.Accuracy(), CE, ZEROS),
        (bp.Accuracy(ignore_index=-1), CE, ZEROS),
        (bp.BinaryAccuracy(), BCE, ONE_HOT * 0 + 1),
    ):
        assert measured(metric, loss, t, []) == 1.0
        assert np.isnan(measured(metric, loss, t, [5]))
        if weight is not None:  # as R2 does
            assert measured(metric, loss, t, [11]) == 1.0
    ignored = np.r_[ZEROS[1:], -1]
    assert measured(bp.Accuracy(ignore_index=-1), CE, ignored, [11]) == 1.0
    model.set_parameters({"weight": np.full((3, 3), np.nan)})
    for metric, loss, t in ((bp.Accuracy(), CE, ZEROS), (bp.BinaryAccuracy(), BCE, SEVERAL)):
        values = bp.evaluate(model, X, t, loss=loss, metrics=[metric], sample_weight=weight)
        assert np.isnan(values["accuracy"]) and np.isnan(values["loss"])


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "float32"])
def test_the_mean_does_not_depend_on_the_scale_of_the_weights(device, precision):
    try:
        model = bp.Model(bp.Linear(3), 3, device=device, dtype=precision, seed=0)
    except bp.InputError:
        pytest.skip(f"{device} has no {precision}")
    y = np.asarray(model.predict(X), np.float64)
    losses = np.log(np.exp(y).sum(axis=1)) - y[np.arange(12), CLASSES]
    correct = y.argmax(axis=1) == CLASSES
    settings = {"loss": CE, "metrics": [bp.Accuracy()]}
    for scale, rows in ((1e-9, 12), (257 / 256, 6), (1e5, 6)):
        weight = np.where(np.arange(12) < rows, scale, 1.0)
        measured = bp.evaluate(model, X, CLASSES, sample_weight=weight, batch_size=6, **settings)
        tolerance = 1e-5 if precision == "float32" else 2e-2
        assert measured["loss"] == pytest.approx(np.average(losses, weights=weight), rel=tolerance)
        accuracy = np.average(correct, weights=weight)
        assert measured["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    before = model.device.to_numpy(model.vector).copy()
    bp.fit(model, [(X, CLASSES, np.full(12, 1e-9))], optimizer=bp.SGD(0.1), **settings)
    assert not np.array_equal(model.device.to_numpy(model.vector), before)


@pytest.mark.parametrize("precision", ["float16", "float32", "float64"])
@pytest.mark.parametrize("scale", [1e-50, 1e50])
def test_weights_that_the_dtype_cannot_hold_are_refused_at_every_door(precision, scale):
    weight = np.ones(12)
    weight[3] = scale if precision != "float64" else scale**6.1
    model = bp.Model(bp.Linear(3), 3, device="cpu", dtype=precision, seed=0)
    train, arrays = {"loss": CE, "optimizer": bp.SGD(0.1)}, {"sample_weight": weight}
    for door in (
        lambda: bp.fit(model, X, CLASSES, **train, **arrays),
        lambda: bp.fit(model, X, CLASSES, **train, validation=(X, CLASSES, weight)),
        lambda: bp.fit(model, bp.data.Batches(X, CLASSES, weight), **train),
        lambda: bp.fit(model, [(X, CLASSES, weight)], **train),
        lambda: bp.evaluate(model, X, CLASSES, loss=CE, **arrays),
        lambda: bp.evaluate(model, [(X, CLASSES, weight)], loss=CE),
        lambda: bp.Trainer(model, **train).step(X, CLASSES, weight),
        lambda: model.gradients(X, CLASSES, CE, **arrays),
    ):
        with pytest.raises(
            bp.InputError, match=r"sample_weight\[3\]: expected 0, or .* as weights"
        ):
            door()
