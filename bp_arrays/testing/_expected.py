"""`ExpectedFailures`: known faults of a library, which do not fail the check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from bp_arrays.errors import InputError
from bp_arrays.testing._case import Case
from bp_arrays.testing._report import Report


def read_patterns(path: Path) -> list[str]:
    """Read a file of known faults: one pattern per line, with comments after #.

    Raises
    ------
    InputError
        If there is no such file, or it is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(
            f"--xfail {path}: expected a file of patterns, got no such file; write them to one, a "
            "pattern per line"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"--xfail {path}: expected a text file in UTF-8") from None
    patterns = (line.partition("#")[0].strip() for line in lines)
    return [pattern for pattern in patterns if pattern]


def expect_failures(report: Report, chosen: Iterable[Case], patterns: Sequence[str]) -> None:
    """Move the disagreements that match a pattern to `report.expected_failures`.

    A pattern that matches results which all agree, or nothing, is reported in `report.stale`.
    """
    used = set()
    kept = []
    for disagreement in report.disagreements:
        names = (
            disagreement.component,
            disagreement.case,
            f"{disagreement.case} on {disagreement.device}",
            f"{disagreement.case} on {disagreement.device}, {disagreement.dtype}",
        )
        matching = [pattern for pattern in patterns if _matches(pattern, names)]
        used.update(matching)
        if matching:
            report.expected_failures.append(replace(disagreement))
        else:
            kept.append(disagreement)
    report.disagreements = kept
    ran = [
        (case.component, case.name, f"{case.name} on {d.name}", f"{case.name} on {d.name}, {dtype}")
        for d in report.ran
        for case in chosen
        for dtype in d.errors.get(case.name, {})
    ]
    for pattern in dict.fromkeys(patterns):
        if pattern not in used:
            count = sum(_matches(pattern, names) for names in ran)
            what = f"{count} results that it names agree" if count else "it names no case that ran"
            report.stale.append(f"{pattern}: {what}; remove the line")


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(pattern == name or fnmatchcase(name, pattern) for name in names)
