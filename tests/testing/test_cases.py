"""Covers: every case on every device and dtype against float64, every backward against oracles."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays import (
    activations,
    attention,
    convolution,
    initializers,
    layers,
    losses,
    normalization,
    optimizers,
    recurrence,
)
from bp_arrays.testing import Placement, cases, check_cases
from bp_arrays.testing.cases._maths import ACTIVATIONS, LAYERS, LOSSES, SATURATED, VARIANTS
from bp_arrays.testing.cases._training import PROBLEMS
from bp_arrays.testing.witnesses import Witness


@pytest.fixture
def compiled_as_in_use(request, check):
    """Let JAX optimize in one dtype, as in use: in all it is a third of the time of all tests."""
    if str(check).endswith("float32"):
        request.getfixturevalue("optimized")


@pytest.mark.usefixtures("compiled_as_in_use")
@pytest.mark.bp_arrays_checks(cases())
def test_every_device_and_every_oracle_agrees(check):
    check()


def test_every_backward_has_an_oracle():
    kinds = {"activation", "layer", "loss"}
    with_backward = {case.component for case in cases() if case.kind in kinds} | {"training step"}
    differentiated = {case.component for case in cases() if case.derivatives is not None}
    assert differentiated == with_backward


def test_every_value_has_a_witness():
    """A training run has none: it is many steps, each of parts that have one."""
    kinds = {"training"}
    assert all(case.witnesses for case in cases() if case.kind not in kinds)
    assert any(case.witnesses for case in cases() if case.component == "training step")


def test_a_witness_shares_no_code_with_the_maths():
    folder = Path(bp.testing.witnesses.__file__).parent
    allowed = {"testing", "typing", "random", "devices"}  # the seeds of NumPy, whether PyTorch runs
    for path in folder.glob("*.py"):
        rooms = re.findall(r"^\s*(?:from|import) bp_arrays\.(\w+)", path.read_text(), re.M)
        assert set(rooms) <= allowed, path.name


@pytest.mark.parametrize(
    ("component", "values"), [("Sigmoid", "y"), ("Adam", "theta"), ("dropout masks", "first mask")]
)
def test_a_value_that_its_witness_denies_is_reported(component, values):
    case = next(case for case in cases() if case.component == component)

    def otherwise(inputs, results):
        return {values: case.witnesses[0].values(inputs, results)[values] + 1}

    wrong = replace(case, witnesses=(Witness("another", otherwise),))
    report = check_cases([wrong], ["cpu"], dtypes=["float32"])
    (found,) = report.disagreements
    assert not report.ok
    assert f"{values} is" in found.message and "eps from another" in found.message
    assert report.checked_by(component).startswith("another")


TABLES = {
    activations: "ACTIVATIONS in bp_arrays/testing/cases/_maths.py",
    layers: "LAYERS in bp_arrays/testing/cases/_maths.py",
    normalization: "bp_arrays/testing/cases/_normalization.py",
    attention: "bp_arrays/testing/cases/_attention.py",
    convolution: "bp_arrays/testing/cases/_convolution.py",
    recurrence: "bp_arrays/testing/cases/_recurrence.py",
    losses: "LOSSES in bp_arrays/testing/cases/_maths.py",
    optimizers: "OPTIMIZERS in bp_arrays/testing/cases/_optimizers.py",
    initializers: "INITIALIZERS in bp_arrays/initializers/__init__.py",
}
BASES = (
    bp.Layer,
    bp.Loss,
    bp.ElementwiseLoss,
    optimizers.Optimizer,
    optimizers.Transform,
    initializers.Initializer,
)


def public_components():
    """(name, where its case belongs) of every public layer, loss, optimizer, ..."""
    for room, table in TABLES.items():
        for name in {*room.__all__, *bp.__all__}:
            value = getattr(room, name, None)
            if isinstance(value, type) and issubclass(value, BASES) and value not in BASES:
                yield name, table


@pytest.mark.parametrize(("name", "table"), sorted(set(public_components())))
def test_every_public_component_has_a_case(name, table):
    checked = {case.component.partition(",")[0] for case in cases()}
    assert name in checked, (
        f"{name} is public, but `bp-arrays check` knows nothing of it: "
        f"add a line {name!r} to {table}"
    )


def test_no_public_component_is_overlooked():
    found = {name for name, _ in public_components()}
    public = [(name, getattr(bp, name)) for name in bp.__all__]
    assert found >= {
        name
        for name, value in public
        if isinstance(value, type) and issubclass(value, BASES) and value not in BASES
    }
    assert {"Linear", "Adam", "CrossEntropy", "Orthogonal"} <= found


@pytest.mark.parametrize("kind", ["activation", "layer", "loss"])
def test_every_kind_of_input_that_matters_is_there(kind):
    exempt = {(name, "extreme values") for name in SATURATED}
    by_component = {}
    for case in cases():
        if case.kind == kind:
            by_component.setdefault(case.component, set()).add(case.variant)
    for component, variants in by_component.items():
        if component not in {*ACTIVATIONS, *LAYERS, *LOSSES}:
            continue  # of several inputs, images, ...: the cases of its own room
        missing = {v for v in VARIANTS if (component, v) not in exempt} - variants
        assert not missing, f"{component} has no case of {', '.join(sorted(missing))}"


def test_case_names_are_unique():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("shape", [(8,), (5, 6), (2, 3, 4)])
def test_what_is_not_contiguous_is_not_so_on_the_device_either(device, dtype, shape):
    host = np.arange(2.0 * np.prod(shape)).reshape(*shape[::-1], 2)[..., 0].T
    assert not host.flags.c_contiguous
    copy = Placement(device, dtype).array(host)
    assert np.array_equal(device.to_numpy(copy), host)
    if device.name in ("cpu", "cuda:0"):
        assert not copy.flags.c_contiguous
    if device.backend == "torch":
        assert not copy.is_contiguous()


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_training_that_moves_is_the_one_that_stays(name):
    by_name = {case.name: case for case in cases()}
    placement = Placement(bp.device("cpu"), "float64")
    stays, moves = (by_name[f"{kind}, {name}"] for kind in ("training", "moved training"))
    stayed = stays.compute(placement, placement.arrays(stays.inputs()))
    moved = moves.compute(placement, placement.arrays(moves.inputs()))
    assert stayed.keys() == moved.keys()
    assert all(np.array_equal(stayed[k], moved[k]) for k in stayed)
