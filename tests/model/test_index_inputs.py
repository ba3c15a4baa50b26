"""Covers: indices as the input of layers that compute with numbers."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError

WORDS = bp.InputSpec((4, 2), "index", size=9)


@pytest.mark.parametrize(
    ("net", "inputs", "message"),
    [
        (bp.Linear(3), WORDS, r"Linear\(input=\): expected numbers, got indices; look them up"),
        (
            bp.Sequential(bp.Identity(), bp.Residual(bp.Conv1d(2, 1))),
            WORDS,
            r"Conv1d\(input=\): expected numbers, got indices, layer 1; look",
        ),
        (bp.Sequential(bp.Flatten(), bp.Linear(3)), WORDS, "got indices, layer 0;"),
        (bp.LSTM(2), {"x": WORDS, "lengths": bp.InputSpec((), "index", size=5)}, "LSTM"),
        (bp.Sequential(bp.Select("a"), bp.Sigmoid()), {"a": WORDS, "b": 3}, "layer 1"),
        (bp.Concatenate(), (bp.InputSpec((2,), "index"), 3), "Concatenate"),
    ],
)
def test_layers_of_numbers_refuse_indices(net, inputs, message):
    with pytest.raises(InputError, match=message):
        bp.Model(net, inputs, device="cpu")


def test_what_passes_indices_on_accepts_them():
    net = bp.Sequential(bp.Select("a"), bp.Identity(), bp.Embedding(9, 3))
    assert bp.Model(net, {"a": WORDS, "b": 3}, device="cpu").output_shape == (4, 2, 3)
    inputs = {"x": (4, 2), "lengths": bp.InputSpec((), "index", size=5)}
    for layer in (bp.LSTM(2), bp.MultiHeadAttention(1), bp.TransformerBlock(1)):
        assert bp.Model(layer, inputs, device="cpu").output_shape["x"] == (4, 2)
