"""`Report`: the results of a check, as data and as a printed table."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bp_arrays.testing import _provenance as provenance
from bp_arrays.testing._case import Case

REFERENCE = ("cpu", "float64")
"""The device and dtype of the reference; the oracles check its backward."""


SHOWN = 8
"""Names listed on one line."""

DID_NOT_RUN = "did not run"
"""The begin of the fault of a case that raised an error."""

EVERY = "every device"
"""The device of a fault of the component itself: a wrong derivative is wrong everywhere."""


@dataclass(frozen=True)
class Disagreement:
    """One incorrect result: its case, device and dtype, the fault, and the function at fault.

    `cause` names array functions that disagree themselves, and without whose fault this result
    would agree; it is empty where there are none.
    """

    component: str
    case: str
    device: str
    dtype: str
    message: str
    cause: str = ""


@dataclass
class DeviceResult:
    """The results on one device.

    Parameters
    ----------
    name : str
    ran : bool
    reason : str
        The reason why it did not run.
    description : str
        The library, its version and the accelerator.
    emulated : bool
        Whether the accelerator is emulated on the CPU.
    cases : int
        Number of cases that ran, each dtype counted.
    lacks : list of str
        Requested dtypes that the device does not support.
    worst : dict of str to float
        The largest error of each component, in eps of the tested dtype.
    worst_by_dtype : dict of str to float
        The largest error of all components in each dtype.
    errors : dict of str to dict of str to float
        The error of each case in each dtype.
    failed : dict of str to int
        Number of cases of each component that raised an error, each dtype counted.
    """

    name: str
    ran: bool = False
    reason: str = ""
    description: str = ""
    emulated: bool = False
    cases: int = 0
    lacks: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)
    worst_by_dtype: dict[str, float] = field(default_factory=dict)
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)

    def add(self, case: Case, dtype: str, error: float | None) -> None:
        """Count a case and record its error; None if it did not run."""
        if error is None:
            self.failed[case.component] = self.failed.get(case.component, 0) + 1
            return
        self.cases += 1
        self.errors.setdefault(case.name, {})[dtype] = error
        self.worst[case.component] = max(error, self.worst.get(case.component, 0.0))
        self.worst_by_dtype[dtype] = max(error, self.worst_by_dtype.get(dtype, 0.0))

    def worst_of(self, dtype: str) -> str:
        """Format the largest error in a dtype; a word instead if there is none."""
        if dtype not in self.worst_by_dtype:
            return "lacks it" if dtype in self.lacks else "-"
        if (self.name, dtype) == REFERENCE:
            return "reference"
        return f"{self.worst_by_dtype[dtype]:.1f}"


@dataclass
class Report:
    """The results of a check on all devices; printed, a table.

    Parameters
    ----------
    devices : list of DeviceResult
    disagreements : list of Disagreement
    witnesses : dict of str to list of str
        What checked each component's values without the library's maths.
    oracles : dict of str to list of str
        The oracles that checked each component's backward.
    properties : dict of str to str
        Checks besides values that not every machine can run, and the number of their cases.
    required : list of str
        Devices that had to run.
    expected_failures : list of Disagreement
        Disagreements that are known: they matched a pattern of `xfail`.
    stale : list of str
        Patterns of `xfail` without a disagreement.
    ended_by : str
        The case that did not return, at which the check ended; empty if all cases ran.
    limits : dict of str to float
        The largest error allowed for each case, in eps.
    left_out : int
        The number of cases that a quick check did not run, on any device.
    """

    devices: list[DeviceResult] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    witnesses: dict[str, list[str]] = field(default_factory=dict)
    oracles: dict[str, list[str]] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    expected_failures: list[Disagreement] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    ended_by: str = ""
    limits: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    seconds: float = 0.0
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat())
    machine: str = field(default_factory=provenance.machine)
    versions: dict[str, str] = field(default_factory=provenance.versions)
    commit: str = field(default_factory=provenance.commit)
    source: str = field(default_factory=provenance.source_hash)

    @property
    def ran(self) -> list[DeviceResult]:
        """The devices that ran."""
        return [device for device in self.devices if device.ran]

    @property
    def not_run(self) -> list[DeviceResult]:
        """The devices that did not run."""
        return [device for device in self.devices if not device.ran]

    @property
    def ok(self) -> bool:
        """True if a device ran, all cases and required devices ran, and all results agree.

        Expected failures do not count.
        """
        missed = any(device.name in self.required for device in self.not_run)
        return bool(self.ran) and not (self.disagreements or missed or self.ended_by)

    @property
    def cases(self) -> int:
        """Number of cases that ran, over all devices."""
        return sum(device.cases for device in self.devices)

    @property
    def components(self) -> list[str]:
        """Names of the components that were checked."""
        ran = [name for device in self.ran for name in (*device.worst, *device.failed)]
        return list(dict.fromkeys(ran))

    def checked_by(self, component: str) -> str:
        """Name what checked the values of a component, then what checked its backward."""
        by = (self.witnesses.get(component, []), self.oracles.get(component, []))
        return "; ".join(", ".join(names) for names in by if names)

    def verdict(self, component: str, device: DeviceResult) -> str:
        """Return "PASS" or "FAIL"; "did not run" if every case raised; "-" if it has no case."""
        if component not in device.worst:
            return DID_NOT_RUN if component in device.failed else "-"
        failed = any(
            d.component == component and d.device in (device.name, EVERY)
            for d in self.disagreements
        )
        return "FAIL" if failed else "PASS"

    def summary(self) -> str:
        """Summarize the result in one line."""
        names = ", ".join(device.name for device in self.ran)
        failed = sum(sum(device.failed.values()) for device in self.ran)
        failed -= sum(d.message.startswith(DID_NOT_RUN) for d in self.expected_failures)
        count = sum(not d.message.startswith(DID_NOT_RUN) for d in self.disagreements)
        outcomes = []
        if count:
            outcomes.append(f"{count} {'result DISAGREES' if count == 1 else 'results DISAGREE'}")
        if failed:
            outcomes.append(f"{failed} DID NOT RUN")
        caused = sum(bool(d.cause) for d in self.disagreements)
        if caused:
            outcomes.append(f"{caused} of them because of an array function")
        outcome = ", ".join(outcomes) or "all agree"
        if self.expected_failures:
            outcome += f", {len(self.expected_failures)} known to fail"
        if self.ended_by:
            outcome += "; ENDED EARLY"
        if self.left_out:
            outcome += f"; QUICK, {self.left_out} more cases of these components were left out"
        return (
            f"{f'{self.cases} cases on {names}: {outcome}' if names else 'NOTHING ran'}; "
            f"{len(self.not_run)} device{'' if len(self.not_run) == 1 else 's'} NOT RUN; "
            f"{self.seconds:.0f} s"
        )

    @property
    def faults(self) -> dict[str, list[str]]:
        """Faults by component, one line for all cases with the same message.

        Those that an array function causes are summed up in a line of this function.
        """
        alike: dict[tuple[str, str], list[Disagreement]] = {}
        for d in self.disagreements:
            if d.cause:
                continue
            alike.setdefault((d.component, d.message), []).append(d)
        lines: dict[str, list[str]] = {}
        for (component, message), (d, *more) in alike.items():
            also = f" (and {len(more)} more)" if more else ""
            line = f"{d.case} on {d.device}, {d.dtype}: {message}{also}"
            lines.setdefault(component, []).append(line)
        for (cause, device), caused in self._caused().items():
            components = list(dict.fromkeys(d.component for d in caused))
            shown = ", ".join(components[:SHOWN]) + (", ..." if len(components) > SHOWN else "")
            lines.setdefault(cause, []).append(
                f"{cause} on {device}: {len(caused)} results of {len(components)} components "
                f"disagree because of it: {shown}"
            )
        return lines

    def _caused(self) -> dict[tuple[str, str], list[Disagreement]]:
        """Group the disagreements with a cause by it and by device."""
        groups: dict[tuple[str, str], list[Disagreement]] = {}
        for d in self.disagreements:
            if d.cause:
                groups.setdefault((d.cause, d.device), []).append(d)
        return groups

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values, with null for an infinite error."""
        whole: dict[str, Any] = _without_infinities(asdict(self))
        return whole | {"ok": self.ok, "cases": self.cases}

    def __str__(self) -> str:
        blocks = (self._matrix(), self._properties(), self._faults(), self._missing())
        texts = ["\n".join(lines) for lines in blocks]
        return "\n\n".join([*filter(None, texts), self.summary()])

    def _matrix(self) -> Iterator[str]:
        first = max([len(name) for name in self.components] + [20])
        widths = [max(len(device.name), 11) for device in self.ran]

        def row(name: str, cells: list[str], last: str = "") -> str:
            aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
            return f"{name:<{first}}  {'  '.join(aligned)}  {last}".rstrip()

        if not self.ran:
            return
        yield row("worst error, in eps", [d.name for d in self.ran], "checked by")
        for name in self.components:
            cells = [
                f"{d.worst[name]:.1f} {self.verdict(name, d)}"
                if name in d.worst
                else self.verdict(name, d)
                for d in self.ran
            ]
            yield row(name, cells, self.checked_by(name))
        for dtype in dict.fromkeys(dtype for d in self.ran for dtype in d.worst_by_dtype):
            yield row(f"all, {dtype}", [d.worst_of(dtype) for d in self.ran])
        yield row("cases", [str(d.cases) for d in self.ran])

    def _properties(self) -> Iterator[str]:
        if not self.ran:
            return
        yield (
            "on every device, for every case: results stay on the device and in the dtype, have "
            "the same bits\nwhen run twice, and leave the inputs unchanged"
        )
        for name, measured in self.properties.items():
            yield f"{name}: {measured}"

    def _faults(self) -> Iterator[str]:
        for lines in self.faults.values():
            for line in lines:
                word = "ERROR" if f": {DID_NOT_RUN}: " in line else "DISAGREES"
                yield f"{word:<9}  {line}"
        yield from self.known_faults

    @property
    def known_faults(self) -> list[str]:
        """Lines about expected failures, and about a case that did not return."""
        lines = [f"XPASS      {line}" for line in self.stale]
        if self.expected_failures:
            names = list(dict.fromkeys(d.case for d in self.expected_failures))
            shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
            lines.insert(0, f"XFAIL      {len(self.expected_failures)} known: {shown}")
        if self.ended_by:
            lines.append(f"ENDED      {self.ended_by}: the cases after it did not run")
        return lines

    def _missing(self) -> Iterator[str]:
        for device in self.not_run:
            required = "REQUIRED, " if device.name in self.required else ""
            yield f"NOT RUN    {device.name}: {required}{device.reason}"


def _without_infinities(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinities(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_infinities(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
