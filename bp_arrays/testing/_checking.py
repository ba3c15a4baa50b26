"""Running cases on devices: what is checked, where, and the report of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.layers import Layer
from bp_arrays.losses import Loss
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._oracles import Oracle, oracles_for
from bp_arrays.testing._placement import HostArrays, Place
from bp_arrays.testing._registry import cases, components
from bp_arrays.testing._report import EVERY, DeviceResult, Disagreement, Report
from bp_arrays.testing._running import (
    Finding,
    hidden_transfer,
    judged_by,
    reference,
    run_case,
    shows_transfers,
)
from bp_arrays.testing.cases._user import own_cases
from bp_arrays.typing import Shape

DEVICES = ("cpu", "strict", "strict:device1", "torch:cpu", "jax:cpu", "cuda")
"""What is checked unless told: what cannot be used is reported as not run."""


WORKERS = min(4, os.cpu_count() or 1)
"""Threads at work: NumPy and the compilers leave Python's lock while they compute."""

Progress = Callable[[str], None]
Job = TypeVar("Job")
Result = TypeVar("Result")


def chosen_cases(only: Sequence[str] = ()) -> list[Case]:
    """The registered cases of the components whose name contains one of the words, any case.

    Raises
    ------
    InputError
        If a word fits no component; the nearest one is suggested.
    """
    words = [word.strip().lower() for word in only]
    for word in words:
        if not word:
            raise InputError("check: expected a part of a component's name, got an empty word")
        if not any(word in name.lower() for name in components()):
            raise unknown_name("component", word, components())
    return [
        case
        for case in cases()
        if not words or any(word in case.component.lower() for word in words)
    ]


def check(
    *components: Layer | Loss,
    input_shape: int | Shape,
    devices: Sequence[str | Device] = DEVICES,
    require: Sequence[str | Device] = (),
    dtypes: Sequence[str] = DTYPES,
    progress: Progress | None = None,
) -> Report:
    """Check layers or losses of your own: the same on every device, their backward right.

    Parameters
    ----------
    *components : Layer or Loss
    input_shape : int or tuple of int
        The shape of one sample, without the batch; for a loss, of one output.
    devices : sequence of str or Device
        By default everything usable on this machine.
    require : sequence of str or Device, optional
        Devices whose absence makes the report fail.
    dtypes : sequence of str
        Each is tested where the device has it: "float16" and "bfloat16" too, if named.
    progress : function of a line of text, optional
        Told what is being done.

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
    >>> check(bp.Tanh(), input_shape=3, devices=["cpu"]).ok
    True
    """
    return check_cases(
        own_cases(components, input_shape),
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
    progress: Progress | None = None,
) -> Report:
    """Run cases on devices; a device that cannot be used is reported so, never left out.

    Parameters
    ----------
    chosen : sequence of Case
    devices, require, dtypes, progress
        As `check` takes them.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        If no case was chosen, or for an unknown device or dtype.
    """
    if not chosen:
        raise InputError("check: no case was chosen")
    _check_listed("devices", devices)
    _check_listed("require", require)
    check_dtypes(dtypes)
    started = time.perf_counter()
    required = [find_device(name).name for name in require]
    report = Report(required=required, limits={case.name: case.limit for case in chosen})
    say = progress or (lambda line: None)
    references = References()
    with ThreadPoolExecutor(WORKERS) as pool:
        for name in dict.fromkeys([find_device(d).name for d in devices] + required):
            report.devices.append(DeviceResult(name))
            _run_device(report, chosen, dtypes, references, pool, say)
        if report.ran:
            report.properties["traceable by jax.jit"] = _traced(report, chosen)
            _look_for_transfers(report, chosen, pool, say)
            _ask_oracles(report, chosen, pool, say)
    report.seconds = time.perf_counter() - started
    return report


def check_dtypes(dtypes: Sequence[str]) -> None:
    """Raise InputError unless these are names of dtypes that can be asked for."""
    _check_listed("dtypes", dtypes)
    for dtype in dtypes:
        if dtype not in DTYPES_WITH_HALF:
            raise unknown_name("dtype", dtype, DTYPES_WITH_HALF)


def _check_listed(option: str, names: Sequence[str | Device]) -> None:
    if isinstance(names, (str, Device)):
        raise InputError(f"check({option}=): expected a list of names, such as [{names!r}]")


class References(dict[tuple[Case, str], HostArrays]):
    """The float64 results of each case for inputs rounded to each dtype, computed once."""

    def of(self, case: Case, place: Place) -> HostArrays:
        key = (case, place.dtype)
        if key not in self:
            self[key] = reference(case, place)
        return self[key]


def places(device: Device, dtypes: Iterable[str]) -> Iterator[Place]:
    """The device in each of the dtypes it has."""
    for dtype in dtypes:
        try:
            device.dtype(dtype)
        except InputError:
            continue
        yield Place(device, dtype)


def _run_device(
    report: Report,
    chosen: Sequence[Case],
    dtypes: Sequence[str],
    references: References,
    pool: ThreadPoolExecutor,
    say: Progress,
) -> None:
    """Run the cases on the device last added to the report."""
    result = report.devices[-1]
    device = find_device(result.name)
    availability = device.availability()
    if not availability.usable:
        result.reason = f"{availability.reason}; {availability.advice}"
        return
    found = list(places(device, dtypes))
    result.lacks = [d for d in dtypes if d not in {place.dtype for place in found}]
    jobs = [(case, place) for place in found for case in chosen if place.dtype in case.dtypes]
    if not jobs:
        result.reason = f"no case in a dtype that it has; it lacks {', '.join(result.lacks)}"
        return
    result.ran, result.description = True, device.description

    def run(job: tuple[Case, Place]) -> Finding:
        return run_case(*job, references.of)

    for (case, place), finding in _all(jobs, run, pool, partial(_line, say, result.name)):
        result.add(case, place.dtype, finding.error)
        report.disagreements += [
            Disagreement(case.component, case.name, result.name, place.dtype, fault)
            for fault in finding.faults
        ]


def _look_for_transfers(
    report: Report, chosen: Sequence[Case], pool: ThreadPoolExecutor, say: Progress
) -> None:
    """Run every case where nothing can be read back to the host."""
    if not find_device("torch:cpu").availability().usable:
        report.properties["no hidden transfer to the host"] = "NOT RUN: needs PyTorch"
        return
    jobs = [case for case in chosen if shows_transfers(case)]
    for case, fault in _all(jobs, hidden_transfer, pool, partial(_line, say, "transfers")):
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float32", fault)
            )
    report.properties["no hidden transfer to the host"] = f"{len(jobs)} cases, on PyTorch's meta"


def _traced(report: Report, chosen: Sequence[Case]) -> str:
    """On how many cases jax.jit, through which everything on JAX runs, had its say."""
    if not any(find_device(result.name).runs_as == "jit" for result in report.ran):
        return "NOT RUN: needs JAX among the devices that run"
    return f"{sum(case.traceable for case in chosen)} cases"


def _ask_oracles(
    report: Report, chosen: Sequence[Case], pool: ThreadPoolExecutor, say: Progress
) -> None:
    """Hold every backward against derivatives found another way."""
    jobs = [(oracle, case) for case in chosen for oracle in oracles_for(case)]

    def ask(job: tuple[Oracle, Case]) -> str:
        return judged_by(*job)

    for (oracle, case), fault in _all(jobs, ask, pool, partial(_line, say, "oracles")):
        used = report.oracles.setdefault(case.component, [])
        if oracle.name not in used:
            used.append(oracle.name)
        if fault:
            report.disagreements.append(
                Disagreement(case.component, case.name, EVERY, "float64", fault)
            )


def _all(
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    pool: ThreadPoolExecutor,
    say: Callable[[int, int], None],
) -> Iterator[tuple[Job, Result]]:
    """Each job and its result, in the order of the jobs; worked on together."""
    for done, (job, result) in enumerate(zip(jobs, pool.map(work, jobs), strict=True), 1):
        say(done, len(jobs))
        yield job, result


def _line(say: Progress, where: str, done: int, of: int) -> None:
    say(f"{where}: {done} of {of} cases")
