"""`check`: run cases on devices, compare them with the reference and the oracles, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._oracles import Oracle, oracles_for
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing._registry import cases, components
from bp_arrays.testing._report import EVERY, DeviceResult, Disagreement, Report
from bp_arrays.testing._running import (
    Finding,
    can_check_host_reads,
    host_read_error,
    oracle_error,
    reference,
    run_case,
    witness_error,
)
from bp_arrays.testing.cases._user import Targets, own_cases
from bp_arrays.testing.witnesses import Witness

DEVICES = ("cpu", "strict", "strict:device1", "torch:cpu", "jax:cpu", "cuda")
"""Devices checked by default; those that are not available are reported as not run."""


WORKERS = min(4, os.cpu_count() or 1)
"""Number of threads: NumPy and the compilers release Python's lock while they compute."""

ShowProgress = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


def chosen_cases(only: Sequence[str] = ()) -> list[Case]:
    """Select the registered cases of components whose name contains one of the words.

    Upper and lower case do not matter.

    Raises
    ------
    InputError
        If a word matches no component; the message suggests the nearest one.
    """
    words = [word.strip().lower() for word in only]
    for word in words:
        if not word:
            raise InputError("check(only=): expected part of a component's name, got ''")
        if not any(word in name.lower() for name in components()):
            raise unknown_name("component", word, components())
    return [
        case
        for case in cases()
        if not words or any(word in case.component.lower() for word in words)
    ]


def check(
    *components: Layer | Loss,
    input_shape: Any,
    devices: Sequence[str | Device] = DEVICES,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES,
    progress: ShowProgress | None = None,
    targets: Targets | None = None,
    target_shape: int | Sequence[int] | None = None,
    sample_shape: Any = None,
) -> Report:
    """Check that custom layers or losses agree on all devices and have a correct backward.

    Parameters
    ----------
    *components : Layer or Loss
    input_shape : int, tuple of int, InputSpec, or tuple or dict of them
        The shape of one sample, without the batch; for a loss, of one output.
    devices : sequence of str or Device
        By default every device available on this machine.
    require : sequence of str or Device, optional
        Devices whose absence makes the report fail.
    dtypes : sequence of str
        Each is tested on the devices that support it; "float16" and "bfloat16" only if named.
    progress : function of a line of text, optional
        Called with the progress of the check.
    targets : function (generator, shape) -> array, optional
        Draws the targets of a batch for losses, from a `numpy.random.Generator`, in the shape
        (batch, ...) that the loss declares or `target_shape` says: numbers, or classes as integers.
        By default 0 and 1; classes for a loss that takes them.
    target_shape : int or tuple of int, optional
        The shape of one target, without the batch; by default what `loss.target_shape` says.
    sample_shape : as `input_shape`, optional
        For a loss with `uses_inputs`, the shape of one sample of the net's inputs, which are drawn
        for its `ctx.x`.

    Returns
    -------
    Report
        `report.ok` is True if everything agrees; printed, the report lists the disagreements.

    Raises
    ------
    InputError
        If a component is neither a layer nor a loss, or does not accept inputs of this shape.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> from bp_arrays.testing import check
    >>> check(bp.Tanh(), input_shape=3, devices=["cpu"]).ok
    True

    A loss whose targets are neither 0 and 1 nor shaped like the outputs:

    >>> def values(generator, shape):
    ...     return generator.normal(size=shape)
    >>> check(bp.GaussianNLL(), input_shape=6, targets=values, devices=["cpu"]).ok
    True
    """
    return check_cases(
        own_cases(
            components,
            input_shape,
            targets=targets,
            target_shape=target_shape,
            sample_shape=sample_shape,
        ),
        devices,
        require=require,
        dtypes=dtypes,
        progress=progress,
    )


def check_cases(
    chosen: Sequence[Case],
    devices: Sequence[str | Device] = DEVICES,
    *,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES_WITH_HALF,
    progress: ShowProgress | None = None,
) -> Report:
    """Run cases on devices; a device that is not available is reported as not run.

    Parameters
    ----------
    chosen : sequence of Case
    devices, require, dtypes, progress
        As for `check`.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If there are no cases, or for an unknown device or dtype.
    """
    if not chosen:
        raise InputError("check: expected at least one case, got none")
    _check_is_list("devices", devices)
    _check_is_list("require", require)
    check_dtypes(dtypes)
    started = time.perf_counter()
    required = [find_device(name).name for name in require]
    report = Report(required=required, limits={case.name: case.limit for case in chosen})
    show = progress or (lambda line: None)
    references = References()
    with ThreadPoolExecutor(WORKERS) as pool:
        for name in dict.fromkeys([find_device(d).name for d in devices] + required):
            report.devices.append(DeviceResult(name))
            _run_device(report, chosen, dtypes, references, pool, show)
        if report.ran:
            report.properties["traceable by jax.jit"] = _count_traced(report, chosen)
            _check_host_reads(report, chosen, pool, show)
            _check_values(report, chosen, pool, show)
            _check_derivatives(report, chosen, pool, show)
    report.seconds = time.perf_counter() - started
    return report


def check_dtypes(dtypes: Sequence[str]) -> None:
    """Raise InputError unless these are names of dtypes that cases can run in."""
    _check_is_list("dtypes", dtypes)
    for dtype in dtypes:
        if dtype not in DTYPES_WITH_HALF:
            raise unknown_name("dtype", dtype, DTYPES_WITH_HALF)


def _check_is_list(option: str, names: Sequence[str | Device]) -> None:
    if isinstance(names, (str, Device)):
        raise InputError(
            f"check({option}=): expected a list of names, got {names!r}; pass [{names!r}]"
        )


class References(dict[tuple[Case, str], HostArrays]):
    """Cache of the float64 results of each case for inputs rounded to each dtype."""

    def of(self, case: Case, placement: Placement) -> HostArrays:
        key = (case, placement.dtype)
        if key not in self:
            self[key] = reference(case, placement)
        return self[key]


def placements(device: Device, dtypes: Iterable[str]) -> Iterator[Placement]:
    """Yield the device with each of the dtypes that it supports."""
    for dtype in dtypes:
        try:
            device.dtype(dtype)
        except InputError:
            continue
        yield Placement(device, dtype)


def _run_device(
    report: Report,
    chosen: Sequence[Case],
    dtypes: Sequence[str],
    references: References,
    pool: ThreadPoolExecutor,
    show: ShowProgress,
) -> None:
    """Run the cases on the last device of the report."""
    result = report.devices[-1]
    device = find_device(result.name)
    availability = device.availability()
    if not availability.usable:
        result.reason = f"{availability.reason}; {availability.advice}"
        return
    supported = list(placements(device, dtypes))
    result.lacks = [d for d in dtypes if d not in {placement.dtype for placement in supported}]
    items = [
        (case, placement)
        for placement in supported
        for case in chosen
        if placement.dtype in case.dtypes
    ]
    if not items:
        result.reason = f"no case has a dtype it supports; it lacks {', '.join(result.lacks)}"
        return
    result.ran, result.description = True, device.description
    result.emulated = device.is_emulated

    def run(item: tuple[Case, Placement]) -> Finding:
        return run_case(*item, references.of)

    for (case, placement), finding in _mapped(items, run, pool, partial(_line, show, result.name)):
        result.add(case, placement.dtype, finding.error)
        report.disagreements += [
            Disagreement(case.component, case.name, result.name, placement.dtype, fault)
            for fault in finding.faults
        ]


def _check_host_reads(
    report: Report, chosen: Sequence[Case], pool: ThreadPoolExecutor, show: ShowProgress
) -> None:
    """Run every case on a device whose arrays cannot be read back to the host."""
    if not find_device("torch:cpu").availability().usable:
        report.properties["no hidden transfer to the host"] = "NOT RUN: needs PyTorch"
        return
    checked = [case for case in chosen if can_check_host_reads(case)]
    for case, fault in _mapped(checked, host_read_error, pool, partial(_line, show, "transfers")):
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float32", fault)
            )
    report.properties["no hidden transfer to the host"] = (
        f"{len(checked)} cases, on PyTorch's meta device"
    )


def _count_traced(report: Report, chosen: Sequence[Case]) -> str:
    """Count the cases that ran through jax.jit, as everything on JAX does."""
    if not any(find_device(result.name).runs_as == "jit" for result in report.ran):
        return "NOT RUN: needs JAX among the devices that run"
    return f"{sum(case.traceable for case in chosen)} cases"


def _check_values(
    report: Report, chosen: Sequence[Case], pool: ThreadPoolExecutor, show: ShowProgress
) -> None:
    """Compare the reference with values that are not computed by the library."""
    items = [(witness, case) for case in chosen for witness in case.witnesses]

    def run(item: tuple[Witness, Case]) -> str:
        return witness_error(*item)

    for (witness, case), fault in _mapped(items, run, pool, partial(_line, show, "witnesses")):
        used = report.witnesses.setdefault(case.component, [])
        if witness.name not in used:
            used.append(witness.name)
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float64", fault)
            )


def _check_derivatives(
    report: Report, chosen: Sequence[Case], pool: ThreadPoolExecutor, show: ShowProgress
) -> None:
    """Compare every backward with the derivatives of its oracles."""
    items = [(oracle, case) for case in chosen for oracle in oracles_for(case)]

    def run(item: tuple[Oracle, Case]) -> str:
        return oracle_error(*item)

    for (oracle, case), fault in _mapped(items, run, pool, partial(_line, show, "oracles")):
        used = report.oracles.setdefault(case.component, [])
        if oracle.name not in used:
            used.append(oracle.name)
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float64", fault)
            )


def _mapped(
    items: Sequence[Item],
    function: Callable[[Item], Result],
    pool: ThreadPoolExecutor,
    show: Callable[[int, int], None],
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order; the thread pool computes them."""
    for done, (item, result) in enumerate(zip(items, pool.map(function, items), strict=True), 1):
        show(done, len(items))
        yield item, result


def _line(show: ShowProgress, stage: str, done: int, total: int) -> None:
    show(f"{stage}: {done} of {total} cases")
