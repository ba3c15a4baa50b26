"""One case in one place, held against the reference and against its oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.devices import device, device_of_or_none
from bp_arrays.execution import compiled
from bp_arrays.testing._case import GRADIENT, Case, host_results
from bp_arrays.testing._error_norms import error_in_eps
from bp_arrays.testing._oracles import Oracle
from bp_arrays.testing._placement import HostArrays, NowhereToRead, Place, rounded
from bp_arrays.typing import Array


@dataclass(frozen=True)
class Finding:
    """The worst error of a case in eps of the dtype tested, and all that is wrong with it."""

    error: float
    faults: tuple[str, ...] = ()


Truth = Callable[[Case, Place], HostArrays]


def reference(case: Case, place: Place) -> HostArrays:
    """The results of NumPy in float64, fed the inputs as the place's dtype holds them."""
    truth = Place(device("cpu"), "float64")
    return host_results(truth, case.compute(truth, truth.arrays(rounded(case.inputs(), place))))


def run_case(case: Case, place: Place, truth_of: Truth = reference) -> Finding:
    """Compute a case twice in a place, and compare.

    Every result must be there, on the device, in the dtype, as near to the reference as the case
    says, and of the same bits both times; the inputs must be what they were.
    """
    with place.device.activate():
        arrays = place.arrays(case.inputs())
        before = host_results(place, arrays)
        try:
            expected = truth_of(case, place)
            function = _as_trained(case, place)
            results, again = function(arrays), function(arrays)
        except Exception as error:  # whatever a component raises is what there is to report
            return Finding(float("inf"), (f"raised {_said(error)}",))
        worst, faults = 0.0, []
        for name, truth in expected.items():
            off, fault = _judge(case, place, name, results, truth)
            worst = max(worst, off)
            if fault:
                faults.append(fault)
            elif not _same_bits(place, results[name], again[name]):
                faults.append(f"{name} has other bits when run again")
        faults += [
            f"the input {name} was changed"
            for name, value in host_results(place, arrays).items()
            if not np.array_equal(value, before[name], equal_nan=True)
        ]
    return Finding(worst, tuple(faults))


def _as_trained(case: Case, place: Place) -> Any:
    """The computation as a training runs it: whole through the backend's compiler, if any.

    What jax.jit can trace neither decides anything by a value nor reads one back.
    """
    if not case.traceable or place.device.runs_as != "jit":
        return partial(case.compute, place)
    return compiled(partial(case.compute, replace(place, traced=True)), place.device)


def _judge(
    case: Case, place: Place, name: str, results: dict[str, Array], truth: np.ndarray[Any, Any]
) -> tuple[float, str]:
    """The error of one result in eps, and what is wrong with it, or ""."""
    if name not in results:
        return float("inf"), f"{name} is missing"
    result = results[name]
    if not place.device.owns(result):
        return float("inf"), f"{name} {_elsewhere(result)}"
    dtype = place.dtype if truth.dtype.kind == "f" else truth.dtype.name
    if result.dtype != place.device.dtype(dtype):
        its = str(result.dtype).rpartition(".")[2]  # without the library's name
        return float("inf"), f"{name} has the dtype {its}, not {dtype}"
    host = place.device.to_numpy(result)
    if host.shape != truth.shape:
        return float("inf"), f"{name} has the shape {host.shape}, not {truth.shape}"
    if name in case.exact or truth.dtype.kind != "f":
        equal = np.array_equal(host, truth)
        return (0.0, "") if equal else (float("inf"), f"{name} is not equal to the last bit")
    error = error_in_eps(host, truth, place.dtype)
    if error <= case.limit:
        return error, ""
    return error, f"{name} is {error:.1f} eps off, the limit is {case.limit:g}"


def _elsewhere(result: Any) -> str:
    """Where a result is that is not on the device it was asked for on."""
    its_device = device_of_or_none(result)
    if its_device is None:
        return f"is {result!r:.40}, not an array"
    return f"left the device: it is on {its_device}"


def _same_bits(place: Place, one: Array, other: Array) -> bool:
    """Whether not even the sign of a zero differs."""
    return place.device.to_numpy(one).tobytes() == place.device.to_numpy(other).tobytes()


def shows_transfers(case: Case) -> bool:
    """Whether `hidden_transfer` can be asked about a case, on this machine."""
    return case.traceable and "float32" in case.dtypes and device("torch:cpu").availability().usable


def hidden_transfer(case: Case) -> str:
    """What a case reads back to the host on its way, or ""; needs PyTorch.

    A case that fails where numbers can be read as well has another fault, found elsewhere.
    """
    nowhere = NowhereToRead(device("torch:cpu"), "float32")
    error = _raised(case, nowhere)
    if error is None or _raised(case, Place(nowhere.device, nowhere.dtype)) is not None:
        return ""
    return f"needs a number on the host: {_said(error)}"


def _raised(case: Case, place: Place) -> Exception | None:
    try:
        case.compute(place, place.arrays(case.inputs()))
    except Exception as error:  # of any class: each operation refuses in its own way
        return error
    return None


def judged_by(oracle: Oracle, case: Case) -> str:
    """What the oracle finds wrong with the backward of a case, or ""."""
    place = Place(device("cpu"), "float64")
    inputs = case.inputs()
    try:
        results = host_results(place, case.compute(place, place.arrays(inputs)))
    except Exception as error:  # the component is the user's, and so is what it raises
        return f"raised {_said(error)}"
    try:
        derivatives = oracle.derive(case, inputs)
    except Exception as error:
        return f"{oracle.name} cannot follow the forward: {_said(error)}"
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
            yield f"{name} has the shape {results[name].shape}, not {derivative.shape}"
            continue
        asked = ~np.ma.getmaskarray(derivative)
        result, derivative = results[name][asked], np.asarray(derivative)[asked]
        scale = max(float(np.max(np.abs(derivative))), 1e-300)
        off = float(np.max(np.abs(result - derivative))) / scale
        if not off <= oracle.tolerance:
            ratio = _common_factor(result, derivative)
            hint = f", everywhere {ratio:.4g} times it" if ratio is not None else ""
            yield f"{name} is {off:.1e} from {oracle.name}{hint}"


def _common_factor(result: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float | None:
    """The number that every element is off by, if there is one: a lost ½ or a flipped sign."""
    if result.size < 2 or not np.isfinite(result).all():
        return None
    at = np.unravel_index(np.argmax(np.abs(truth)), truth.shape)
    if truth[at] == 0.0 or result[at] == 0.0:
        return None
    ratio = float(result[at] / truth[at])
    return ratio if np.allclose(result, ratio * truth, rtol=1e-6, atol=0.0) else None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
