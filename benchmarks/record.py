"""Write the result of a check on CUDA into the package's record and README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bp_arrays.errors import InputError
from bp_arrays.testing import Evidence, cuda_line, write_record

README = Path(__file__).parents[1] / "README.md"
BETWEEN = re.compile("(<!-- evidence -->).*?(<!-- /evidence -->)", re.DOTALL)


def record(reports: Sequence[Path], page: Path = README) -> None:
    """Record reports of `bp-arrays check --json`, hardware and emulated separately.

    Raises
    ------
    InputError
        If a report has no results on CUDA; the reports before it are recorded.
    """
    for path in reports:
        try:
            evidence = Evidence.of_report(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: not a report of bp-arrays check --json: {error!r}") from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        write_record(evidence)
        print(f"recorded as {evidence.kind}: {evidence}")
    text = page.read_text(encoding="utf-8")
    line = cuda_line(stale=False)
    page.write_text(BETWEEN.sub(lambda found: found[1] + line + found[2], text), encoding="utf-8")
