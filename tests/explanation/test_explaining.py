"""Covers: derivations: those of the notes, and of every activation, loss and net."""

from __future__ import annotations

import re

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.activations import ACTIVATIONS
from bp_arrays.explanation._images import images_of
from bp_arrays.explanation._stages import LinearStage
from bp_arrays.losses import LOSSES

# nets of all kinds, some with an activation that the loss applies too
pytestmark = pytest.mark.filterwarnings("ignore::bp_arrays.BpArraysWarning")

RNG = np.random.default_rng(0)


def notes_net(seed=0, **settings):
    net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(2), bp.Sigmoid())
    model = bp.Model(net, 2, device="cpu", seed=seed)
    return bp.explain(model, [0.05, 0.35], [0.0175, 0.3825], bp.L2Loss(), **settings)


def scale_of(explanation):
    """The largest gradient; where the loss is flat, all gradients are rounding errors of 0.

    Outputs of Softmax sum to 1: the mean absolute error is flat where all y > t, or all y < t.
    """
    return max(1e-3, *(float(np.max(np.abs(g))) for g in explanation.gradients.values()))


def check(explanation, most=40, limit=1e-12):
    """Every gradient by arrays; some weights of every parameter term by term."""
    assert explanation.largest_difference() < limit
    rng = np.random.default_rng(1)
    scale = scale_of(explanation)
    for name, gradient in explanation.gradients.items():
        places = list(np.ndindex(gradient.shape))
        for at in [places[k] for k in rng.permutation(len(places))[:most]]:
            rule = explanation.weight(name, *(i + 1 for i in at))
            assert rule.computed == gradient[at]
            assert rule.value == pytest.approx(rule.computed, rel=1e-9, abs=limit * scale)
            assert rule.numeric == pytest.approx(rule.computed, rel=1e-5, abs=1e-7 * scale)


def test_w11_is_written_as_in_the_notes():
    rule = notes_net().weight("0.weight", 1, 1)
    first, numbers, collapsed, *_ = rule.text.splitlines()
    assert first == (
        "∂L/∂w₁₁ = [(y₁ − t₁)·y₁·(1 − y₁)·u₁₁ + (y₂ − t₂)·y₂·(1 − y₂)·u₁₂]·h₁·(1 − h₁)·x₁"
    )
    assert "(0.3354 − 0.0175)·0.3354·(1 − 0.3354)·(−0.6472)" in numbers
    assert collapsed.strip() == "= (−0.05344)·0.551·0.449·0.05"
    assert rule.value == pytest.approx(-0.000661005985, rel=1e-8)
    assert r"\frac{\partial L}{\partial w_{11}} &= \left[(y_{1} - t_{1}) \, y_{1}" in rule.latex


def test_the_numbers_in_the_text_are_those_of_the_net():
    """The derivation worked out by hand, index by index, from the model's own numbers."""
    explanation = notes_net()
    p = explanation.model.parameters
    w, b, u, c = (p[name] for name in ("0.weight", "0.bias", "2.weight", "2.bias"))
    x, t = np.array([0.05, 0.35]), np.array([0.0175, 0.3825])
    h = 1 / (1 + np.exp(-(x @ w + b)))
    y = 1 / (1 + np.exp(-(h @ u + c)))
    for i in range(2):
        for j in range(3):
            expected = (
                sum((y[k] - t[k]) * y[k] * (1 - y[k]) * u[j, k] for k in range(2))
                * h[j]
                * (1 - h[j])
                * x[i]
            )
            assert explanation.weight("0.weight", i + 1, j + 1).value == pytest.approx(expected)
    output, hidden = explanation.layers[3], explanation.layers[1]
    np.testing.assert_allclose(output.output, y)
    np.testing.assert_allclose(output.delta, y - t)
    np.testing.assert_allclose(hidden.slope, h * (1 - h))
    np.testing.assert_allclose(explanation.layers[2].delta, (y - t) * y * (1 - y))
    values = explanation.layers[0]
    np.testing.assert_allclose(
        values.updated["0.weight"], w - 0.1 * explanation.gradients["0.weight"]
    )


def test_biases_and_output_weights():
    explanation = notes_net()
    bias = explanation.weight("2.bias", 2)
    assert bias.text.startswith("∂L/∂b⁽²⁾₂ = (y₂ − t₂)·y₂·(1 − y₂)\n")
    weight = explanation.weight("2.weight", 3, 1)
    assert weight.text.startswith("∂L/∂u₃₁ = (y₁ − t₁)·y₁·(1 − y₁)·h₃\n")
    check(explanation)


def targets(loss, outputs):
    if loss.takes_classes:
        return 1
    return RNG.uniform(0.1, 0.9, size=outputs) + (0.3 if isinstance(loss, bp.Huber) else 0.0)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_every_loss(activation, loss):
    act, loss = ACTIVATIONS[activation](), LOSSES[loss]()
    net = bp.Sequential(bp.Linear(4), act, bp.Linear(3), act)
    model = bp.Model(net, 5, device="cpu", seed=3)
    check(bp.explain(model, RNG.normal(size=5) * 2, targets(loss, 3), loss), most=6)


@pytest.mark.parametrize(
    "loss",
    [
        bp.CrossEntropy(label_smoothing=0.1),
        bp.CrossEntropy(class_weights=(1.0, 2.0, 3.0)),
        bp.CrossEntropy(class_weights=(1.0, 2.0, 3.0), reduction="sum"),
        bp.Huber(0.2),
        bp.BinaryCrossEntropy(pos_weight=3.0),
        bp.BinaryCrossEntropy(pos_weight=(0.5, 1.0, 2.0)),
        bp.MeanSquaredError(reduction="sum"),
    ],
)
def test_losses_with_settings(loss):
    model = bp.Model(bp.Sequential(bp.Linear(4), bp.GELU(exact=True), bp.Linear(3)), 5, seed=1)
    check(bp.explain(model, RNG.normal(size=5), targets(loss, 3), loss))
    if loss.takes_classes:
        check(bp.explain(model, RNG.normal(size=5), [0.2, 0.5, 0.3], loss))


@pytest.mark.parametrize(("c", "symbols"), [(3.0, "ccc"), ((0.5, 1.5, 2.0), ["c₁", "c₂", "c₃"])])
def test_the_weight_of_the_positives_is_not_called_w(c, symbols):
    """w is the weight of the layer in the same printout."""
    model = bp.Model(bp.Sequential(bp.Linear(2), bp.Linear(3)), 2, device="cpu", seed=1)
    text = str(bp.explain(model, [1.0, 2.0], [1.0, 0.0, 1.0], bp.BinaryCrossEntropy(pos_weight=c)))
    assert "w = 0.weight" in text and "Σ (c t log σ(y)" in text and "w·t" not in text
    for symbol, t, value in zip(symbols, ("t₁", "t₂", "t₃"), np.broadcast_to(c, 3), strict=True):
        assert f" − {symbol}·{t})" in text and f" − {value:g}·" in text


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("settings", "t"),
    [
        ({"class_weights": (0.0, 1.0, 2.0)}, 0),
        ({"class_weights": (0.0, 1.0, 2.0), "label_smoothing": 0.1}, 0),
        ({"class_weights": (0.0, 1.0, 2.0)}, [1.0, 0.0, 0.0]),
        ({"ignore_index": 1}, 1),
        ({"ignore_index": -100}, -100),
        ({"ignore_index": -100, "class_weights": (0.0, 1.0, 2.0)}, 2),
    ],
)
def test_a_sample_that_does_not_count_has_no_gradient(reduction, settings, t):
    loss = bp.CrossEntropy(**settings, reduction=reduction)
    model = bp.Model(bp.Sequential(bp.Linear(4), bp.Tanh(), bp.Linear(3)), 5, seed=1)
    explanation = bp.explain(model, RNG.normal(size=5), t, loss)
    check(explanation)
    assert (explanation.weight("2.weight", 1, 1).value == 0.0) == (t != 2)


@pytest.mark.parametrize(
    ("loss", "t"),
    [(bp.CrossEntropy(), 1), (bp.L2Loss(), [0.5, 1.0]), (bp.BinaryCrossEntropy(), [1, 0])],
)
def test_a_batch_of_one_is_a_sample(loss, t):
    model = bp.Model(bp.Linear(2), 3, device="cpu", seed=0)
    sample = bp.explain(model, [1.0, 2.0, 3.0], t, loss)
    batch = bp.explain(model, [[1.0, 2.0, 3.0]], [t], loss)
    assert batch.to_text() == sample.to_text()


class Cube(bp.Layer):
    """A layer nobody has written a formula for."""

    def init(self, input_shape):
        return {"scale": bp.Parameter(input_shape, bp.Ones())}, input_shape

    def forward(self, params, a, ctx):
        s = params["scale"]

        def backward(delta):
            return 3.0 * delta * s * a * a, {"scale": ctx.xp.sum(delta * a * a * a, axis=0)}

        return s * a * a * a, backward


class Fourth(bp.Loss):
    def per_sample(self, y, t, ctx):
        r = y - t
        return ctx.xp.sum(r**4, axis=1), lambda c: c * 4.0 * r**3


NETS = {
    "one layer": bp.Linear(2),
    "no bias": bp.Sequential(bp.Linear(3, bias=False), bp.Tanh(), bp.Linear(2, bias=False)),
    "four layers": bp.Sequential(
        *(part for n in (6, 5, 4) for part in (bp.Linear(n), bp.Tanh())), bp.Linear(2)
    ),
    "standardized": bp.Sequential(bp.Standardize(), bp.Linear(3), bp.SiLU(), bp.Linear(2)),
    "dropout": bp.Sequential(bp.Linear(3), bp.Dropout(0.5), bp.ReLU(), bp.Linear(2)),
    "softmax inside": bp.Sequential(bp.Linear(3), bp.Softmax(), bp.Linear(2), bp.LogSoftmax()),
    "nested": bp.Sequential(bp.Sequential(bp.Linear(3), bp.Tanh()), bp.Sequential(bp.Linear(2))),
    "residual": bp.Sequential(
        bp.Residual(bp.Linear(3), bp.Tanh(), bp.Linear(4)), bp.Linear(2), bp.Sigmoid()
    ),
    "residual of one": bp.Sequential(bp.Linear(3), bp.Residual(bp.Linear(3)), bp.Linear(2)),
    "own layer": bp.Sequential(bp.Linear(3), Cube(), bp.Linear(2)),
    "residual last": bp.Sequential(bp.Linear(2), bp.Residual(bp.Linear(2), bp.Tanh())),
    "residual alone": bp.Sequential(bp.Residual(bp.Linear(4)), bp.Linear(2)),
    "residual inside": bp.Sequential(
        bp.Residual(bp.Tanh(), bp.Residual(bp.Linear(4), bp.GELU()), bp.Linear(4)), bp.Linear(2)
    ),
    "wide residual": bp.Sequential(
        bp.Linear(12), bp.Residual(bp.ReLU(), bp.Linear(12)), bp.Softmax(), bp.Linear(2)
    ),
}


def test_a_sweep_of_depths_activations_and_losses():
    """Every explained gradient, term by term, against the computed one: 1 to 5 Linear layers."""
    rng, worst, checked = np.random.default_rng(7), 0.0, 0
    for depth in range(1, 6):
        for activation in ACTIVATIONS.values():
            for loss_type in LOSSES.values():
                loss, parts = loss_type(), []
                for _ in range(depth):
                    parts += [bp.Linear(3), activation()]
                model = bp.Model(bp.Sequential(*parts), 2, device="cpu", seed=depth)
                t = 1 if loss.takes_classes else rng.uniform(0.1, 0.9, size=3)
                explanation = bp.explain(model, rng.normal(size=2), t, loss)
                scale = scale_of(explanation)
                for name, gradient in explanation.gradients.items():
                    for at in np.ndindex(gradient.shape):
                        rule = explanation.weight(name, *(i + 1 for i in at))
                        worst = max(worst, abs(rule.value - rule.computed) / scale)
                        checked += 1
    assert checked > 10_000
    print(f"{checked} gradients, largest difference {worst:.1e} of the largest of their net")
    assert worst < 1e-13


@pytest.mark.parametrize("name", NETS)
def test_nets_of_every_shape(name):
    model = bp.Model(NETS[name], 4, device="cpu", seed=5)
    # where there is no formula the derivative is measured, not written
    limit = 1e-8 if name == "own layer" else 1e-12
    check(bp.explain(model, RNG.normal(size=4), RNG.normal(size=2), bp.L2Loss()), limit=limit)


def test_weights_inside_a_block_say_where_their_error_comes_from():
    model = bp.Model(NETS["residual"], 4, device="cpu", seed=5)
    explanation = bp.explain(model, RNG.normal(size=4), RNG.normal(size=2), bp.L2Loss())
    rule = explanation.weight("0.2.weight", 1, 1)
    assert rule.text.startswith("∂L/∂w⁽²⁾₁₁ = ∂L/∂z₁·")
    assert re.search("  with ∂L/∂z₁ = .*·w⁽³⁾₁₁", rule.text)  # by the weights above the block
    for symbol, term in rule.where.items():
        known = {t.text: t.value for t in rule.expression.tokens() if not isinstance(t, str)}
        if symbol in known:
            assert term.value == pytest.approx(known[symbol], rel=1e-12)


class Split(bp.Layer):
    """A layer of one's own whose parameters are a tree, with an underscore in a name."""

    def init(self, input_shape):
        return {"inner": {"scale_of": bp.Parameter(input_shape, bp.Ones())}}, input_shape

    def forward(self, params, a, ctx):
        s = params["inner"]["scale_of"]

        def backward(delta):
            return delta * s, {"inner": {"scale_of": ctx.xp.sum(delta * a, axis=0)}}

        return s * a, backward


def test_parameters_in_a_tree_are_found():
    net = bp.Sequential(bp.Linear(3), Split(), bp.Linear(2))
    model = bp.Model(net, 4, device="cpu", seed=5)
    explanation = bp.explain(model, RNG.normal(size=4), RNG.normal(size=2), bp.L2Loss())
    rule = explanation.weight("1.inner.scale_of", 2)
    assert rule.value == pytest.approx(rule.computed, rel=1e-7)
    assert r"scale\_of" in rule.latex and "1.inner.scale_of[2]" in rule.text


def test_a_loss_of_ones_own():
    model = bp.Model(NETS["four layers"], 4, device="cpu", seed=5)
    explanation = bp.explain(model, RNG.normal(size=4), RNG.normal(size=2), Fourth())
    assert "∂L/∂y₁" in explanation.weight("6.weight", 1, 1).text
    assert explanation.largest_difference() < 1e-6


def test_images_are_flattened():
    net = bp.Sequential(bp.Flatten(), bp.Linear(3), bp.ReLU(), bp.Linear(2))
    model = bp.Model(net, (3, 2), device="cpu", seed=2)
    check(bp.explain(model, RNG.normal(size=(3, 2)), 0, bp.CrossEntropy()))


def test_deep_nets_are_written_layer_by_layer():
    model = bp.Model(NETS["four layers"], 4, device="cpu", seed=5)
    rule = bp.explain(model, RNG.normal(size=4), RNG.normal(size=2), bp.L2Loss()).weight(
        "0.weight", 1, 1
    )
    assert rule.text.startswith("∂L/∂w⁽¹⁾₁₁ = [δ⁽²⁾₁·w⁽²⁾₁₁ + δ⁽²⁾₂·w⁽²⁾₁₂")
    assert "with δ⁽³⁾₄ = " in rule.text


def test_what_is_written_is_latex():
    """One superscript on each symbol, no prime but ', no number as 1e-05; checked with KaTeX."""
    model = bp.Model(NETS["wide residual"], 4, device="cpu", seed=5)
    tiny = bp.explain(model, 1e-6 * RNG.normal(size=4), RNG.normal(size=2), bp.L2Loss())
    latex = tiny.to_latex() + tiny.weight("1.1.weight", 1, 1).latex
    assert "′" not in latex and "−" not in latex and "·" not in latex
    assert r" \cdot 10^{-" in latex and not re.search(r"\de-\d", latex)
    deep = bp.explain(
        bp.Model(NETS["four layers"], 4, device="cpu"), np.ones(4), [1, 2], bp.L2Loss()
    )
    assert r"{h^{(1)}_{1}}^2" in deep.weight("0.weight", 1, 1).latex


def test_long_sums_say_how_much_they_leave_out():
    model = bp.Model(bp.Sequential(bp.Linear(30), bp.Tanh(), bp.Linear(20)), 4, device="cpu")
    rule = bp.explain(model, RNG.normal(size=4), 3, bp.CrossEntropy()).weight("0.weight", 1, 1)
    assert "(14 smaller terms)" in rule.text
    assert rule.value == pytest.approx(rule.computed, rel=1e-12)


def test_the_model_stays_as_it_was_and_may_be_anywhere(device):
    net = bp.Sequential(bp.Linear(3), bp.Tanh(), bp.Linear(2))
    model = bp.Model(net, 4, device=device, seed=0)
    before = model.host_parameters()
    explanation = bp.explain(model, device.asarray(RNG.normal(size=4)), [0.1, 0.2], bp.L2Loss())
    assert explanation.largest_difference() < 1e-12
    for name, value in model.host_parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_slips_of_the_notes_are_named_where_they_matter():
    text = notes_net().to_text()
    assert "Two slips of the notes are corrected" in text
    assert "δ of a hidden unit" in text
    other = bp.explain(bp.Model(bp.Linear(2), 2), [1.0, 2.0], 1, bp.CrossEntropy())
    assert "slips" not in other.to_text()


def test_the_faces_hold_every_layer():
    explanation = notes_net(eta=0.5)
    text, latex = explanation.to_text(), explanation.to_latex()
    assert "a⁽¹⁾ = xw + b⁽¹⁾ = [" in text and "y = Sigmoid(a⁽²⁾) = [0.3354, 0.2974]" in text
    assert "η = 0.5" in text and "2.weight (3, 2)" in text
    assert "δ⁽²⁾ = ∂L/∂a⁽²⁾ = [0.07087, −0.01778]" in text
    assert "local derivative ∂h/∂a⁽¹⁾ = [0.2474, 0.2493, 0.241]" in text
    assert "w = 0.weight (2, 3)" in text and "L = ½ Σ (y − t)² = " in text
    # forward, backward, updates, and a chain rule for each of the two layers
    assert latex.count(r"\begin{aligned}") == latex.count(r"\end{aligned}") == 5
    assert r"\delta^{(1)} = \frac{\partial L}{\partial a^{(1)}}" in latex
    assert r"\text{0.weight} &\leftarrow" in latex
    assert sum(stage.layer.__class__ is bp.Linear for stage in explanation.stages) == 2
    assert isinstance(explanation.stages[0], LinearStage)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: bp.explain(m, [1.0, 2.0, 3.0], [0, 0], bp.L2Loss()), r"one sample of shape"),
        (
            lambda m: bp.explain(m, np.ones((5, 2)), [0, 0], bp.L2Loss()),
            r"pass one of several samples as x\[3\]",
        ),
        (lambda m: bp.explain(m, [1.0, np.nan], [0, 0], bp.L2Loss()), "expected finite numbers"),
        (lambda m: bp.explain(m, [1.0, 2.0], [0, np.inf], bp.L2Loss()), "expected finite numbers"),
        (lambda m: bp.explain(m, [1.0, 2.0], [0, 0, 0], bp.L2Loss()), r"shape \(2,\), got \(3,\)"),
        (lambda m: bp.explain(m, [1.0, 2.0], 1, bp.L2Loss()), "expected a target"),
        (lambda m: bp.explain(m, [1.0, 2.0], 7, bp.CrossEntropy()), "7"),
        (lambda m: bp.explain(m, [1.0, 2.0], [0, 0], "mse"), "expected a loss"),
        (lambda m: bp.explain("m", [1.0, 2.0], [0, 0], bp.L2Loss()), "expected a bp.Model"),
        (
            lambda m: bp.explain(m, [1.0, 2.0], [0, 0], bp.L2Loss(), eta=0.0),
            "expected a finite number > 0",
        ),
        (
            lambda m: bp.explain(m, [1.0, 2.0], [0, 0], bp.L2Loss(), eta="1"),
            "expected a finite number > 0",
        ),
        (lambda m: bp.explain(m, ["a", "b"], [0, 0], bp.L2Loss()), "real numbers"),
        (
            lambda m: bp.explain(m, [1e308, 1e308], [0, 0], bp.L2Loss()),
            "the output of layer 0 .Linear. is not finite",
        ),
        (lambda m: bp.explain(m, [1e200, 1e200], [0, 0], bp.L2Loss()), "the loss of this sample"),
    ],
)
def test_bad_input_is_told(call, message):
    model = bp.Model(bp.Linear(2), 2, device="cpu")
    model.set_parameters({"weight": np.full((2, 2), 2.0)})
    with pytest.raises(bp.InputError, match=message):
        call(model)


def test_a_learning_rate_may_be_a_numpy_number():
    assert notes_net(eta=np.float32(0.5)).eta == 0.5


def test_the_first_weight_with_a_gradient_is_written_out():
    """Of an image whose first pixels are black the chain rule of w₁₁ is 0, and says nothing."""
    model = bp.Model(bp.Linear(2), 3, device="cpu", seed=0)
    explanation = bp.explain(model, [0.0, 0.0, 1.0], [1.0, 1.0], bp.L2Loss())
    assert explanation.first_weight == ("weight", (3, 1))
    assert "∂L/∂w₃₁ = (y₁ − t₁)·x₃" in explanation.to_text()


@pytest.mark.parametrize(
    ("name", "indices", "message"),
    [
        ("0.wight", (1, 1), "did you mean '0.weight'"),
        ("0.weight", (0, 1), "expected indices 1 to 2, 1 to 3, counted from 1, .* got 0, 1"),
        ("0.weight", (3, 1), "got 3, 1"),
        ("0.weight", (1,), "got 1"),
        ("0.bias", (), "got none"),
    ],
)
def test_weights_that_are_not_there_are_told(name, indices, message):
    with pytest.raises(bp.InputError, match=message):
        notes_net().weight(name, *indices)


def test_parameters_that_are_not_trained_or_not_finite_are_told():
    model = bp.Model(NETS["standardized"], 4, device="cpu")
    explanation = bp.explain(model, np.ones(4), np.ones(2), bp.L2Loss())
    with pytest.raises(bp.InputError, match="expected a trained parameter"):
        explanation.weight("0.mean", 1)
    model.set_parameters({"1.weight": np.full((4, 3), np.inf)})
    with pytest.raises(bp.InputError, match=r"expected finite parameters, but 1\.weight"):
        bp.explain(model, np.ones(4), np.ones(2), bp.L2Loss())


@pytest.mark.parametrize("layer", [bp.Softmax(), bp.LogSoftmax()], ids=repr)
def test_softmax_acts_on_each_position(layer):
    net = bp.Sequential(bp.Linear(2), layer, bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, (3, 4), device="cpu", dtype="float64", seed=1)
    x = np.random.default_rng(0).normal(size=(3, 4))
    explanation = bp.explain(model, x, [0.5, -0.5], bp.L2Loss())
    assert explanation.largest_difference() < 1e-13
    for at in np.ndindex(4, 2):
        rule = explanation.weight("0.weight", at[0] + 1, at[1] + 1)
        assert rule.value == pytest.approx(rule.computed, rel=1e-11, abs=1e-14)


def test_a_scale_per_feature_is_that_of_each_position():
    net = bp.Sequential(bp.Standardize(), bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, (3, 2), device="cpu", dtype="float64", seed=1)
    model.set_parameters({"0.scale": [2.0, 5.0]})
    x = np.random.default_rng(0).normal(size=(3, 2))
    explanation = bp.explain(model, x, [0.5, -0.5], bp.L2Loss())
    assert explanation.weight("2.weight", 2, 1).text


def test_weights_have_the_names_that_are_printed():
    e = notes_net()
    for printed, name, *at in [
        ("w11", "0.weight", 1, 1), ("w₂₃", "0.weight", 2, 3), ("u_32", "2.weight", 3, 2),
        ("u3,2", "2.weight", 3, 2), ("b(1)3", "0.bias", 3), ("b⁽²⁾₁", "2.bias", 1),
    ]:  # fmt: skip
        assert e.weight(printed).text == e.weight(name, *at).text
    assert e.weight("u", 3, 2).text == e.weight("2.weight", 3, 2).text
    layers = [layer for n in (12, 5, 3) for layer in (bp.Linear(n), bp.Tanh())]
    deep = bp.explain(bp.Model(bp.Sequential(*layers), 11, device="cpu"), np.ones(11),
                      np.zeros(3), bp.L2Loss())  # fmt: skip
    assert deep.weight("w(1)11,12").text == deep.weight("0.weight", 11, 12).text
    assert deep.weight("w⁽³⁾₅₃").text == deep.weight("4.weight", 5, 3).text
    for name, message in [
        ("w11", r"one of w\(1\), b\(1\), w\(2\), .* with its indices"),
        ("w(1)112", "a comma between the indices"),
        ("w(1)", "expected indices 1 to 11, 1 to 12"),
        ("w(2)99", "expected indices 1 to 12, 1 to 5"),
    ]:
        with pytest.raises(bp.InputError, match=message):
            deep.weight(name)


def test_outputs_have_the_names_of_their_classes():
    model = bp.Model(bp.Linear(3), 2, device="cpu", seed=0)
    names = ["setosa", "versicolor", "virginica"]
    e = bp.explain(model, [1.0, 2.0], 1, bp.CrossEntropy(), class_names=names)
    assert e.output_names == tuple(names) and e.target_class == "versicolor"
    assert "t = [1], the class versicolor\n" in e.to_text()
    assert bp.explain(model, [1.0, 2.0], 1, bp.CrossEntropy()).target_class == ""
    for wrong in (names[:2], "abc", 3):
        with pytest.raises(bp.InputError, match="a name for each of the 3 outputs"):
            bp.explain(model, [1.0, 2.0], 1, bp.CrossEntropy(), class_names=wrong)


def test_only_the_net_of_the_notes_tells_of_their_slips():
    assert "Two slips of the notes" in notes_net().to_text()
    net = bp.Sequential(bp.Linear(2), bp.Sigmoid(), bp.Linear(1), bp.Sigmoid())
    xor = bp.explain(bp.Model(net, 2, device="cpu"), [0.0, 1.0], [1.0], bp.L2Loss())
    assert "slips" not in xor.to_text() and "slips" not in xor.to_html()


def test_images_hold_the_sample_its_derivative_and_the_weights():
    """By the model's own forward and backward."""
    net = bp.Sequential(bp.Standardize(), bp.Linear(20), bp.ReLU(), bp.Linear(3))
    model = bp.Model(net, 12, device="cpu", dtype="float64", seed=0)
    x = RNG.uniform(size=12)
    e = bp.explain(model, x, 2, bp.CrossEntropy(), image_shape=(3, 4))
    images = images_of(e)
    assert images["shape"] == [3, 4, 1] and np.allclose(images["x"], x, rtol=1e-2)
    y, backward = model.forward(x[None])
    dx, _ = backward(bp.CrossEntropy()(y, [2])[1])
    first, *units = images["signed"]
    np.testing.assert_allclose(first["values"], dx[0], rtol=1e-2)
    assert len(units) == 12
    for image in units:
        column = model.parameters["1.weight"][:, int(image["unit"]) - 1]
        np.testing.assert_allclose(image["values"], column, rtol=1e-2)


def test_what_is_an_image():
    def shape(*input_shape, **settings):
        model = bp.Model(bp.Sequential(bp.Flatten(), bp.Linear(1)), input_shape, device="cpu")
        return bp.explain(model, np.ones(input_shape), [1.0], bp.L2Loss(), **settings).image_shape

    assert shape(4, 5, 1) == (4, 5, 1) and shape(4, 5, 3) == (4, 5, 3)
    assert shape(4, 5, 2) is None and shape(12) is None and shape(4, 5) is None
    assert shape(12, image_shape=(2, 2, 3)) == (2, 2, 3)
    for wrong in ((3, 5), 12, (12,), (2, 3, 2), (0, 4), (3.0, 4)):
        with pytest.raises(bp.InputError, match=r"image_shape=\): expected \(height, width\)"):
            shape(12, image_shape=wrong)
