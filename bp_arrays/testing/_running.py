"""Run one case in one placement; compare it with the reference and with its oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.devices import device, device_of_or_none, name_of_dtype
from bp_arrays.execution import compiled
from bp_arrays.testing._case import GRADIENT, Case, host_results
from bp_arrays.testing._error_norms import error_in_eps, largest_error_in_eps
from bp_arrays.testing._oracles import Oracle
from bp_arrays.testing._placement import HostArrays, MetaPlacement, Placement, rounded
from bp_arrays.testing._report import DID_NOT_RUN
from bp_arrays.testing.witnesses import Witness
from bp_arrays.typing import Array

WITNESS_FACTOR = 4.0
"""A witness rounds in another order than the case: its limit is this many times the case's."""


@dataclass(frozen=True)
class Finding:
    """The largest error of a case in eps of the tested dtype, None if it raised; its faults."""

    error: float | None
    faults: tuple[str, ...] = ()


Truth = Callable[[Case, Placement], HostArrays]


def reference(case: Case, placement: Placement) -> HostArrays:
    """Compute a case with NumPy in float64, from inputs rounded to the placement's dtype."""
    truth = Placement(device("cpu"), "float64")
    return host_results(truth, case.compute(truth, truth.arrays(rounded(case.inputs(), placement))))


def run_case(
    case: Case, placement: Placement, truth_of: Truth = reference, *, optimized: bool = True
) -> Finding:
    """Compute a case twice in a placement, and compare it with the reference.

    Every result must exist, be on the device and in the dtype, be within the case's limit of the
    reference, and have the same bits both times; the inputs must be unchanged. On a device with a
    compiler, `optimized` is whether it optimizes float32, the dtype of most training runs, as it
    does for them: that takes three times as long.
    """
    with placement.device.activate():
        arrays = placement.arrays(case.inputs())
        before = host_results(placement, arrays)
        try:
            expected = truth_of(case, placement)
            function = _as_trained(case, placement, optimized)
            results, again = function(arrays), function(arrays)
        except Exception as error:  # any error of a component is a fault to report
            return Finding(None, (did_not_run(error),))
        worst, faults = 0.0, []
        for name, truth in expected.items():
            off, fault = _judge(case, placement, name, results, truth)
            worst = max(worst, off)
            if fault:
                faults.append(fault)
            elif not _same_bits(placement, results[name], again[name]):
                faults.append(f"{name} has different bits in a second run")
        faults += [
            f"the input {name} was changed"
            for name, value in host_results(placement, arrays).items()
            if not np.array_equal(value, before[name], equal_nan=True)
        ]
    return Finding(worst, tuple(faults))


def _as_trained(case: Case, placement: Placement, optimized: bool) -> Any:
    """Return the computation as training runs it: through the backend's compiler, if any.

    A computation that jax.jit can trace neither branches on a value nor reads one back.
    """
    if not case.traceable or placement.device.runs_as != "jit":
        return partial(case.compute, placement)
    function = partial(case.compute, replace(placement, traced=True))
    optimizes = optimized and (placement.dtype == "float32" or "float32" not in case.dtypes)
    return compiled(function, placement.device, quickly=not optimizes)


def _judge(
    case: Case,
    placement: Placement,
    name: str,
    results: dict[str, Array],
    truth: np.ndarray[Any, Any],
) -> tuple[float, str]:
    """Return the error of one result in eps, and its fault or ""."""
    if name not in results:
        return float("inf"), f"{name} is missing"
    result = results[name]
    if not placement.device.owns(result):
        return float("inf"), f"{name} {_elsewhere(result)}"
    is_float = truth.dtype.kind == "f"
    dtype = case.dtype_of(name, placement.dtype) if is_float else truth.dtype.name
    if result.dtype != placement.device.dtype(dtype):
        actual = name_of_dtype(result.dtype)
        return float("inf"), f"{name}: expected dtype {dtype}, got {actual}"
    host = placement.device.to_numpy(result)
    if host.shape != truth.shape:
        return float("inf"), f"{name}: expected shape {truth.shape}, got {host.shape}"
    if name in case.exact or truth.dtype.kind != "f":
        equal = np.array_equal(host, truth)
        return (0.0, "") if equal else (float("inf"), f"{name} is not equal to the last bit")
    measure = largest_error_in_eps if case.elementwise else error_in_eps
    error = measure(host, truth, placement.dtype)
    if error <= case.limit:
        return error, ""
    return error, f"{name} is {error:.1f} eps off, the limit is {case.limit:g}"


def _elsewhere(result: Any) -> str:
    """Describe a result that is not on the device of its placement."""
    actual = device_of_or_none(result)
    if actual is None:
        return f"is {result!r:.40}, not an array"
    return f"left the device: it is on {actual}"


def _same_bits(placement: Placement, one: Array, other: Array) -> bool:
    """Return whether two results are equal to the last bit, including the sign of zeros."""
    return placement.device.to_numpy(one).tobytes() == placement.device.to_numpy(other).tobytes()


def can_check_host_reads(case: Case) -> bool:
    """Return whether `host_read_error` applies to a case, on this machine."""
    return case.traceable and "float32" in case.dtypes and device("torch:cpu").availability().usable


def host_read_error(case: Case) -> str:
    """Describe the value that a case reads back to the host, or return ""; needs PyTorch.

    A case that also fails where numbers can be read has another fault, which `run_case` reports.
    """
    meta = MetaPlacement(device("torch:cpu"), "float32")
    error = _raised(case, meta)
    if error is None or _raised(case, Placement(meta.device, meta.dtype)) is not None:
        return ""
    return f"needs a number on the host: {_one_line(error)}"


def _raised(case: Case, placement: Placement) -> Exception | None:
    try:
        case.compute(placement, placement.arrays(case.inputs()))
    except Exception as error:  # of any class: each operation refuses in its own way
        return error
    return None


def witness_error(witness: Witness, case: Case) -> str:
    """Compare values of the reference with a witness; describe their faults, or return ""."""
    placement = Placement(device("cpu"), "float64")
    inputs = case.inputs()
    try:
        results = host_results(placement, case.compute(placement, placement.arrays(inputs)))
    except Exception as error:
        return did_not_run(error)
    try:
        values = witness.values(inputs, results)
    except Exception as error:
        return f"{witness.name} raised {_one_line(error)}"
    faults = []
    for name, value in values.items():
        if name not in results:
            faults.append(f"{name} is missing, {witness.name} has one")
            continue
        if name in case.exact and value.dtype.kind != "f":
            off = 0.0 if np.array_equal(results[name], value) else float("inf")
        else:
            measure = largest_error_in_eps if case.elementwise else error_in_eps
            off = measure(results[name], value, placement.dtype)
        if not off <= WITNESS_FACTOR * case.limit:
            faults.append(f"{name} is {off:.3g} eps from {witness.name}")
    return "; ".join(faults)


def oracle_error(oracle: Oracle, case: Case) -> str:
    """Compare the backward of a case with an oracle; describe its faults, or return ""."""
    placement = Placement(device("cpu"), "float64")
    inputs = case.inputs()
    try:
        results = host_results(placement, case.compute(placement, placement.arrays(inputs)))
    except Exception as error:  # a user's component may raise anything
        return did_not_run(error)
    try:
        derivatives = oracle.derive(case, inputs)
    except Exception as error:
        return f"{oracle.name} cannot differentiate the forward: {_one_line(error)}"
    return "; ".join(_wrong(oracle, results, derivatives))


def _wrong(oracle: Oracle, results: HostArrays, derivatives: HostArrays) -> Iterator[str]:
    for name in results:
        if name.startswith(GRADIENT) and name not in derivatives:
            yield f"{name} is the gradient of no trainable parameter"
    for name, derivative in derivatives.items():
        if name not in results:
            yield f"{name} is missing, {oracle.name} has one"
            continue
        if results[name].shape != derivative.shape:
            yield f"{name}: expected shape {derivative.shape}, got {results[name].shape}"
            continue
        computed = ~np.ma.getmaskarray(derivative)
        result, derivative = results[name][computed], np.asarray(derivative)[computed]
        scale = max(float(np.max(np.abs(derivative))), 1e-300)
        off = float(np.max(np.abs(result - derivative))) / scale
        if not off <= oracle.tolerance:
            ratio = _common_factor(result, derivative)
            hint = f", everywhere {ratio:.4g} times it" if ratio is not None else ""
            yield f"{name} is {off:.1e} from {oracle.name}{hint}"


def _common_factor(result: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float | None:
    """Return the factor by which every element is off, if there is one: a lost ½, a wrong sign."""
    if result.size < 2 or not np.isfinite(result).all():
        return None
    at = np.unravel_index(np.argmax(np.abs(truth)), truth.shape)
    if truth[at] == 0.0 or result[at] == 0.0:
        return None
    ratio = float(result[at] / truth[at])
    return ratio if np.allclose(result, ratio * truth, rtol=1e-6, atol=0.0) else None


def did_not_run(error: Exception) -> str:
    """Return the fault of a case that raised an error, and so has no result."""
    return f"{DID_NOT_RUN}: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
