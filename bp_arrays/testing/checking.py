"""Running the cases on devices and holding each result against the reference."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing.agreement import error_in_eps
from bp_arrays.testing.case import Case, host_results
from bp_arrays.testing.layer_case import layer_case, loss_case
from bp_arrays.testing.oracles import oracles_for
from bp_arrays.testing.place import HostArrays, Place, rounded
from bp_arrays.testing.registry import cases, components
from bp_arrays.testing.report import DeviceResult, Disagreement, Report
from bp_arrays.testing.variants import normal
from bp_arrays.typing import Shape

DEVICES = ("cpu", "strict", "strict:device1", "torch:cpu", "jax:cpu", "cuda")
"""What is checked unless told: what cannot be used is reported as not run."""

DTYPES = ("float32", "float64")
PACKAGES = ("numpy", "array-api-compat", "array-api-strict", "torch", "jax", "cupy-cuda12x",
            "cupy-cuda13x")  # fmt: skip


def check_cases(
    chosen: Sequence[Case],
    devices: Sequence[str | Device] = DEVICES,
    *,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Run cases on devices; a device that cannot be used, or lacks a dtype, is reported so.

    Parameters
    ----------
    chosen : sequence of Case
    devices : sequence of str or Device
    require : sequence of str or Device, optional
        Devices whose absence makes the report fail.
    dtypes : sequence of str
    progress : function of a line of text, optional
        Told what is being done.
    """
    started = time.perf_counter()
    required = [find_device(name).name for name in require]
    report = Report(required=required, versions=_versions(), machine=platform.platform())
    say = progress or (lambda line: None)
    references: dict[tuple[Case, str], HostArrays] = {}
    for place_name in dict.fromkeys([find_device(d).name for d in devices] + required):
        device = find_device(place_name)
        availability = device.availability()
        if not availability.usable:
            reason = f"{availability.reason}; {availability.advice}"
            report.devices.append(DeviceResult(place_name, ran=False, reason=reason))
            continue
        result = DeviceResult(place_name, ran=True)
        report.devices.append(result)
        for case, dtype in _runs(chosen, device, dtypes, result):
            say(f"{place_name}: {case.name}, {dtype}")
            if (case, dtype) not in references:
                references[case, dtype] = _reference(case, dtype)
            worst, messages = _compare(case, Place(device, dtype), references[case, dtype])
            result.cases += 1
            result.worst[case.component] = max(worst, result.worst.get(case.component, 0.0))
            report.disagreements += [
                Disagreement(case.component, case.name, place_name, dtype, m) for m in messages
            ]
    for case in chosen:
        say(f"oracles: {case.name}")
        for name, message in _against_oracles(case):
            used = report.oracles.setdefault(case.component, [])
            if name not in used:
                used.append(name)
            if message:
                report.disagreements.append(
                    Disagreement(case.component, case.name, "cpu", "float64", message)
                )
    report.seconds = time.perf_counter() - started
    return report


def chosen_cases(only: Sequence[str] = ()) -> list[Case]:
    """The registered cases of the components whose name contains one of the words, any case.

    Raises
    ------
    InputError
        If a word fits no component; the nearest one is suggested.
    """
    for word in only:
        if not any(word.lower() in name.lower() for name in components()):
            raise unknown_name("component", word, components())
    return [
        case
        for case in cases()
        if not only or any(word.lower() in case.component.lower() for word in only)
    ]


def check(
    component: Layer | Loss,
    *,
    input_shape: Shape,
    devices: Sequence[str | Device] = DEVICES,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES,
) -> Report:
    """Check a layer or a loss of your own: the same on every device, its backward right.

    Parameters
    ----------
    component : Layer or Loss
    input_shape : tuple of int
        The shape of one sample, without the batch; for a loss, of one output.
    devices, require, dtypes
        As the registry's own cases are run; by default on everything usable.

    Returns
    -------
    Report
        `report.ok` says whether all is well; printed, it says what is not.

    Raises
    ------
    InputError
        If this is neither a layer nor a loss, or does not take inputs of this shape.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from bp_arrays.testing import check
    >>> check(bp.Tanh(), input_shape=(3,), devices=["cpu"]).ok
    True
    """
    return check_cases(
        list(_own_cases(component, tuple(input_shape))), devices, require=require, dtypes=dtypes
    )


def _own_cases(component: Layer | Loss, shape: Shape) -> Iterator[Case]:
    name = type(component).__name__
    for variant, rows in (("ordinary", 5), ("batch of 1", 1), ("odd sizes", 13)):
        x = partial(normal, "own", name, variant, shape=(rows, *shape))
        if isinstance(component, Layer):
            yield layer_case(component, x, variant)
        elif isinstance(component, Loss):
            yield loss_case(component, partial(_loss_inputs, component, x), variant)
        else:
            raise InputError(f"check: expected a layer or a loss, got {component!r}")


def _loss_inputs(loss: Loss, y: Callable[[], np.ndarray]) -> HostArrays:
    outputs = y()
    if loss.takes_classes:
        return {"y": outputs, "t": np.arange(outputs.shape[0]) % outputs.shape[-1]}
    return {"y": outputs, "t": np.where(np.roll(outputs, 1) > 0, 1.0, 0.0)}


def _runs(
    chosen: Sequence[Case], device: Device, dtypes: Sequence[str], result: DeviceResult
) -> Iterator[tuple[Case, str]]:
    for dtype in dtypes:
        try:
            device.dtype(dtype)
        except InputError as error:
            result.reason = str(error)
            continue
        for case in chosen:
            if case.dtypes is None or dtype in case.dtypes:
                yield case, dtype


def _reference(case: Case, dtype: str) -> HostArrays:
    """The results of NumPy in float64, fed the inputs as the dtype holds them."""
    cpu = find_device("cpu")
    place = Place(cpu, "float64")
    holds = dtype if dtype in ("float32", "float64", "float16") else "float32"
    inputs = place.arrays(rounded(case.inputs(), holds, cpu))
    return host_results(place, case.compute(place, inputs))


def _compare(case: Case, place: Place, reference: HostArrays) -> tuple[float, list[str]]:
    """The worst error in eps, and what is wrong, if anything."""
    device, worst = place.device, 0.0
    messages: list[str] = []
    with device.activate():
        arrays = place.arrays(case.inputs())
        before = host_results(place, arrays)
        try:
            results, again = case.compute(place, arrays), case.compute(place, arrays)
        except Exception as error:
            said = " ".join(str(error).split())
            return float("inf"), [f"raised {type(error).__name__}: {said}"]
        for name, expected in reference.items():
            result = results[name]
            if not device.owns(result):
                messages.append(f"{name} left the device")
                continue
            host = device.to_numpy(result)
            if name in case.exact:
                if not np.array_equal(host, expected.astype(host.dtype)):
                    messages.append(f"{name} is not equal to the last bit")
                continue
            if result.dtype != device.dtype(place.dtype):
                messages.append(f"{name} has the dtype {result.dtype}, not {place.dtype}")
            off = error_in_eps(host, expected, place.dtype)
            worst = max(worst, off)
            if off > case.limit:
                messages.append(f"{name} is {off:.1f} eps off, the limit is {case.limit:g}")
            if not np.array_equal(host, device.to_numpy(again[name]), equal_nan=True):
                messages.append(f"{name} has other bits when run again")
        for name, value in host_results(place, arrays).items():
            if not np.array_equal(value, before[name], equal_nan=True):
                messages.append(f"the input {name} was changed")
    return worst, messages


def _against_oracles(case: Case) -> Iterator[tuple[str, str]]:
    """Each oracle that judged the case's backward, and what it found wrong ("" if nothing)."""
    if case.derivatives is None:
        return
    place = Place(find_device("cpu"), "float64")
    inputs = case.inputs()
    results = host_results(place, case.compute(place, place.arrays(inputs)))
    for oracle in oracles_for(case):
        try:
            derivatives = oracle.derive(case, inputs)
        except Exception as error:
            yield oracle.name, f"{oracle.name} cannot follow the forward: {error!s:.200}"
            continue
        wrong = []
        for name, derivative in derivatives.items():
            scale = max(float(np.max(np.abs(derivative))), 1e-300)
            off = float(np.max(np.abs(results[name] - derivative))) / scale
            if not off <= oracle.tolerance:
                wrong.append(f"{name} is {off:.1e} from {oracle.name}")
        yield oracle.name, "; ".join(wrong)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
