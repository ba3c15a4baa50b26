"""The chain rule of a convolution, written out; other layers on images and sequences, measured."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp

RNG = np.random.default_rng(0)
IMAGE, SIGNAL = RNG.normal(size=(5, 4, 2)), RNG.normal(size=(6, 4))

CONVOLUTIONS = {
    "valid": (bp.Conv2d(3, 2), IMAGE),
    "settings": (bp.Conv2d(4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2)), IMAGE),
    "groups": (bp.Conv2d(4, 2, groups=2, bias=False), IMAGE),
    "same": (bp.Conv2d(2, (2, 3), stride=2, padding="same"), IMAGE),
    "sides": (bp.Conv2d(1, 2, padding=((0, 1), (2, 0))), IMAGE),
    "signal": (bp.Conv1d(3, 3, padding=(2, 0)), SIGNAL),
    "signal, groups": (bp.Conv1d(4, 2, stride=2, dilation=2, groups=2), SIGNAL),
}


def explanation_of(*layers, x):
    net = bp.Sequential(*layers, bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, x.shape, device="cpu", dtype="float64", seed=1)
    return bp.explain(model, x, 1, bp.CrossEntropy())


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_weight_of_a_convolution_is_derived(name):
    """The first convolution is met by the error of the second, and gives its own weights."""
    layer, x = CONVOLUTIONS[name]
    second = bp.Conv2d(2, 2) if x.ndim == 3 else bp.Conv1d(2, 2)
    explanation = explanation_of(layer, bp.Tanh(), second, x=x)
    shape = layer.init(x.shape)[0]["weight"].shape
    for at in np.ndindex(shape):
        rule = explanation.weight("0.weight", *(n + 1 for n in at))
        assert rule.value == pytest.approx(rule.computed, rel=1e-11, abs=1e-14)
        assert rule.value == pytest.approx(rule.numeric, rel=1e-6, abs=1e-9)
    if layer.bias:
        for channel in range(1, shape[-1] + 1):
            rule = explanation.weight("0.bias", channel)
            assert rule.value == pytest.approx(rule.computed, rel=1e-11, abs=1e-14)


POOLS = {
    "largest": (bp.MaxPool2d(), IMAGE),
    "overlapping": (bp.MaxPool2d((3, 2), stride=1, padding="same", dilation=(1, 2)), IMAGE),
    "of a signal": (bp.MaxPool1d(3, stride=2, padding=1), SIGNAL),
    "mean": (bp.AveragePool2d(2, padding=1), IMAGE),
    "with padding": (bp.AveragePool2d((2, 3), stride=1, padding="same", count_padding=True), IMAGE),
    "mean of a signal": (bp.AveragePool1d(2), SIGNAL),
}


@pytest.mark.parametrize("name", POOLS)
def test_pooling_is_written_out(name):
    layer, x = POOLS[name]
    first = bp.Conv2d(2, 1) if x.ndim == 3 else bp.Conv1d(2, 1)
    explanation = explanation_of(first, layer, x=x)
    assert explanation.largest_difference() < 1e-13
    assert "measured" not in explanation.to_text()
    for at in np.ndindex(explanation.gradients["0.weight"].shape):
        rule = explanation.weight("0.weight", *(n + 1 for n in at))
        assert rule.value == pytest.approx(rule.computed, rel=1e-11, abs=1e-14)
        where = [term.value for text, term in rule.where.items() if text.startswith("∂L/∂z")]
        assert where and all(np.isfinite(where))


def test_the_error_of_a_maximum_goes_to_the_first_of_equal_values():
    x = np.ones((2, 2, 1))
    explanation = explanation_of(bp.MaxPool2d(), x=x)
    assert explanation.stages[0].back(np.array([2.0])).tolist() == [2.0, 0.0, 0.0, 0.0]
    assert explanation.stages[0].factors(1) == []


def test_it_is_the_sum_of_the_errors_times_the_values_under_the_weight():
    x = np.arange(9.0).reshape(3, 3, 1) / 10
    rule = explanation_of(bp.Conv2d(1, 2), x=x).weight("0.weight", 1, 2, 1, 1)
    first = rule.text.splitlines()[0]
    # a 2 x 2 kernel has 4 positions; its second column is on x₂, x₃, x₅ and x₆
    assert first == ("∂L/∂0.weight[1,2,1,1] = [∂L/∂z₁·x₂ + ∂L/∂z₂·x₃ + ∂L/∂z₃·x₅ + ∂L/∂z₄·x₆]")


def test_the_largest_terms_of_a_long_sum_are_shown():
    rule = explanation_of(bp.Conv2d(2, 2), x=IMAGE).weight("0.weight", 1, 1, 1, 1)
    assert "(6 smaller terms)" in rule.text


def test_a_net_of_images_has_a_page_and_a_text():
    explanation = explanation_of(bp.Conv2d(1, 2), bp.ReLU(), x=RNG.normal(size=(3, 3, 1)))
    for text in (explanation.to_text(), explanation.to_latex(), explanation.to_html()):
        assert "0.weight" in text
    pooled = explanation_of(bp.Conv2d(3, 2), bp.BatchNorm(), bp.MaxPool2d(), x=IMAGE)
    assert "0.weight (2, 2, 2, 3)" in pooled.to_text()


@pytest.mark.parametrize(
    ("layer", "name", "at"),
    [
        (bp.MultiHeadAttention(2, rotary=True), "0.qkv.weight", (1, 2)),
        (bp.LSTM(3), "0.input_weight", (2, 3)),
        (bp.LayerNorm(), "0.scale", (2,)),
        (bp.TransformerBlock(2), "0.norm1.scale", (3,)),
    ],
)
def test_layers_without_a_formula_are_measured(layer, name, at):
    explanation = explanation_of(layer, x=SIGNAL)
    rule = explanation.weight(name, *at)
    assert rule.value == pytest.approx(rule.computed, rel=1e-6, abs=1e-9)
    assert "central differences" in explanation.to_text()
