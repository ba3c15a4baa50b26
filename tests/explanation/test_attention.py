"""The chain rule of attention, and of Linear layers at every position of a sequence."""

from __future__ import annotations

import re

import numpy as np
import pytest

import bp_arrays as bp

SEQUENCE = np.random.default_rng(0).normal(size=(3, 4))

ATTENTIONS = {
    "two heads": bp.MultiHeadAttention(2),
    "causal": bp.MultiHeadAttention(2, causal=True),
    "grouped": bp.MultiHeadAttention(4, kv_heads=2, bias=False),
    "one head": bp.MultiHeadAttention(1, causal=True),
}


def explanation_of(*layers, x=SEQUENCE):
    net = bp.Sequential(*layers, bp.Flatten(), bp.Linear(2))
    model = bp.Model(net, x.shape, device="cpu", dtype="float64", seed=1)
    return bp.explain(model, x, 1, bp.CrossEntropy())


def check_every_weight(explanation):
    for name, gradient in explanation.gradients.items():
        if not name.startswith("0."):
            continue
        for at in np.ndindex(gradient.shape):
            rule = explanation.weight(name, *(n + 1 for n in at))
            assert rule.value == pytest.approx(rule.computed, rel=1e-11, abs=1e-14), name
            assert rule.value == pytest.approx(rule.numeric, rel=1e-6, abs=1e-9), name
            if at[0]:
                continue
            for symbol, term in rule.where.items():  # "∂L/∂o₇" is what its expression gives
                values = {
                    token.value
                    for part in (rule.expression, *rule.where.values())
                    for token in part.tokens()
                    if not isinstance(token, str) and token.text == symbol
                }
                assert len(values) == 1
                assert values.pop() == pytest.approx(term.value, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_weight_of_attention_is_derived(name):
    """The first attention is met by the error of the second, which has other names."""
    explanation = explanation_of(ATTENTIONS[name], bp.MultiHeadAttention(2))
    assert explanation.largest_difference() < 1e-12
    assert "central differences:" in explanation.to_text() and "measured" not in str(explanation)
    check_every_weight(explanation)


def test_attention_in_a_residual_block_and_linear_layers_of_a_sequence_are_derived():
    block = bp.Residual(bp.Sequential(bp.Linear(4), bp.ReLU(), bp.MultiHeadAttention(2)))
    explanation = explanation_of(block, bp.Linear(3, bias=False))
    assert explanation.largest_difference() < 1e-12
    check_every_weight(explanation)


@pytest.mark.parametrize("alone", [False, True])
def test_a_transformer_block_is_two_residual_blocks(alone):
    block = bp.TransformerBlock(2, expansion=1, causal=True, activation=bp.Tanh(), dropout=0.1)
    if alone:
        model = bp.Model(block, SEQUENCE.shape, device="cpu", dtype="float64", seed=1)
        explanation, prefix = bp.explain(model, SEQUENCE, np.ones((3, 4)), bp.L2Loss()), ""
    else:
        explanation, prefix = explanation_of(bp.TransformerBlock(1), block), "1."
    assert explanation.largest_difference() < 1e-8  # the norms are measured
    assert [layer.kind for layer in explanation.layers].count("Residual") == (2 if alone else 4)
    listed = [name for layer in explanation.layers for name in layer.gradients]
    assert sorted(listed) == sorted(explanation.gradients)
    for name, at in (
        ("attention.qkv.weight", (1, 2)),
        ("attention.out.bias", (3,)),
        ("feed_forward.up.weight", (2, 4)),
        ("feed_forward.down.bias", (1,)),
    ):
        rule = explanation.weight(prefix + name, *at)
        assert rule.value == pytest.approx(rule.computed, rel=1e-9, abs=1e-12)
    for name in ("norm1.scale", "norm2.bias"):  # measured
        rule = explanation.weight(prefix + name, 2)
        assert rule.value == pytest.approx(rule.computed, rel=1e-6, abs=1e-9)


def test_the_weight_of_a_query_is_written_with_the_keys_and_values():
    explanation = explanation_of(bp.MultiHeadAttention(2, causal=True))
    text = explanation.weight("0.qkv.weight", 1, 2).text  # the second number of the first head's q
    assert text.startswith("∂L/∂0.qkv.weight[1,2] = [∂L/∂a₂·x₁ + ∂L/∂a₁₄·x₅ + ∂L/∂a₂₆·x₉]")
    first = "p⁽¹⁾₂₁·(v⁽¹⁾₁₁ − o₅)·k⁽¹⁾₁₂ + p⁽¹⁾₂₂·(v⁽¹⁾₂₁ − o₅)·k⁽¹⁾₂₂]·1/√2"
    assert first in text  # the second position sees itself and the first
    assert "p⁽¹⁾₂₃" not in text
    page = explanation.to_html()
    assert "0.qkv.weight" in page and re.search(r"q⁽¹⁾", page)


def test_of_many_keys_the_largest_terms_are_shown():
    x = np.random.default_rng(1).normal(size=(9, 2))
    rule = explanation_of(bp.MultiHeadAttention(1), x=x).weight("0.qkv.weight", 2, 1)
    assert rule.value == pytest.approx(rule.computed, rel=1e-11)
    assert "(3 smaller terms)]·1/√2" in rule.text


def test_a_linear_layer_of_a_sequence_is_the_sum_over_its_positions():
    rule = explanation_of(bp.Linear(2)).weight("0.weight", 4, 2)
    first = rule.text.splitlines()[0]
    assert first == "∂L/∂0.weight[4,2] = [∂L/∂a⁽¹⁾₂·x₄ + ∂L/∂a⁽¹⁾₄·x₈ + ∂L/∂a⁽¹⁾₆·x₁₂]"


TARGETS = {
    "one-hot": np.eye(2)[[0, 1, 0]],
    "soft": np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]),
    "classes": np.array([1, 0, 1]),
    "ignored": np.array([1, -1, 0]),
}


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize(
    "loss",
    [
        bp.CrossEntropy(),
        bp.CrossEntropy(reduction="sum", class_weights=(0.5, 3.0)),
        bp.CrossEntropy(class_weights=(0.5, 3.0), label_smoothing=0.1),
        bp.CrossEntropy(ignore_index=-1),
        bp.KLDivergence(),
        bp.KLDivergence(reduction="sum"),
    ],
    ids=repr,
)
def test_a_class_for_each_position_is_derived(loss, targets):
    t = TARGETS[targets]
    ignores = isinstance(loss, bp.CrossEntropy) and loss.ignore_index is not None
    if ignores != (targets in ("ignored", "classes")) and (ignores or targets == "ignored"):
        pytest.skip("the target is not of this loss")
    if isinstance(loss, bp.KLDivergence) and t.ndim == 1:
        pytest.skip("no classes")
    model = bp.Model(bp.Linear(2), SEQUENCE.shape, device="cpu", dtype="float64", seed=1)
    explanation = bp.explain(model, SEQUENCE, t, loss)
    _, gradients = model.gradients(SEQUENCE[None], t[None], loss)
    assert explanation.largest_difference() < 1e-12
    for at in np.ndindex(4, 2):
        rule = explanation.weight("weight", at[0] + 1, at[1] + 1)
        assert rule.value == pytest.approx(float(gradients["weight"][at]), rel=1e-12, abs=1e-15)
