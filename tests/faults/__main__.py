"""Disturb training with checkpoints in every way, resume it, and compare every bit.

    python -m tests.faults [--seed N] [--short] [--only WORD]

Prints for each fault the number of trials, how often work was lost, and how often a result was
wrong. Exit code 1 unless both are 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.faults import FAULTS, Bench


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--short", action="store_true", help="a few trials of each fault")
    parser.add_argument("--only", default="", metavar="WORD", choices=["", *FAULTS])
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    parser.add_argument("--folder", default=memory, help=f"for the files (default: {memory})")
    args = parser.parse_args()
    failed = False
    print(f"{'fault':<42} {'trials':>6} {'losses':>7} {'wrong results':>14} {'seconds':>8}")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        bench = Bench.made(Path(name), args.seed)
        for word, (fault, trials, short) in FAULTS.items():
            if args.only not in ("", word):
                continue
            began = time.perf_counter()
            outcome = fault(bench, short if args.short else trials)
            seconds = time.perf_counter() - began
            print(
                f"{outcome.fault:<42} {outcome.trials:>6} {outcome.lost:>7} {outcome.wrong:>14} "
                f"{seconds:>8.1f}"
            )
            print("".join(f"    {note}\n" for note in outcome.notes), end="", flush=True)
            failed |= bool(outcome.lost or outcome.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
