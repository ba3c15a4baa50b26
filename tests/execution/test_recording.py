"""A recorded step does what the step does, to the last bit, in memory of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.activations import ACTIVATIONS
from bp_arrays.execution import Arena, NotRecordable, Program, StepRecorder, fast_numpy as lean


def record(function, *shapes, dtype="float64"):
    """The recorded function of arguments of these shapes, as a function of arrays."""
    recorder = StepRecorder()
    arguments = [recorder.argument(shape, dtype) for shape in shapes]
    result = function(*arguments)
    arena = Arena()
    program = Program(
        recorder.instructions,
        [],
        arguments=[a.slot for a in arguments],
        bound=[],
        results=[result.slot],
        written=[],
        arena=arena,
    )
    program.bind({})

    def replay(*arrays):
        program.forward(*arrays)
        return program.array(result.slot)

    replay.program, replay.arena = program, arena
    return replay


FUNCTIONS = {
    "arithmetic": lambda x, y: (x + 2.0) * y / (1.0 - x) - -y,
    "powers": lambda x, y: x**2 + abs(y) ** 0.5 + (x + 3.0) ** -1 + x**3,
    "one number": lambda x, y: lean.maximum(x, 0.1) + lean.minimum(0, y) + np.maximum(x.T, 2).T,
    "comparisons": lambda x, y: lean.where(x > 0.0, y, 0.0) + lean.where(x <= y, x, 1.0),
    "bits kept": lambda x, y: lean.where(x > 0.0, y * (x / 0.0), 0.0),
    "product": lambda x, y: (x @ y.T) @ x @ (x.T @ y),
    "sums": lambda x, y: lean.sum(x, axis=0) + lean.max(y, axis=-1, keepdims=True),
    "sum of all": lambda x, y: lean.sum(x) * lean.sum(y, axis=(0, 1)),
    "parts": lambda x, y: (x + y)[1:, ...] * (x * y)[:2, None, 1:3][:, 0, :1],
    "of arguments": lambda x, y: x[1:, ...].T @ y[:2, ...] + lean.reshape(x, (4, 3))[0, 0],
    "reshaped": lambda x, y: lean.reshape((x + y).T, (3, 4)) + lean.reshape(x * y, (3, 4)),
    "joined": lambda x, y: lean.concat([x, y + 1.0, x * 2.0], axis=0),
    "picked": lambda x, y: lean.take(x + y, np.array([2, 0, 0]), axis=0),
    "chosen": lambda x, y: x[np.array([0, 2])] + lean.argmax(y, axis=1)[:2, None],
    "converted": lambda x, y: lean.astype(x > y, x.dtype) + lean.astype(x, np.float32),
    "constants": lambda x, y: x * lean.arange(4, dtype=np.float64) + lean.zeros_like(y),
    "stretched": lambda x, y: lean.broadcast_to(lean.expand_dims(x[0, ...], axis=0), (3, 4)) - y,
    "rows": lambda x, y: sum((row for row in x), start=y[0, ...]),
    "other functions": lambda x, y: lean.tanh(x) + lean.logaddexp(x, y) + np.cumsum(x, axis=1),
    "matrices of matrices": lambda x, y: x[:, :, None] @ y[:, None, :],
    "turned": lambda x, y: lean.permute_dims(x, (1, 0)).mT + y,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_replayed_with_other_numbers(name):
    function, rng = FUNCTIONS[name], np.random.default_rng(0)
    with np.errstate(all="ignore"):
        replay = record(function, (3, 4), (3, 4))
        for _ in range(3):
            x, y = rng.normal(size=(2, 3, 4))
            copies = x.copy(), y.copy()
            expected, found = function(x, y), replay(x, y)
            assert found.dtype == expected.dtype and found.shape == expected.shape
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal((x, y), copies, "arguments are not written over")


def test_one_number_for_a_large_array():
    x = np.random.default_rng(0).normal(size=(300, 100))
    replay = record(lambda x: lean.maximum(x, 0.0), x.shape)
    np.testing.assert_array_equal(replay(x), np.maximum(x, 0.0))


def test_a_change_in_place_is_seen_under_every_name():
    def function(x, y):
        kept = x * 1.0
        z = kept
        z += y
        z *= z
        return z * kept

    x, y = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_array_equal(record(function, (3, 4), (3, 4))(x, y), function(x, y))


DEPENDS_ON_NUMBERS = {
    "a decision": lambda x: x if x[0, 0] > 0 else -x,
    "a number": lambda x: x * float(x[0, 0]),
    "an index": lambda x: x[int(x[0, 0]), ...],
    "a mask": lambda x: x[x > 0],
    "where it is": lambda x: np.nonzero(x)[0],
    "an array": lambda x: np.asarray(x),
    "a result elsewhere": lambda x: np.add(x, 1.0, out=np.empty((3, 4))),
    "a result of a function elsewhere": lambda x: np.clip(x, 0.0, 1.0, out=np.empty((3, 4))),
    "an argument changed": lambda x: x.__iadd__(1.0),
    "a view changed": lambda x: (x * 2.0)[0].__iadd__(1.0),
    "a viewed array changed": lambda x: (h := x * 2.0, h[0], h.__iadd__(1.0))[1],
    "changed to another shape": lambda x: (x[0] * 2.0).__iadd__(x),
    "two results": lambda x: np.modf(x)[0],
    "scattered": lambda x: np.add.at(x, [0], 1.0),
    "several arrays": lambda x: np.histogram(x)[0],
    "another size": lambda x: x.view(np.float32),
    "no product": lambda x: x @ x,
}


@pytest.mark.parametrize("name", DEPENDS_ON_NUMBERS)
def test_what_depends_on_the_numbers_is_refused(name):
    with pytest.raises(NotRecordable):
        DEPENDS_ON_NUMBERS[name](StepRecorder().argument((3, 4), "float64"))


def test_memory_is_used_again():
    def chain(x):
        for _ in range(50):
            x = lean.tanh(x * 2.0)
        return x

    replay = record(chain, (100, 10))
    assert sum(chunk.nbytes for chunk in replay.arena.chunks) == 100 * 10 * 8
    x = np.random.default_rng(0).normal(size=(100, 10))
    np.testing.assert_array_equal(replay(x), chain(x))


def test_what_nobody_reads_is_not_computed():
    def function(x):
        lean.exp(x)
        return x + 1.0

    assert "exp" not in record(function, (3,)).program.source


# -- whole steps -------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(45, 6)), RNG.integers(0, 3, 45)
LOSSES = {
    "CrossEntropy": (bp.CrossEntropy(), CLASSES),
    "smoothed": (bp.CrossEntropy(label_smoothing=0.1, class_weights=(1, 2, 3)), CLASSES),
    "probabilities": (bp.CrossEntropy(), np.eye(3)[CLASSES]),
    "BinaryCrossEntropy": (bp.BinaryCrossEntropy(), np.eye(3)[CLASSES]),
    "L2Loss": (bp.L2Loss(), RNG.normal(size=(45, 3))),
    "MeanSquaredError": (bp.MeanSquaredError(reduction="sum"), RNG.normal(size=(45, 3))),
    "MeanAbsoluteError": (bp.MeanAbsoluteError(), RNG.normal(size=(45, 3))),
    "Huber": (bp.Huber(), RNG.normal(size=(45, 3))),
}
NETS = {
    name: bp.Sequential(bp.Linear(5), kind(), bp.Linear(3)) for name, kind in ACTIVATIONS.items()
}
NETS |= {
    "one layer": bp.Linear(3),
    "deep": bp.Sequential(*[bp.Linear(3), bp.Tanh()] * 4, bp.Linear(3)),
    "dropout": bp.Sequential(bp.Linear(8), bp.Dropout(0.3), bp.ReLU(), bp.Linear(3)),
    "residual": bp.Sequential(bp.Residual(bp.Linear(6), bp.ReLU()), bp.Linear(3, bias=False)),
    "fixed": bp.Sequential(bp.Standardize(), bp.Flatten(), bp.Linear(3)),
}  # fmt: skip


def trained(net, loss, t, **settings):
    model = bp.Model(net, 6, device="cpu", dtype=settings.pop("dtype", "float32"), seed=3)
    history = bp.fit(
        model, X, t, loss=loss, optimizer=bp.Adam(0.01), epochs=2, batch_size=16, **settings
    )
    return model.vector, history


def compare(*of, **settings):
    """Train with replayed steps, and again operation by operation."""
    vector, series = trained(*of, **settings)
    assert series.compiled_by == "recorded step" and series.not_compiled == ""
    expected, its_series = trained(*of, compiled=False, **settings)
    assert its_series.compiled_by == ""
    np.testing.assert_array_equal(vector, expected)
    for name in series:
        if name != "seconds":
            np.testing.assert_allclose(series[name], its_series[name], rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(dtype, name):
    loss, t = LOSSES[name]
    metric = bp.R2() if loss.output_kind == "values" else bp.Accuracy()
    metrics = [bp.BinaryAccuracy() if isinstance(loss, bp.BinaryCrossEntropy) else metric]
    weight = RNG.uniform(size=45)
    net = NETS["Tanh"]
    compare(net, loss, t, metrics=metrics, dtype=dtype)
    compare(net, loss, t, sample_weight=weight, dtype=dtype)


@pytest.mark.parametrize("name", NETS)
def test_nets(dtype, name):
    compare(NETS[name], bp.CrossEntropy(), CLASSES, dtype=dtype)
    compare(NETS[name], bp.L2Loss(), RNG.normal(size=(45, 3)), dtype=dtype)


def test_the_penalty():
    penalty = bp.L2Penalty(0.1)
    compare(NETS["Tanh"], bp.CrossEntropy(), CLASSES, penalty=penalty)


def test_gradients_are_computed_where_they_are_needed():
    model = bp.Model(NETS["Tanh"], 6, device="cpu")
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01))
    trainer.step(X, CLASSES)
    [replayed] = trainer.runner.recorded.values()
    backward = replayed.program.source.partition("def backward")[2]
    assert backward.count("dot(") == 3  # no gradient of the first layer's input
    assert "copyto" not in backward


@dataclass(frozen=True)
class Noise(bp.Layer):
    """Not a function of what it is handed: draws on its own."""

    def forward(self, params, x, ctx):
        factor = 1.0 + 0.1 * np.random.default_rng().normal(size=x.shape[1])
        return x * factor, lambda delta: (delta * factor, {})


@dataclass(frozen=True)
class Double(bp.Layer):
    def forward(self, params, x, ctx):
        return 2.0 * x, lambda delta: (2.0 * delta, {})


@dataclass(frozen=True)
class Running(bp.Layer):
    """Keeps running means, of which the backward of the same step reads the old ones."""

    def init(self, input_shape):
        zeros, ones = (
            bp.Parameter(input_shape, kind(), trainable=False) for kind in (bp.Zeros, bp.Ones)
        )
        return {"mean": zeros, "scale": ones, "gain": bp.Parameter(input_shape, bp.Ones())}, (
            input_shape
        )

    def forward(self, params, x, ctx):
        xp, old = ctx.xp, params["mean"]
        m = xp.mean(x, axis=0)
        ctx.update_state(mean=0.9 * old + 0.1 * m, scale=xp.std(x, axis=0))
        d = x - old

        def backward(delta):  # reads the old state again
            return delta * params["gain"], {"gain": xp.sum(delta * (x - old), axis=0)}

        return d * params["gain"], backward


@dataclass(frozen=True)
class Mixing(bp.Layer):
    """Attention of the features to each other: batched products, moved axes, a masked softmax."""

    def forward(self, params, x, ctx):
        xp = ctx.xp
        n, width = x.shape
        z = xp.stack([x, xp.flip(x, axis=1), xp.clip(x, -1.0, 1.0)], axis=-1)
        q, k, v = xp.unstack(xp.moveaxis(xp.reshape(z, (n, 2, width // 2, 3)), -1, 0), axis=0)
        s = q @ xp.matrix_transpose(k)
        keep = xp.reshape(xp.arange(2), (2, 1)) >= xp.arange(2)
        s = xp.where(keep, s, float("-inf"))
        e = xp.exp(s - xp.max(s, axis=-1, keepdims=True))
        p = e / xp.sum(e, axis=-1, keepdims=True)
        y = xp.reshape(xp.matrix_transpose(p @ v), (n, width))
        y = xp.take(y, xp.argmax(y[:, :1], axis=0), axis=0) + xp.cumulative_sum(y, axis=1)
        return y, lambda delta: (xp.concat([delta[:, 1:], delta[:, :1]], axis=1), {})


@pytest.mark.parametrize("layer", [Running(), Mixing()])
def test_the_operations_of_layers_to_come(dtype, layer):
    t = RNG.normal(size=(48, 3))
    for size in (48, 6):
        net = bp.Sequential(bp.Linear(6), layer, bp.Linear(3))
        results = []
        for compiled in (True, False):
            model = bp.Model(net, 6, device="cpu", dtype=dtype, seed=3)
            history = bp.fit(
                model, X[:36], t[:36], loss=bp.L2Loss(), optimizer=bp.SGD(0.01), epochs=3,
                batch_size=size, compiled=compiled,
            )  # fmt: skip
            assert (history.compiled_by == "recorded step") == compiled, history.not_compiled
            results.append({name: np.array(value) for name, value in model.parameters.items()})
        for name, values in results[0].items():
            np.testing.assert_array_equal(values, results[1][name], name)


@pytest.mark.parametrize(("layer", "by"), [(Noise(), ""), (Double(), "recorded step")])
def test_a_custom_layer_is_replayed_only_if_that_gives_the_same_numbers(layer, by, caplog):
    caplog.set_level("INFO", "bp_arrays")
    net = bp.Sequential(bp.Linear(5), bp.Residual(layer), bp.Linear(3))
    _, history = trained(net, bp.CrossEntropy(), CLASSES)
    assert history.compiled_by == by
    assert ("with custom parts differs by" in history.not_compiled) == (by == "")
    assert [history.not_compiled in line for line in caplog.messages] == [True] * (by == "")


@dataclass(frozen=True, kw_only=True)
class Clipped(bp.Loss):
    """A loss whose residual is clipped by the standard's own function."""

    def per_sample(self, y, t, ctx):
        xp = ctx.xp
        r = xp.clip(y - t, -1.0, 1.0)
        return xp.sum(r * r, axis=1), lambda c: c * 2.0 * r


def test_a_loss_with_xp_clip_is_replayed_with_the_numbers_of_each_batch():
    compare(NETS["one layer"], Clipped(), RNG.normal(size=(45, 3)))


@dataclass(frozen=True)
class Alias(bp.Layer):
    """Changes a view of its result in place: a recording of values would miss it."""

    def forward(self, params, x, ctx):
        h = x * 1.0
        part = h[:, :2]
        part *= 3.0

        def backward(delta):
            dx = delta * 1.0
            dx[:, :2] *= 3.0
            return dx, {}

        return h, backward


@dataclass(frozen=True)
class Largest(bp.Metric):
    """A metric that changes between batches by itself."""

    calls = []  # noqa: RUF012
    name = "largest"

    def sums(self, y, t, ctx):
        self.calls.append(1)
        return (ctx.xp.max(y) * len(self.calls),)

    def value(self, sums):
        return float(sums[0])


CUSTOM = {
    "a view changed in place": (bp.Sequential(Alias(), bp.Linear(3)), bp.L2Loss(), []),
    "a metric that is no function": (NETS["one layer"], bp.L2Loss(), [Largest()]),
}


@pytest.mark.parametrize("name", CUSTOM)
def test_custom_parts_train_as_they_do_operation_by_operation(name):
    net, loss, metrics = CUSTOM[name]
    t = RNG.normal(size=(45, 3))
    vector, history = trained(net, loss, t, metrics=metrics)
    expected, by_operation = trained(net, loss, t, compiled=False)
    np.testing.assert_array_equal(vector, expected)
    np.testing.assert_allclose(history["loss"], by_operation["loss"], rtol=1e-6)
    assert history.not_compiled.startswith("steps run operation by operation")


def test_batches_of_many_shapes():
    model = bp.Model(NETS["Tanh"], 6, device="cpu")
    optimizer, other = bp.Adam(0.01), bp.Model(NETS["Tanh"], 6, device="cpu")
    for rows in range(1, 9):
        bp.fit(model, X[:rows], CLASSES[:rows], loss=bp.CrossEntropy(), optimizer=optimizer)
    optimizer = bp.Adam(0.01)
    for rows in range(1, 9):
        bp.fit(
            other, X[:rows], CLASSES[:rows], loss=bp.CrossEntropy(), optimizer=optimizer,
            compiled=False,
        )  # fmt: skip
    np.testing.assert_array_equal(model.vector, other.vector)
