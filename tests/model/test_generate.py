"""Covers: generate, which continues a sequence of indices."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.errors import InputError


@pytest.fixture(scope="module")
def counting():
    """A model of sequences that count: 0, 1, 2, ..., 6, 0, ..."""
    x = (np.arange(5) + np.arange(70)[:, None]) % 7
    net = bp.Sequential(bp.Embedding(7, 8), bp.TransformerBlock(2, causal=True), bp.Linear(7))
    model = bp.Model(net, bp.InputSpec(5, "index"), device="cpu", seed=0)
    optimizer = bp.Adam(0.01)
    bp.fit(model, x, (x + 1) % 7, loss=bp.CrossEntropy(), optimizer=optimizer, epochs=15)
    return model


@pytest.mark.parametrize("start", [[3], [2, 3], [0, 1, 2, 3], [4, 5, 6, 0, 1, 2, 3], np.array([3])])
def test_the_likeliest_are_taken_at_temperature_0(counting, start):
    """Of a start shorter than the model's sequences, and of a longer one."""
    indices = bp.generate(counting, start, length=9, temperature=0.0)
    assert indices.tolist() == [4, 5, 6, 0, 1, 2, 3, 4, 5] and indices.dtype == np.int64


def test_the_seed_and_not_the_device_decides(counting, device, tmp_path):
    counting.save(tmp_path / "m.safetensors")
    model = bp.load(tmp_path / "m.safetensors", device=device)
    texts = [bp.generate(m, [0], length=20, temperature=5.0, seed=1) for m in (counting, model)]
    assert texts[0].tolist() == texts[1].tolist()
    assert bp.generate(model, [0], length=20, temperature=5.0, seed=2).tolist() != texts[0].tolist()


def test_only_the_likeliest_are_drawn_with_top_k(counting):
    def wrong(**settings):
        indices = bp.generate(counting, [0], length=60, temperature=300.0, **settings)
        return (np.diff(indices) % 7 != 1).sum()

    assert wrong(top_k=1) == 0 < wrong(top_k=2) < 38 < wrong()


def test_frequencies_are_those_of_the_softmax():
    model = bp.Model(
        bp.Sequential(bp.Embedding(3, 3), bp.Linear(3)), bp.InputSpec(1, "index"), device="cpu"
    )
    logits = np.array([0.0, 1.0, 2.0])
    model.set_parameters({"1.weight": np.zeros((3, 3)), "1.bias": logits})
    drawn = np.bincount(bp.generate(model, [0], length=2000, temperature=2.0)) / 2000
    expected = np.exp(logits / 2.0) / np.exp(logits / 2.0).sum()
    np.testing.assert_allclose(drawn, expected, atol=0.04)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": []}, r"generate\(start=\[\]\): expected a sequence of at least one index"),
        ({"start": [1.5]}, "expected a sequence of at least one index"),
        ({"start": [7]}, "from 0 to 6, got 7"),
        ({"length": -1}, "expected length >= 0"),
        ({"temperature": -1.0}, "expected temperature >= 0"),
        ({"top_k": 0}, "expected top_k >= 1"),
    ],
)
def test_bad_settings_are_refused(counting, settings, message):
    with pytest.raises(InputError, match=message):
        bp.generate(counting, **{"start": [0], "length": 1} | settings)


def test_other_models_are_refused():
    classifier = bp.Model(bp.Linear(2), 3, device="cpu")
    with pytest.raises(InputError, match=r"one input of indices \(time,\)"):
        bp.generate(classifier, [0], length=1)
