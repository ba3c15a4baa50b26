"""Layers of layers: the walk over them, and what a user's own container can do without more.

Covers: Layer.parts, Context.forward, walk; and with containers: Model, fit, gradients, summary, the
non-finite report, Diagnosis, explain, files, ONNX, PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from layers.containers import CONTAINERS, Branches, Encoder, Stack, branches
from oracles import check_layer_backward

import bp_arrays as bp
from bp_arrays.layers import walk
from bp_arrays.training import Diagnosis

X = np.random.default_rng(0).normal(size=(40, 5))

every_container = pytest.mark.parametrize("net", CONTAINERS.values(), ids=CONTAINERS)


def model_of(net, device="cpu", dtype="float64", seed=0):
    return bp.Model(net, 5, device=device, dtype=dtype, seed=seed)


# -- the walk --------------------------------------------------------------------------------


def listed(net, *shape):
    return [
        (node.path, type(node.layer).__name__, node.input_shape, node.output_shape)
        for node in walk(net, *shape)
    ]


def test_the_walk_yields_every_layer_with_its_path_and_its_shapes():
    block = bp.Residual(bp.Linear(4), bp.Tanh(), bp.Linear(3))
    net = bp.Sequential(bp.Flatten(), block, bp.Residual(bp.Linear(3)))
    assert listed(net, (1, 3)) == [
        ("", "Sequential", (1, 3), (3,)),
        ("0", "Flatten", (1, 3), (3,)),
        ("1", "Residual", (3,), (3,)),
        ("1", "Sequential", (3,), (3,)),
        ("1.0", "Linear", (3,), (4,)),
        ("1.1", "Tanh", (4,), (4,)),
        ("1.2", "Linear", (4,), (3,)),
        ("2", "Residual", (3,), (3,)),
        ("2", "Linear", (3,), (3,)),
    ]


def test_the_walk_hears_the_shapes_from_a_containers_own_init():
    assert listed(Encoder(5, 3), (5,)) == [
        ("", "Encoder", (5,), (3,)),
        ("block", "Residual", (5,), (5,)),
        ("block", "Sequential", (5,), (5,)),
        ("block.0", "Linear", (5,), (5,)),
        ("block.1", "Tanh", (5,), (5,)),
        ("block.2", "Linear", (5,), (5,)),
        ("out", "Linear", (5,), (3,)),
    ]


def test_one_layer_in_two_places_has_the_shapes_of_each():
    dense = bp.Linear(3)
    net = bp.Sequential(dense, dense, Branches(dense, dense))
    assert listed(net, (2,))[1:] == [
        ("0", "Linear", (2,), (3,)),
        ("1", "Linear", (3,), (3,)),
        ("2", "Branches", (3,), (6,)),
        ("2.left", "Linear", (3,), (3,)),
        ("2.right", "Linear", (3,), (3,)),
    ]


@every_container
def test_the_walk_finds_every_parameter_once(net):
    model = model_of(net)
    found = [
        f"{node.path}.{name}" if node.path else name
        for node in walk(net, (5,))
        for name in node.parameters
    ]
    assert sorted(found) == sorted(model.parameters)


def test_without_a_shape_the_walk_yields_paths_and_layers():
    assert [(path, kind) for path, kind, _, _ in listed(branches())] == [
        ("", "Branches"), ("left", "Sequential"), ("left.0", "Linear"), ("left.1", "Sigmoid"),
        ("right", "Sequential"), ("right.0", "Linear"), ("right.1", "Tanh"),
    ]  # fmt: skip
    assert {node.output_shape for node in walk(branches())} == {None}


def test_parts_that_are_not_layers_by_name_are_refused():
    class Wrong(bp.Identity):
        def parts(self):
            return [bp.Tanh()]

    with pytest.raises(bp.InputError, match=r"Wrong.parts\(\): expected a dict of layers by name"):
        list(walk(Wrong()))


@dataclass(frozen=True)
class Silent(bp.Layer):
    """Has a part, but knows its shape without asking it."""

    part: bp.Layer

    def parts(self):
        return {"part": self.part}

    def forward(self, params, x, ctx):
        return ctx.forward("part", self.part, params, x)


def test_a_shape_that_a_container_does_not_ask_for_is_unknown():
    assert listed(Silent(bp.Tanh()), (2,)) == [
        ("", "Silent", (2,), (2,)),
        ("part", "Tanh", None, None),
    ]
    assert "part   Tanh    (batch, ?)" in str(
        bp.Model(Silent(bp.Tanh()), 2, device="cpu").summary()
    )


# -- running a part --------------------------------------------------------------------------


def test_a_visit_runs_each_layer_with_its_path_and_its_own_parameters():
    seen = []

    def visit(layer, params, x, ctx):
        seen.append((".".join(ctx.path), type(layer).__name__, sorted(params)))
        return layer.forward(params, x, ctx)

    model = model_of(CONTAINERS["in Sequential in Residual"])
    context = bp.Context(np, visit=visit)
    y, _ = context.forward("", model.net, model.tree(), X)
    np.testing.assert_array_equal(y, model.predict(X))
    assert seen == [
        ("", "Sequential", ["0", "1"]),
        ("0", "Residual", ["0", "1"]),
        ("0", "Sequential", ["0", "1"]),
        ("0.0", "Branches", ["left", "right"]),
        ("0.0.left", "Sequential", ["0"]),
        ("0.0.left.0", "Linear", ["bias", "weight"]),
        ("0.0.left.1", "Sigmoid", []),
        ("0.0.right", "Sequential", ["0"]),
        ("0.0.right.0", "Linear", ["bias", "weight"]),
        ("0.0.right.1", "Tanh", []),
        ("0.1", "Linear", ["bias", "weight"]),
        ("1", "Linear", ["bias", "weight"]),
    ]


def test_a_visit_may_compute_something_else():
    def visit(layer, params, x, ctx):
        y, backward = layer.forward(params, x, ctx)
        return (0.0 * y if ctx.path == ("1", "left") else y), backward

    model = model_of(CONTAINERS["branches"])
    context = bp.Context(np, visit=visit)
    y, _ = context.forward("", model.net, model.tree(), X)
    values = model.host_parameters()
    weight = values["2.weight"].copy()
    weight[:3] = 0.0
    model.set_parameters({"2.weight": weight})
    np.testing.assert_allclose(y, model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("asked", [True, False])
def test_a_part_is_told_whether_its_input_gradient_is_used(asked):
    def visit(layer, params, x, ctx):
        seen[".".join(ctx.path)] = ctx.needs_input_gradient
        return layer.forward(params, x, ctx)

    seen = {}
    net = bp.Sequential(bp.Residual(bp.Tanh(), bp.Linear(5)), bp.Linear(2))
    model = model_of(net)
    context = bp.Context(np, visit=visit)
    context.forward("", net, model.tree(), X, needs_input_gradient=asked)
    assert seen == {"": asked, "0": asked, "0.0": asked, "0.1": asked, "1": True}


@pytest.mark.parametrize("parts", [{}, {"inner": bp.Tanh()}], ids=["none", "another"])
def test_layers_that_a_container_runs_by_itself_are_seen_from_outside(parts):
    """Their paths would be wrong: the container has not told their names."""

    @dataclass(frozen=True)
    class Closed(bp.Layer):
        inner: bp.Layer

        def parts(self):
            return parts

        def init(self, input_shape):
            specification, shape = self.inner.init(input_shape)
            return {"inner": specification}, shape

        def forward(self, params, x, ctx):
            y, backward = self.inner.forward(params["inner"], x, ctx)

            def closed_backward(delta):
                dx, gradients = backward(delta)
                return dx, {"inner": gradients}

            return y, closed_backward

    seen = []

    def visit(layer, params, x, ctx):
        seen.append((".".join(ctx.path), type(layer).__name__))
        return layer.forward(params, x, ctx)

    net = bp.Sequential(Closed(bp.Sequential(bp.Linear(3), bp.Tanh())), bp.Linear(1))
    model = model_of(net)
    bp.Context(np, visit=visit).forward("", net, model.tree(), X)
    assert seen == [("", "Sequential"), ("0", "Closed"), ("1", "Linear")]
    assert bp.explain(model, X[0], [0.0], bp.L2Loss()).layers[0].kind == "Closed"


# -- what a container of one's own can do ----------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@every_container
def test_the_backward_of_a_container_against_central_differences(net, batch):
    check_layer_backward(net, (5,), batch)


@every_container
def test_containers_train_alike_on_every_device(net, device):
    t = np.zeros((40, model_of(net).output_shape[0]))
    models = [model_of(net), model_of(net, device)]
    for model in models:
        settings = {"optimizer": bp.Adam(0.01), "epochs": 2, "batch_size": 16}
        history = bp.fit(model, X, t, loss=bp.MeanSquaredError(), **settings)
        assert history["loss"][1] < history["loss"][0]
    ours, theirs = (model.host_parameters() for model in models)
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-9, atol=1e-12)


def test_the_summary_shows_what_is_in_a_container():
    assert str(model_of(CONTAINERS["branches"]).summary()) == (
        "layer                output      parameters\n"
        "-------------------------------------------\n"
        "0          Linear    (batch, 4)          24\n"
        "1          Branches  (batch, 5)           0\n"
        "1.left.0   Linear    (batch, 3)          15\n"
        "1.left.1   Sigmoid   (batch, 3)           0\n"
        "1.right.0  Linear    (batch, 2)          10\n"
        "1.right.1  Tanh      (batch, 2)           0\n"
        "2          Linear    (batch, 2)          12\n"
        "-------------------------------------------\n"
        "61 trainable parameters, float64, on cpu"
    )


@every_container
def test_the_rows_of_a_summary_add_up_to_its_total(net):
    model = model_of(net)
    assert sum(row.parameters for row in model.summary().rows) == model.parameter_count


class Poison(bp.Layer):
    """A gain for each feature, and NaN of one particular value."""

    def init(self, input_shape):
        return {"gain": bp.Parameter(input_shape, bp.Ones())}, input_shape

    def forward(self, params, x, ctx):
        xp, g = ctx.xp, params["gain"]
        nan = xp.full(x.shape, float("nan"), dtype=x.dtype, device=ctx.device)

        def backward(delta):
            return delta * g, {"gain": xp.sum(delta * x, axis=0)}

        return xp.where(x == 77.0, nan, g * x), backward


@pytest.mark.parametrize(
    ("net", "where"),
    [
        (bp.Sequential(bp.Identity(), Branches(bp.Sequential(Poison()), bp.Tanh())), "1.left.0"),
        (bp.Sequential(bp.Identity(), Branches(bp.Tanh(), Poison())), "1.right"),
        (bp.Residual(bp.Identity(), Branches(bp.Linear(3), bp.Sequential(Poison(), bp.Linear(2)))),
         "1.right.0"),
        (Stack(bp.Residual(Poison())), "step0"),
        (bp.Residual(Poison()), "net"),
    ],
    ids=["left", "right", "residual", "stack", "root"],
)  # fmt: skip
def test_a_loss_that_is_not_finite_is_traced_to_the_inner_layer(net, where, device):
    model = model_of(net, device)
    x = X.copy()
    x[7, 2] = 77.0
    t = np.zeros((40, *model.output_shape))
    with pytest.raises(bp.NonFiniteLossError, match=rf"come from layer {where} \(Poison\)"):
        bp.fit(model, x, t, loss=bp.L2Loss(), optimizer=bp.SGD(0.1), shuffle=False)


def test_a_container_whose_own_arithmetic_overflows_is_named_itself():
    class Overflow(Branches):
        def forward(self, params, x, ctx):
            y, backward = super().forward(params, x, ctx)
            return 1e300 * (1e300 * y), backward

    model = model_of(Overflow(bp.Linear(1), bp.Linear(1)))
    with pytest.raises(bp.NonFiniteLossError, match=r"come from layer net \(Overflow\)"):
        bp.fit(model, X, np.zeros((40, 2)), loss=bp.L2Loss(), optimizer=bp.SGD(0.1))


@every_container
def test_a_diagnosis_looks_into_a_container(net, device):
    """The root mean square of the gradients that `Model.gradients` gives for the same samples."""
    model = model_of(net, device)
    t = np.zeros((40, *model.output_shape))
    _, gradients = model.gradients(X, t, bp.L2Loss(), training=False)
    host = {name: device.to_numpy(gradient) for name, gradient in gradients.items()}
    diagnosis = Diagnosis(X, t, bp.L2Loss())
    bp.fit(model, X, t, loss=bp.L2Loss(), optimizer=bp.SGD(1e-3), callbacks=[diagnosis])
    first = [health for health in diagnosis.layers if health.epoch == 0]
    kinds = {node.path or "net": node for node in walk(net, (5,)) if node.parameters}
    for path, node in kinds.items():
        prefix = "" if path == "net" else f"{path}."
        own = np.concatenate([host[prefix + name].ravel() for name in node.parameters])
        [health] = [h for h in first if (h.path, h.kind) == (path, type(node.layer).__name__)]
        assert health.gradient == pytest.approx(np.sqrt((own**2).mean()), rel=1e-9)
    shown = [health.path for health in first]
    leaves = [n.path or "net" for n in walk(net) if not n.parts]
    assert [path for path in shown if path in leaves] == leaves


def test_a_branch_that_dies_is_named():
    class Down(bp.Zeros):
        def draw(self, shape, rng):
            return np.full(shape, -100.0)

    left = bp.Sequential(bp.Linear(8, bias_init=Down()), bp.ReLU())
    net = bp.Sequential(Branches(left, bp.Linear(3)), bp.Linear(1))
    diagnosis = Diagnosis(X, np.zeros((40, 1)), bp.L2Loss())
    settings = {"loss": bp.L2Loss(), "optimizer": bp.SGD(1e-3), "callbacks": [diagnosis]}
    bp.fit(model_of(net), X, np.zeros((40, 1)), **settings)
    assert any("layer 0.left.1 (ReLU) has dead units" in words for words in diagnosis.findings())


@every_container
def test_an_explanation_agrees_with_backward_in_a_container(net):
    model = model_of(net, seed=3)
    explanation = bp.explain(model, X[0], np.zeros(model.output_shape), bp.L2Loss())
    assert explanation.largest_difference() < 1e-8
    for name, gradient in explanation.gradients.items():
        rule = explanation.weight(name, *[1] * gradient.ndim)
        assert rule.value == pytest.approx(rule.computed, rel=1e-6, abs=1e-8)
    assert "<html" in explanation.to_html()


def test_an_explanation_shows_the_layers_in_a_container():
    model = model_of(CONTAINERS["branches"])
    explanation = bp.explain(model, X[0], [0.0, 0.0], bp.L2Loss())
    container = explanation.layers[1]
    assert [layer.path for layer in container.inner] == [
        "1.left.0", "1.left.1", "1.right.0", "1.right.1",
    ]  # fmt: skip
    outputs = [layer.output for layer in container.inner if layer.path.endswith("1")]
    np.testing.assert_array_equal(np.concatenate(outputs), container.output)
    deltas = [layer.delta for layer in container.inner if layer.path.endswith("1")]
    np.testing.assert_allclose(np.concatenate(deltas), container.delta, rtol=1e-12)
    text = explanation.to_text()
    assert "(Branches has no formula here: its derivatives are measured)" in text
    assert "layer 1.left.0 (Linear) = [" in text and "∂L/∂(layer 1.right.1, Tanh) = [" in text


def test_layers_one_after_the_other_are_explained_as_a_chain_whoever_wrote_them():
    layers = (bp.Linear(4), bp.Sigmoid(), bp.Linear(2))
    ours, theirs = (
        bp.explain(model_of(net, seed=1), X[0], [0.0, 1.0], bp.L2Loss())
        for net in (bp.Sequential(*layers), Stack(*layers))
    )
    assert [layer.written for layer in theirs.layers] == [layer.written for layer in ours.layers]
    assert theirs.weight("step2.weight", 1, 1).text.startswith("∂L/∂u₁₁ = (y₁ − t₁)·h₁")


OWN = [Branches, Encoder, Stack]


@every_container
def test_a_container_comes_back_from_a_file(net, tmp_path):
    model = model_of(net)
    model.save(tmp_path / "m.safetensors")
    again = bp.load(tmp_path / "m.safetensors", device="cpu", layers=OWN)
    assert again.net == model.net
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(bp.DataError, match=r"load\(path, layers=\["):
        bp.load(tmp_path / "m.safetensors", device="cpu")


@every_container
def test_onnx_runtime_computes_what_a_container_does(net, dtype, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = model_of(net, dtype=dtype)
    path, x = str(tmp_path / "m.onnx"), X.astype(dtype)
    model.to_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [y] = session.run(["output"], {"input": x})
    tolerance = 64 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y, model.predict(x), rtol=tolerance, atol=tolerance)


def test_the_nodes_of_an_onnx_file_bear_the_paths_of_their_layers(tmp_path):
    onnx = pytest.importorskip("onnx")
    model_of(CONTAINERS["branches"]).to_onnx(tmp_path / "m.onnx")
    names = [node.name for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert names == [
        "0.Gemm", "1.left.0.Gemm", "1.left.1.Sigmoid", "1.right.0.Gemm", "1.right.1.Tanh",
        "1.Concat", "2.Gemm",
    ]  # fmt: skip


class Sorted(bp.Layer):
    def forward(self, params, x, ctx):
        return ctx.xp.sort(x, axis=-1), None


def test_an_inner_layer_that_onnx_lacks_is_named_with_its_path(tmp_path):
    pytest.importorskip("onnx")
    net = bp.Sequential(Branches(bp.Tanh(), bp.Sequential(Sorted())), bp.Linear(2))
    message = r"^Sorted cannot be written as ONNX, layer 0.right.0: xp.sort has no counterpart"
    with pytest.raises(bp.InputError, match=message):
        model_of(net).to_onnx(tmp_path / "m.onnx")

    def write(layer, params, x, graph):  # descending twice, to be an operator of its own
        return graph.node("Identity", x)

    model_of(net).to_onnx(tmp_path / "m.onnx", operators={Sorted: write})
    assert (tmp_path / "m.onnx").exists()


def test_a_container_that_pytorch_lacks_is_named_with_its_path():
    pytest.importorskip("torch")
    net = bp.Sequential(bp.Linear(4), bp.Sequential(bp.Tanh(), branches()))
    with pytest.raises(bp.InputError, match=r"^PyTorch has no module for Branches, layer 1.1; "):
        model_of(net).to_torch()


def test_dropout_draws_the_same_masks_wherever_it_stands():
    """The first layer that draws gets the first draw: as Sequential, in order, side by side."""
    net = Branches(bp.Dropout(0.5), bp.Dropout(0.5))
    model = model_of(net)
    context = model.context(training=True, needs_input_gradient=True, step=4)
    ones = np.ones((3, 5))
    y, _ = net.forward({}, ones, context)
    again = model.context(training=True, needs_input_gradient=True, step=4)
    masks = [again.random.keep_mask((3, 5), 0.5)[0] for _ in range(2)]
    np.testing.assert_array_equal(y, 2.0 * np.concatenate(masks, axis=-1))


def test_a_watched_pass_draws_the_same_masks_as_an_unwatched_one():
    net = bp.Sequential(bp.Dropout(0.5), bp.Residual(bp.Dropout(0.3)), branches())
    model = model_of(net)

    def output(visit):
        context = model.context(training=True, needs_input_gradient=True, step=2)
        return replace(context, visit=visit).forward("", net, model.tree(), X)[0]

    np.testing.assert_array_equal(
        output(lambda layer, params, x, ctx: layer.forward(params, x, ctx)), output(None)
    )


@dataclass(frozen=True)
class Remember(bp.Layer):
    """Keeps the mean of the last batch, and lets everything through."""

    def init(self, input_shape):
        return {"mean": bp.Parameter(input_shape, bp.Zeros(), trainable=False)}, input_shape

    def forward(self, params, x, ctx):
        if ctx.training:
            ctx.update_state(mean=ctx.xp.mean(x, axis=0))
        return x, lambda delta: (delta, {})


def test_layers_in_containers_change_their_own_state(device):
    net = bp.Sequential(
        Remember(),
        bp.Residual(Remember()),
        bp.Residual(bp.Identity(), Remember()),
        Branches(Remember(), bp.Sequential(bp.Identity(), Remember())),
        bp.Linear(1),
    )
    model = model_of(net, device)
    settings = {"loss": bp.L2Loss(), "optimizer": bp.SGD(1e-3), "batch_size": 40}
    bp.fit(model, X, np.zeros((40, 1)), **settings)
    values = model.host_parameters()
    for name, factor in {
        "0.mean": 1.0, "1.mean": 1.0, "2.1.mean": 2.0, "3.left.mean": 4.0, "3.right.1.mean": 4.0,
    }.items():  # fmt: skip
        np.testing.assert_allclose(values[name], factor * X.mean(axis=0), rtol=1e-12)
