"""Every case on every device and dtype against float64; every backward against oracles."""

from __future__ import annotations

import pytest

import bp_arrays as bp
from bp_arrays.testing import cases
from bp_arrays.testing.running import hidden_transfer


@pytest.mark.bp_arrays_checks(cases())
def test_every_device_and_every_oracle_agrees(check):
    check()


@pytest.mark.parametrize("case", [c for c in cases() if c.traceable], ids=lambda case: case.name)
def test_nothing_is_read_back_to_the_host(case):
    pytest.importorskip("torch", reason="the device without numbers is PyTorch's")
    assert hidden_transfer(case) == ""


def test_every_backward_has_an_oracle():
    kinds = {"activation", "layer", "loss"}
    with_backward = {case.component for case in cases() if case.kind in kinds}
    judged = {case.component for case in cases() if case.derivatives is not None}
    assert judged == with_backward


def test_every_public_component_has_a_case():
    checked = {case.component.partition(",")[0] for case in cases()}
    from bp_arrays import activations, initializers, layers, losses, optimizers

    kinds = (bp.Layer, bp.Loss, optimizers.Optimizer, optimizers.Transform)
    kinds += (initializers.Initializer,)
    found = set()
    for room in (activations, layers, losses, optimizers, initializers):
        for name in room.__all__:
            value = getattr(room, name)
            if isinstance(value, type) and issubclass(value, kinds) and value not in kinds:
                found.add(name)
                assert name in checked, f"{name} has no case"
    assert {"Linear", "Adam", "CrossEntropy", "Orthogonal"} <= found


def test_case_names_are_unique():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
