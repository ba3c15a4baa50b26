"""Covers: training nets of several outputs: CombinedLoss, OutputMetric, targets, every runner."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(5)
N = 40
X = {"left": RNG.normal(size=(N, 5)), "right": RNG.normal(size=(N, 2))}
T = {"kind": RNG.integers(0, 3, N), "size": RNG.normal(size=(N, 1))}
WEIGHT = RNG.uniform(0.5, 2.0, N)
LOSS = bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": bp.L2Loss()}, weights={"size": 0.5})
NET = bp.Sequential(
    bp.Parallel(left=bp.Sequential(bp.Linear(4), bp.Tanh()), right=bp.Linear(3)),
    bp.Concatenate(),
    bp.Parallel(kind=bp.Linear(3), size=bp.Sequential(bp.Tanh(), bp.Linear(1)), rest=bp.Linear(2)),
)
PAIR_LOSS = bp.CombinedLoss((bp.CrossEntropy(), bp.L2Loss()), weights=(1.0, 0.5))


def make(device="cpu", dtype="float32", net=NET):
    return bp.Model(net, {"left": 5, "right": 2}, device=device, dtype=dtype, seed=2)


def train(model, x=X, t=T, **more):
    settings = {"loss": LOSS, "optimizer": bp.SGD(0.2), "batch_size": 8, "shuffle": False}
    return bp.fit(model, x, t, **settings | more)


def rows(tree, span):
    return {name: array[span] for name, array in tree.items()}


def losses_of_pytorch(model, epochs):
    """The losses of each epoch of SGD by torch.autograd in float64, from the model's weights."""
    torch = pytest.importorskip("torch")
    w = {name: torch.tensor(v, requires_grad=True) for name, v in model.parameters.items()}

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    losses = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, N, 8):
            x, t = (rows(tree, slice(start, start + 8)) for tree in (X, T))
            left = torch.tanh(linear(torch.tensor(x["left"]), "0.left.0"))
            h = torch.cat([left, linear(torch.tensor(x["right"]), "0.right")], dim=1)
            kind, size = linear(h, "2.kind"), linear(torch.tanh(h), "2.size.1")
            loss = torch.nn.functional.cross_entropy(kind, torch.tensor(t["kind"]))
            loss = loss + 0.5 * (0.5 * (size - torch.tensor(t["size"])) ** 2).sum(1).mean()
            for parameter in w.values():
                parameter.grad = None
            loss.backward()
            with torch.no_grad():
                for parameter in w.values():
                    if parameter.grad is not None:
                        parameter -= 0.2 * parameter.grad
            total += loss.item() * 8
        losses.append(total / N)
    return losses, {name: v.detach().numpy() for name, v in w.items()}


@pytest.mark.parametrize("compiled", [True, False])
def test_twenty_steps_are_those_of_pytorch(device, compiled):
    expected, parameters = losses_of_pytorch(make("cpu", "float64"), epochs=4)
    model = make(device)
    history = train(model, epochs=4, compiled=compiled)
    assert not history.not_compiled
    assert history["loss"] == pytest.approx(expected, rel=1e-5)
    for name, value in model.host_parameters().items():
        np.testing.assert_allclose(value, parameters[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_twenty_steps_are_those_of_pytorch_in_float64():
    expected, parameters = losses_of_pytorch(make("cpu", "float64"), epochs=4)
    model = make("cpu", "float64")
    history = train(model, epochs=4)
    assert history.compiled_by == "recorded step"
    assert history["loss"] == pytest.approx(expected, rel=1e-13)
    for name, value in model.host_parameters().items():
        np.testing.assert_allclose(value, parameters[name], rtol=1e-11, atol=1e-13)


def test_the_loss_of_each_output_and_its_metrics_are_recorded(device):
    metrics = [bp.OutputMetric("kind", bp.Accuracy()), bp.OutputMetric("size", bp.R2())]
    model = make(device)
    history = train(model, validation=(X, T), metrics=metrics, epochs=2)
    names = {"kind_loss", "size_loss", "kind_accuracy", "size_r2"}
    assert names | {f"val_{name}" for name in names} <= set(history)
    parts = np.array(history["kind_loss"]) + 0.5 * np.array(history["size_loss"])
    np.testing.assert_allclose(history["loss"], parts, rtol=1e-6)
    values = bp.evaluate(model, X, T, loss=LOSS, metrics=metrics)
    assert {f"val_{k}": v for k, v in values.items()} == pytest.approx(
        {f"val_{k}": history[f"val_{k}"][-1] for k in values}, rel=1e-5
    )
    y = model.predict(X)
    assert list(y) == ["kind", "size", "rest"]
    assert values["kind_accuracy"] == pytest.approx(np.mean(y["kind"].argmax(1) == T["kind"]))


def test_predictions_of_batches_are_joined(device):
    model = make(device)
    whole, parts = model.predict(X), model.predict(X, batch_size=7)
    for name, output in whole.items():
        assert parts[name].shape == output.shape
        np.testing.assert_allclose(parts[name], output, atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_every_source_of_the_same_batches_trains_alike(device, compiled):
    spans = [slice(start, start + 8) for start in range(0, N, 8)]
    batches = [(rows(X, span), rows(T, span), WEIGHT[span]) for span in spans]
    moved = {"kind": T["kind"], "size": device.asarray(T["size"].astype(np.float32))}
    settings = {"compiled": compiled, "epochs": 2}
    histories = [
        train(make(device), sample_weight=WEIGHT, **settings),
        train(make(device), t=moved, sample_weight=WEIGHT, **settings),
        bp.fit(make(device), batches, loss=LOSS, optimizer=bp.SGD(0.2), **settings),
        bp.fit(
            make(device),
            bp.data.Batches(X, T, WEIGHT, batch_size=8, shuffle=False),
            loss=LOSS,
            optimizer=bp.SGD(0.2),
            **settings,
        ),
    ]
    trainer = bp.Trainer(make(device), loss=LOSS, optimizer=bp.SGD(0.2), compiled=compiled)
    steps = [trainer.step(*batch) for _ in range(2) for batch in batches]
    for history in histories[1:]:
        assert history["loss"] == pytest.approx(histories[0]["loss"], rel=1e-6)
    weights = np.array([batch[2].sum() for batch in batches])
    by_hand = [np.average(steps[:5], weights=weights), np.average(steps[5:], weights=weights)]
    assert histories[0]["loss"] == pytest.approx(by_hand, rel=1e-5)


def test_shuffled_targets_stay_with_their_samples(device):
    histories = [
        bp.fit(make(name), X, T, loss=LOSS, optimizer=bp.SGD(0.2), epochs=2)
        for name in ("cpu", device)
    ]
    assert histories[1]["loss"] == pytest.approx(histories[0]["loss"], rel=1e-5)


def test_targets_on_disk_are_read_batch_by_batch(device, tmp_path):
    mapped = {}
    for name, array in T.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    one, other = train(make(device)), train(make(device), t=mapped)
    assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)


def test_outputs_may_be_a_tuple(device):
    net = bp.Sequential(bp.Concatenate(), bp.Parallel(bp.Linear(3), bp.Linear(1)))
    model = make(device, net=net)
    metrics = [bp.OutputMetric(0, bp.Accuracy())]
    t = (T["kind"], T["size"])
    history = train(model, t=t, loss=PAIR_LOSS, metrics=metrics, epochs=2)
    assert {"0_loss", "1_loss", "0_accuracy"} <= set(history)
    assert [y.shape for y in model.predict(X)] == [(N, 3), (N, 1)]
    value, gradients = model.gradients(X, t, PAIR_LOSS)
    assert np.isfinite(float(value)) and set(gradients) == set(model.parameters)


def test_one_target_per_row_is_accepted_for_one_output():
    one = train(make(), t={"kind": T["kind"], "size": T["size"][:, 0]})
    assert one["loss"] == train(make())["loss"]


def test_an_output_may_ignore_targets():
    loss = bp.CombinedLoss({"kind": bp.CrossEntropy(ignore_index=-1), "size": bp.L2Loss()})
    kinds = np.where(np.arange(N) < 12, -1, T["kind"])  # none counts in the first batch
    history = train(make(), t=T | {"kind": kinds}, loss=loss)
    assert np.isfinite(history["kind_loss"][0]) and np.isfinite(history["loss"][0])


@dataclass(frozen=True)
class Cubes(bp.Loss):
    """A loss of the user."""

    def per_sample(self, y, t, ctx):
        r = ctx.xp.abs(y - t)
        return ctx.xp.sum(r**3, axis=-1), lambda c: 3.0 * c * (y - t) * r


def test_a_custom_loss_may_be_one_of_them(device):
    loss = bp.CombinedLoss({"kind": bp.CrossEntropy(), "size": Cubes()})
    compiled, plain = (train(make(device), loss=loss, compiled=each) for each in (True, False))
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-5)


def test_a_diagnosis_shows_the_layers_of_every_output():
    diagnosis = bp.Diagnosis(X, T, LOSS)
    train(make(), callbacks=[diagnosis])
    paths = {health.path for health in diagnosis.last}
    assert {"0.left.0", "2.kind", "2.size.1"} <= paths
    assert "2.rest" not in paths  # it receives no error


def test_a_loss_that_is_not_finite_names_the_layer():
    model = make()
    model.set_parameters({"2.size.1.weight": np.full((7, 1), 1e30)})
    with pytest.raises(bp.NonFiniteLossError, match="come from the loss CombinedLoss"):
        train(model, t=T | {"size": T["size"] * 1e30})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": bp.L2Loss()}, "a CombinedLoss for a dict of kind, size, rest, the outputs"),
        ({"loss": PAIR_LOSS}, "a net whose output is a tuple of 2, got a dict of kind"),
        ({"t": T["kind"]}, "t: expected a dict of kind, size, got one array"),
        ({"t": {"kind": T["kind"]}}, "but 'size' is missing"),
        ({"t": T | {"seize": T["size"]}}, "unknown output with a loss 'seize': did you mean"),
        ({"t": T | {"kind": T["kind"] + 1}}, r"output 'kind': t\[\d+\]: expected classes 0 to 2"),
        ({"t": T | {"size": T["size"][:9]}}, "output 'size': t: expected targets for the 40 rows"),
        ({"t": T | {"size": np.ones((N, 2))}}, r"output 'size': L2Loss\(t=\): expected the shape"),
        ({"metrics": [bp.Accuracy()]}, r"write OutputMetric\('kind', Accuracy\(\)\)"),
        ({"metrics": [bp.OutputMetric("rest", bp.R2())]}, "an output with a loss, got 'kind'"),
        ({"metrics": [bp.OutputMetric("kind", bp.R2())]}, "output 'kind': R2: expected outputs"),
        ({"sample_weight": np.ones((N, 3))}, r"sample_weight: expected shape \(40,\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(arguments, message):
    with pytest.raises(bp.InputError, match=message) as raised:
        train(make(), **arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make_loss", "message"),
    [
        (lambda: bp.CombinedLoss({}), "a dict or a tuple of losses"),
        (lambda: bp.CombinedLoss(bp.L2Loss()), "a dict or a tuple of losses"),
        (lambda: bp.CombinedLoss({"a": bp.L2Loss}), r"write L2Loss\(\)"),
        (lambda: bp.CombinedLoss({"a": LOSS}), "a loss of one output"),
        (lambda: bp.CombinedLoss({"a": bp.L2Loss()}, {"b": 1.0}), "unknown output 'b'"),
        (lambda: bp.CombinedLoss({"a": bp.L2Loss()}, {"a": -1.0}), ">= 0"),
        (lambda: bp.CombinedLoss((bp.L2Loss(),), (0.0,)), "one of them > 0"),
        (lambda: bp.CombinedLoss((bp.L2Loss(),), (1.0, 2.0)), "a dict, or 1 numbers"),
        (
            lambda: bp.CombinedLoss((bp.L2Loss(), bp.L2Loss(reduction="sum"))),
            "the same reduction",
        ),
        (lambda: bp.OutputMetric(1.5, bp.R2()), "a name or a position"),
        (lambda: bp.OutputMetric("a", bp.R2), r"write R2\(\)"),
    ],
)
def test_a_loss_of_several_outputs_is_checked_when_it_is_made(make_loss, message):
    with pytest.raises(bp.InputError, match=message):
        make_loss()


def test_a_loss_must_name_outputs_of_the_net():
    loss = bp.CombinedLoss({"kind": bp.CrossEntropy(), "sise": bp.L2Loss()})
    with pytest.raises(bp.InputError, match="unknown output 'sise': did you mean 'size'"):
        train(make(), loss=loss)


def test_a_metric_of_an_output_needs_several():
    model = bp.Model(bp.Linear(1), 5, device="cpu")
    with pytest.raises(bp.InputError, match="expected an output with a loss, got one output"):
        bp.evaluate(
            model,
            X["left"],
            T["size"],
            loss=bp.L2Loss(),
            metrics=[bp.OutputMetric("size", bp.R2())],
        )


def test_tools_for_one_output_say_so():
    net = bp.Parallel(a=bp.Linear(2), b=bp.Linear(1))
    model = bp.Model(net, 3, device="cpu")
    for call in (
        lambda: bp.explain(model, [1.0, 2.0, 3.0], [0.0], bp.L2Loss()),
        model.to_torch,
    ):
        with pytest.raises(bp.InputError, match=r"one output, got .* a dict of a, b; end the net"):
            call()


def test_explain_refuses_a_fan_out_inside_a_net():
    net = bp.Sequential(bp.Parallel(bp.Linear(2), bp.Tanh()), bp.Concatenate(), bp.Linear(1))
    model = bp.Model(net, 3, device="cpu")
    with pytest.raises(bp.InputError, match=r"layer 0 \(Parallel\) returns a tuple of 2") as raised:
        bp.explain(model, [1.0, 2.0, 3.0], [0.0], bp.L2Loss())
    assert "\n" not in str(raised.value)


def test_several_outputs_are_exported_to_onnx(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = make()
    model.to_onnx(tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    names = [output.name for output in session.get_outputs()]
    x = {name: array.astype(np.float32) for name, array in X.items()}
    outputs = dict(zip(names, session.run(None, x), strict=True))
    for name, expected in model.predict(X).items():
        np.testing.assert_allclose(outputs[f"output_{name}"], expected, atol=1e-5)


def test_a_combined_loss_has_a_hash_and_can_be_replaced():
    loss = bp.CombinedLoss({"a": bp.L2Loss(), "b": bp.Huber()}, {"b": 0.5})
    other = bp.CombinedLoss({"b": bp.Huber(), "a": bp.L2Loss()})
    assert hash(loss) == hash(bp.CombinedLoss({"a": bp.L2Loss(), "b": bp.Huber()}, [1.0, 0.5]))
    changed = dataclasses.replace(loss, weights=(1.0, 1.0))
    assert changed.losses == loss.losses and changed.weights == (1.0, 1.0)
    assert changed == other and hash(changed) == hash(other)
    summed = bp.CombinedLoss((bp.L2Loss(reduction="sum"),))
    assert dataclasses.replace(summed).reduction == "sum"
