"""When the maths was last verified on a GPU, from the reports recorded in the repository."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bp_arrays.testing._provenance import PACKAGE, source_hash
from bp_arrays.testing._registry import cases

RESULTS = PACKAGE.parent / "benchmarks" / "results"


@dataclass(frozen=True)
class Evidence:
    """A recorded run on CUDA in which everything agreed."""

    date: str
    where: str
    commit: str
    cases: int
    worst: dict[str, float]
    stale: bool

    def __str__(self) -> str:
        said = (
            f"CUDA last verified {self.date} ({self.where}; commit {self._commit()}; "
            f"{self.cases} cases agree, worst eps: {self._worst()})"
        )
        return f"{said}. STALE: code or cases have changed since" if self.stale else said

    def _commit(self) -> str:
        revision, plus, changes = self.commit.partition("+")
        return revision[:10] + plus + changes

    def _worst(self) -> str:
        return ", ".join(f"{dtype} {error:.1f}" for dtype, error in self.worst.items())


def latest(folder: Path = RESULTS) -> Evidence | None:
    """The newest of the recorded reports `check-*.json` that verifies CUDA, None without one.

    A report in which CUDA did not run, or something disagreed, verifies nothing; nor does a file
    that cannot be read as a report.
    """
    found = [evidence for path in folder.glob("check-*.json") if (evidence := _read(path))]
    return max(found, key=lambda evidence: evidence.date, default=None)


def cuda_line(folder: Path = RESULTS) -> str:
    """What is known of CUDA, in one line for reports."""
    if not folder.is_dir():
        return "what was verified on a GPU is recorded in benchmarks/results of the repository"
    evidence = latest(folder)
    return str(evidence) if evidence else "CUDA never verified: no run on a GPU is recorded"


def _read(path: Path) -> Evidence | None:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        ran = [d for d in report["devices"] if d["ran"] and d["name"].startswith("cuda")]
        if not ran or not report["ok"]:
            return None
        cuda = ran[0]
        complete = {case.name for case in cases()} <= set(cuda["errors"])
        return Evidence(
            date=report["date"][:10],
            where=cuda["description"],
            commit=report["commit"],
            cases=cuda["cases"],
            worst=cuda["worst_by_dtype"],
            stale=report["source"] != source_hash() or not complete,
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
