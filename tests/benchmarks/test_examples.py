"""The nets of the three examples have the same losses on every device, in small."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from benchmarks.examples import Comparison, examples

SMALL = examples(small=True)


@pytest.mark.parametrize("name", SMALL)
def test_the_losses_are_those_of_numpy(name, device):
    expected = SMALL[name].losses("cpu", 6)
    comparison = Comparison(name, str(device), expected, SMALL[name].losses(str(device), 6))
    assert comparison.same, str(comparison)


@pytest.mark.parametrize("name", ["char-GPT", "char-LSTM"])  # one batch of the CNN is too small
@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_mixed_precision_has_the_mean_loss_of_float32(name, half, device):
    try:
        device.dtype(half)
    except bp.InputError:
        pytest.skip(f"{device} has no {half}")
    if device.runs_as == "jit":
        pytest.skip("compiled once more: tests/model has a net for JAX")
    losses = [SMALL[name].losses(str(device), 6, dtype) for dtype in (None, half)]
    comparison = Comparison(name, str(device), *losses, half)
    assert comparison.difference > 0.0 and comparison.same, str(comparison)


def test_other_losses_are_different():
    comparison = Comparison("CNN", "strict", [2.0, 1.0], [2.0, 1.001])
    assert not comparison.same
    assert str(comparison).startswith("DIFFERENT CNN on strict: loss 2.000000 to 1.001000")
