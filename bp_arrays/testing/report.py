"""What a check found, as data and as the table a person reads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Disagreement:
    """One result that is not what it must be: where, and what is wrong with it."""

    component: str
    case: str
    device: str
    dtype: str
    message: str


@dataclass
class DeviceResult:
    """What happened on one device.

    `worst` holds the largest measured error of each component, in eps of the dtype tested.
    """

    name: str
    ran: bool
    reason: str = ""
    cases: int = 0
    worst: dict[str, float] = field(default_factory=dict)


@dataclass
class Report:
    """What a check found on every device it was asked for.

    `oracles` says which independent derivatives each component's backward was held against.
    """

    devices: list[DeviceResult] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    oracles: dict[str, list[str]] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    seconds: float = 0.0

    @property
    def not_run(self) -> list[DeviceResult]:
        """The devices that did not run."""
        return [device for device in self.devices if not device.ran]

    @property
    def ok(self) -> bool:
        """Whether everything that ran agrees and everything required ran."""
        return not self.disagreements and not any(d.name in self.required for d in self.not_run)

    def to_json(self) -> dict[str, Any]:
        """The whole report as what JSON can hold."""
        whole = asdict(self)
        whole["cases"] = sum(device.cases for device in self.devices)
        return whole

    def __str__(self) -> str:
        return "\n".join([*self._matrix(), "", *self._found(), *self._missing(), self._verdict()])

    def _matrix(self) -> list[str]:
        ran = [device for device in self.devices if device.ran]
        components = list(dict.fromkeys(name for device in ran for name in device.worst))
        failed = {(d.component, d.device) for d in self.disagreements}
        width = max((len(name) for name in components), default=0)
        columns = [max(len(device.name), 11) for device in ran]
        names = "  ".join(f"{d.name:>{w}}" for d, w in zip(ran, columns, strict=True))
        lines = [f"{'worst error, in eps':<{width}}  {names}"]
        for name in components:
            cells = []
            for device, w in zip(ran, columns, strict=True):
                verdict = "FAIL" if (name, device.name) in failed else "PASS"
                measured = device.worst.get(name)
                shown = "-" if measured is None else f"{measured:.1f} {verdict}"
                cells.append(f"{shown:>{w}}")
            lines.append(f"{name:<{width}}  {'  '.join(cells)}")
        counts = "  ".join(f"{d.cases:>{w}}" for d, w in zip(ran, columns, strict=True))
        return [*lines, f"{'cases':<{width}}  {counts}"]

    def _found(self) -> list[str]:
        return [
            f"DISAGREES  {d.case} on {d.device}, {d.dtype}: {d.message}" for d in self.disagreements
        ]

    def _missing(self) -> list[str]:
        return [f"NOT RUN    {device.name}: {device.reason}" for device in self.not_run]

    def _verdict(self) -> str:
        ran = [device.name for device in self.devices if device.ran]
        cases = sum(device.cases for device in self.devices)
        verdict = "agree" if not self.disagreements else f"{len(self.disagreements)} DISAGREE"
        return (
            f"{cases} cases on {', '.join(ran) or 'no device'}: {verdict}; "
            f"{len(self.not_run)} device(s) NOT RUN; {self.seconds:.0f} s"
        )
