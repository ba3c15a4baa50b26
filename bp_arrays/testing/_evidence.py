"""When CUDA was last verified, on hardware and emulated, from the record inside the package.

The record is `record.json` beside this file. `python -m benchmarks record` writes it from the
reports of `bp-arrays check --json`; an installed package has that of its release.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.testing._provenance import source_hash
from bp_arrays.testing._registry import cases

RECORD = Path(__file__).with_name("record.json")
KINDS = ("hardware", "emulated")
EMULATED = "emulated"
"""The word in the name of every emulated device."""


@dataclass(frozen=True)
class Evidence:
    """A recorded run on CUDA in which everything agreed.

    Parameters
    ----------
    kind : str
        "hardware", or "emulated": CuPy itself, on a device that no GPU takes part in.
    date, device, commit : str
        `device` names CuPy's version, the card and the driver.
    cases : int
        Number of results that were compared, each dtype counted.
    worst : dict of str to float
        The largest error in each dtype, in its eps.
    source, case_names : str
        Digests of the code and of the cases that ran.
    """

    kind: str
    date: str
    device: str
    commit: str
    cases: int
    worst: dict[str, float]
    source: str
    case_names: str

    @classmethod
    def of_report(cls, report: dict[str, Any]) -> Evidence:
        """Return what a report of `bp-arrays check --json` proves of CUDA.

        Raises
        ------
        InputError
            If it proves nothing: CUDA did not run, something disagreed, or cases are missing.
        """
        ran = [d for d in report["devices"] if d["ran"] and d["name"].startswith("cuda")]
        if not ran:
            raise InputError("the report proves nothing of CUDA: it did not run")
        if not report["ok"]:
            raise InputError("the report proves nothing: results disagree, or a device is missing")
        result = ran[0]
        lacks = set(result["lacks"])
        impossible = {case.name for case in cases() if lacks.issuperset(case.dtypes)}
        names = impossible | set(result["errors"])
        missing = {case.name for case in cases()} - names
        if missing:
            raise InputError(f"the report is of a part only: {len(missing)} cases did not run")
        return cls(
            # Two signs, either of which is enough: no emulated run may pass for hardware.
            kind=KINDS[result["emulated"] or EMULATED in result["description"].lower()],
            date=report["date"][:10],
            device=result["description"],
            commit=report["commit"],
            cases=result["cases"],
            worst=result["worst_by_dtype"],
            source=report["source"],
            case_names=case_names(names),
        )

    @property
    def is_stale(self) -> bool:
        """True if the code or the cases have changed since."""
        return self.source != source_hash() or self.case_names != case_names()

    def __str__(self) -> str:
        revision, plus, changes = self.commit.partition("+")
        worst = ", ".join(f"{dtype} {error:.1f}" for dtype, error in self.worst.items())
        return (
            f"verified {self.date} ({self.device}; commit {revision[:10]}{plus}{changes}; "
            f"{self.cases} cases agree, worst eps: {worst})"
        )


def case_names(names: Any = None) -> str:
    """Return a digest of the names of cases, by default of those that there are now."""
    listed = sorted({case.name for case in cases()} if names is None else names)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()[:16]


def read_record(path: Path = RECORD) -> dict[str, Evidence | None]:
    """Return the last run of each kind; None where there is none, or none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {}
    return {kind: _entry(kind, record) for kind in KINDS}


def write_record(evidence: Evidence, path: Path = RECORD) -> None:
    """Write a run into the record, in place of the last one of its kind."""
    runs = read_record(path) | {evidence.kind: evidence}
    values = {kind: None if run is None else asdict(run) for kind, run in runs.items()}
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def cuda_line(path: Path = RECORD, *, stale: bool = True) -> str:
    """Say in one line what was verified with CUDA, on hardware and emulated.

    Parameters
    ----------
    path : Path
    stale : bool, default True
        Whether to say that the code has changed since a run.
    """
    runs = read_record(path)
    return (
        f"CUDA on hardware: {_said(runs['hardware'], stale)}; "
        f"CUDA emulated on the CPU: {_said(runs['emulated'], stale)}"
    )


def _said(run: Evidence | None, stale: bool) -> str:
    if run is None:
        return "never verified"
    return f"{run}. STALE: code or cases have changed since" if stale and run.is_stale else str(run)


def _entry(kind: str, record: Any) -> Evidence | None:
    try:
        values = {field.name: record[kind][field.name] for field in fields(Evidence)}
        run = Evidence(**values)
        emulated = EMULATED in run.device.lower()
        valid = run.kind == kind == KINDS[emulated] and bool(str(run))
    except (LookupError, TypeError, AttributeError, ValueError):
        return None
    return run if valid else None
