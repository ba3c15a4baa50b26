"""`check`: run cases on devices, compare them with the reference and the oracles, report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bp_arrays.checks import as_integer, as_number
from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._causes import cause_of
from bp_arrays.testing._expected import expect_failures
from bp_arrays.testing._oracles import Oracle, oracles_for
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing._registry import cases, components
from bp_arrays.testing._report import DID_NOT_RUN, EVERY, DeviceResult, Disagreement, Report
from bp_arrays.testing._running import (
    Finding,
    can_check_host_reads,
    host_read_error,
    oracle_error,
    reference,
    run_case,
    witness_error,
)
from bp_arrays.testing._workers import TimedOut, Watchdog, Workers
from bp_arrays.testing.cases._functions import PREFIX
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


def first_cases(chosen: Sequence[Case]) -> list[Case]:
    """Return the first case of each component, which has ordinary numbers and shapes."""
    first: dict[str, Case] = {}
    for case in chosen:
        first.setdefault(case.component, case)
    return list(first.values())


def check(
    *components: Layer | Loss,
    input_shape: Any,
    devices: Sequence[str | Device] = DEVICES,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES,
    progress: ShowProgress | None = None,
    workers: int = WORKERS,
    timeout: float | None = None,
    xfail: Sequence[str] = (),
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
    workers : int
        Number of threads, by default one per core up to 4; 1 for a library that must not be
        called from several.
    timeout : float, optional
        Seconds after which a case is named that has not returned; the check then ends.
    xfail : sequence of str, optional
        Known faults, which do not make the report fail: names of cases or components, or a case
        as a report names it, "Linear, batch of 1 on dpnp, float16"; * stands for anything.
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
        workers=workers,
        timeout=timeout,
        xfail=xfail,
    )


def check_cases(
    chosen: Sequence[Case],
    devices: Sequence[str | Device] = DEVICES,
    *,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES_WITH_HALF,
    progress: ShowProgress | None = None,
    workers: int = WORKERS,
    timeout: float | None = None,
    xfail: Sequence[str] = (),
    quick: bool = False,
    kill: bool = False,
) -> Report:
    """Run cases on devices; a device that is not available is reported as not run.

    Parameters
    ----------
    chosen : sequence of Case
    devices, require, dtypes, progress, workers, timeout, xfail
        As for `check`.
    quick : bool, default False
        Run only the first case of each component, and let compilers optimize little.
    kill : bool, default False
        End this process, with one line on stderr, if a case that does not return also keeps every
        other thread from running.

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
    _check_is_list("xfail", xfail)
    check_dtypes(dtypes)
    workers = as_integer("check", "workers", workers, at_least=1)
    if timeout is not None:
        timeout = as_number("check", "timeout", timeout, above=0.0)
    required = [find_device(name) for name in require]
    first = first_cases(chosen)
    report = Report(
        required=[device.name for device in required],
        limits={case.name: case.limit for case in chosen},
        left_out=len(chosen) - len(first) if quick else 0,
    )
    started = time.perf_counter()
    by_name = {device.name: device for device in map(find_device, devices)}
    by_name |= {device.name: device for device in required if device.name not in by_name}
    with Watchdog(1.5 * timeout + 2.0) if kill and timeout else nullcontext() as watchdog:
        threads = Workers(workers, timeout, watchdog)
        run = CheckRun(
            report=report,
            chosen=first if quick else chosen,
            optimized=frozenset() if quick else frozenset(first),
            dtypes=dtypes,
            workers=threads,
            show=progress or (lambda _: None),
        )
        try:
            _run_all(run, list(by_name.values()))
        except TimedOut as error:
            _end(report, error.item, timeout)
    expect_failures(report, chosen, xfail)
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


@dataclass(frozen=True)
class CheckRun:
    """What the stages of a check share.

    Compilers optimize the cases `optimized` as for training, the others little: on JAX, most of
    the time of a check is the compiler's.
    """

    report: Report
    chosen: Sequence[Case]
    optimized: frozenset[Case]
    dtypes: Sequence[str]
    workers: Workers
    show: ShowProgress
    references: References = field(default_factory=References)

    def mapped(
        self, stage: str, items: Sequence[Item], function: Callable[[Item], Result]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in order, and show the progress."""
        results = self.workers.mapped(items, function, lambda item: " on ".join(_labels(item)))
        for done, pair in enumerate(results, 1):
            self.show(f"{stage}: {done} of {len(items)} cases")
            yield pair


def _labels(item: Any) -> tuple[str, str]:
    """Return the name of the case of an item, and what it runs on."""
    if isinstance(item, Case):
        return item.name, EVERY
    first, second = item
    if isinstance(first, Case):
        return first.name, f"{second.device}, {second.dtype}"
    return second.name, f"{first.name}"


def _end(report: Report, item: Any, timeout: float | None) -> None:
    """Record the case at which the check ended."""
    name, where = _labels(item)
    report.ended_by = (
        f"{name} on {where} did not return within {timeout:g} s; run it alone with --only, with "
        "--workers 1, or raise --timeout"
    )


def _run_all(run: CheckRun, devices: Sequence[Device]) -> None:
    report = run.report
    for device in devices:
        report.devices.append(DeviceResult(device.name))
        _run_device(run, device)
    if report.ran:
        added_only = not any(device.is_built_in for device in devices)
        traced = _count_traced(report, run.chosen, devices)
        if traced or not added_only:
            report.properties["traceable by jax.jit"] = (
                traced or "NOT RUN: needs JAX among the devices that run"
            )
        _check_host_reads(run, added_only)
        _check_values(run)
        _check_derivatives(run)


def placements(device: Device, dtypes: Iterable[str]) -> Iterator[Placement]:
    """Yield the device with each of the dtypes that it supports."""
    for dtype in dtypes:
        try:
            device.dtype(dtype)
        except InputError:
            continue
        yield Placement(device, dtype)


def _run_device(run: CheckRun, device: Device) -> None:
    """Run the cases on the last device of the report."""
    report, result = run.report, run.report.devices[-1]
    availability = device.availability()
    if not availability.usable:
        result.reason = f"{availability.reason}; {availability.advice}"
        return
    supported = list(placements(device, run.dtypes))
    result.lacks = [d for d in run.dtypes if d not in {placement.dtype for placement in supported}]
    items = [
        (case, placement)
        for placement in supported
        for case in run.chosen
        if placement.dtype in case.dtypes
    ]
    if not items:
        result.reason = f"no case has a dtype it supports; it lacks {', '.join(result.lacks)}"
        return
    result.ran, result.description = True, device.description
    result.emulated = device.is_emulated

    def compute(item: tuple[Case, Placement]) -> Finding:
        missing = _missing_function(*item)
        optimized = item[0] in run.optimized
        return missing or run_case(*item, run.references.of, optimized=optimized)

    failed = []
    for (case, placement), finding in run.mapped(result.name, items, compute):
        result.add(case, placement.dtype, finding.error)
        if finding.faults:
            failed.append((case, placement, finding.faults))
    for case, placement, faults in failed:
        cause = _cause(case, placement, faults, failed)
        report.disagreements += [
            Disagreement(case.component, case.name, result.name, placement.dtype, fault, cause)
            for fault in faults
        ]


def _missing_function(case: Case, placement: Placement) -> Finding | None:
    name = case.component.removeprefix(PREFIX)
    if not case.component.startswith(PREFIX) or hasattr(placement.xp, name):
        return None
    module = getattr(placement.xp, "__name__", placement.device.backend)
    fault = f"{DID_NOT_RUN}: {module} has no {name}; add it, as the standard defines it"
    return Finding(None, (fault,))


def _cause(
    case: Case,
    placement: Placement,
    faults: Sequence[str],
    failed: Sequence[tuple[Case, Placement, Sequence[str]]],
) -> str:
    """Return the failed functions or operators that make another case fail, or ""."""
    if case.kind == "function":
        return ""
    functions = [
        (other.component, errors)
        for other, where, errors in failed
        if other.kind == "function" and where == placement
    ]
    same = [name for name, errors in functions if set(faults) == set(errors)]
    if same and faults[0].startswith(DID_NOT_RUN):
        return same[0]  # an operator cannot be replaced, but it raises the same error
    names = [name for name, _ in functions if name.startswith(PREFIX)]
    if not names:
        return ""
    cause = cause_of(case, placement, [name.removeprefix(PREFIX) for name in names])
    return ", ".join(PREFIX + name for name in cause.split(", ")) if cause else ""


def _check_host_reads(run: CheckRun, added_only: bool) -> None:
    """Run every case on a device whose arrays cannot be read back to the host."""
    name = "no hidden transfer to the host"
    report = run.report
    if not find_device("torch:cpu").availability().usable:
        if not added_only:  # a property of layers and losses, not of an array library
            report.properties[name] = "NOT RUN: needs PyTorch"
        return
    checked = [case for case in run.chosen if can_check_host_reads(case)]
    for case, fault in run.mapped("transfers", checked, host_read_error):
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float32", fault)
            )
    report.properties[name] = f"{len(checked)} cases, on PyTorch's meta device"


def _count_traced(report: Report, chosen: Sequence[Case], devices: Sequence[Device]) -> str:
    """Count the cases that ran through jax.jit, as everything on JAX does; "" if none did."""
    ran = {result.name for result in report.ran}
    if not any(device.runs_as == "jit" for device in devices if device.name in ran):
        return ""
    return f"{sum(case.traceable for case in chosen)} cases"


def _check_values(run: CheckRun) -> None:
    """Compare the reference with values that are not computed by the library."""
    report = run.report
    items = [(witness, case) for case in run.chosen for witness in case.witnesses]

    def compute(item: tuple[Witness, Case]) -> str:
        return witness_error(*item)

    for (witness, case), fault in run.mapped("witnesses", items, compute):
        used = report.witnesses.setdefault(case.component, [])
        if witness.name not in used:
            used.append(witness.name)
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float64", fault)
            )


def _check_derivatives(run: CheckRun) -> None:
    """Compare every backward with the derivatives of its oracles."""
    report = run.report
    items = [(oracle, case) for case in run.chosen for oracle in oracles_for(case)]

    def compute(item: tuple[Oracle, Case]) -> str:
        return oracle_error(*item)

    for (oracle, case), fault in run.mapped("oracles", items, compute):
        used = report.oracles.setdefault(case.component, [])
        if oracle.name not in used:
            used.append(oracle.name)
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float64", fault)
            )
