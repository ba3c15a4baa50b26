"""The nets of the three examples have the same losses on every device, in small."""

from __future__ import annotations

import pytest

from benchmarks.examples import Comparison, examples

SMALL = examples(small=True)


@pytest.mark.parametrize("name", SMALL)
def test_the_losses_are_those_of_numpy(name, device):
    expected = SMALL[name].losses("cpu", 6)
    comparison = Comparison(name, str(device), expected, SMALL[name].losses(str(device), 6))
    assert comparison.same, str(comparison)


def test_other_losses_are_different():
    comparison = Comparison("CNN", "strict", [2.0, 1.0], [2.0, 1.001])
    assert not comparison.same
    assert str(comparison).startswith("DIFFERENT CNN on strict: loss 2.000000 to 1.001000")
