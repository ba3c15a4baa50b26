"""Every case on every device and dtype against float64; every backward against oracles."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.testing import Place, cases, error_in_eps, oracles_for, rounded
from bp_arrays.testing.case import host_results

WITH_ORACLE = [case for case in cases() if case.derivatives is not None]


@functools.cache
def reference(case, dtype):
    """The results of NumPy in float64, fed the inputs as the dtype holds them."""
    cpu = bp.device("cpu")
    place = Place(cpu, "float64")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        inputs = place.arrays(rounded(case.inputs(), dtype, cpu))
        return host_results(place, case.compute(place, inputs))


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_device_agrees_with_float64(device, dtype, case):
    if case.dtypes is not None and dtype not in case.dtypes:
        pytest.skip("this case has no such dtype")
    place = Place(device, dtype)
    arrays = place.arrays(case.inputs())
    before = host_results(place, arrays)
    results = case.compute(place, arrays)
    again = case.compute(place, arrays)
    for name, expected in reference(case, dtype).items():
        result = results[name]
        assert device.owns(result), f"{name} left the device"
        host = device.to_numpy(result)
        if name in case.exact:
            np.testing.assert_array_equal(host, expected.astype(host.dtype))
            continue
        assert result.dtype == device.dtype(dtype), f"{name} has another dtype"
        error = error_in_eps(host, expected, dtype)
        assert error <= case.limit, f"{name} is {error:.1f} eps off, the limit is {case.limit}"
        np.testing.assert_array_equal(host, device.to_numpy(again[name]), "not the same twice")
    for name, value in host_results(place, arrays).items():
        np.testing.assert_array_equal(value, before[name], f"the input {name} was changed")


@pytest.mark.parametrize("case", WITH_ORACLE, ids=lambda case: case.name)
def test_every_backward_agrees_with_independent_derivatives(case):
    place = Place(bp.device("cpu"), "float64")
    inputs = case.inputs()
    results = host_results(place, case.compute(place, place.arrays(inputs)))
    used = list(oracles_for(case))
    assert used
    for oracle in used:
        for name, derivative in oracle.derive(case, inputs).items():
            scale = max(float(np.max(np.abs(derivative))), 1e-300)
            error = float(np.max(np.abs(results[name] - derivative))) / scale
            assert error <= oracle.tolerance, f"{name}: {error:.1e} from {oracle.name}"


def test_every_public_component_has_a_case():
    checked = " ".join(case.component for case in cases())
    bases = {"Layer", "Loss", "Metric", "Callback"}
    from bp_arrays import activations, initializers, layers, losses, optimizers

    kinds = (bp.Layer, bp.Loss, optimizers.Optimizer, optimizers.Transform)
    kinds += (initializers.Initializer,)
    for room in (activations, layers, losses, optimizers, initializers):
        for name in room.__all__:
            value = getattr(room, name)
            if isinstance(value, type) and issubclass(value, kinds) and value not in kinds:
                assert name in checked or name in bases, f"{name} has no case"


def test_case_names_are_unique():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
