"""Read thousands of damaged files, and report per reader how many were refused, read, or worse.

    python -m tests.damage [--seed N] [--count N] [--only WORD]

Exit code 1 if a reader raised anything but an error of the library in one line, or took more
than a second.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
from pathlib import Path

from tests.damage.damage import read_damaged
from tests.damage.samples import samples


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage (default: 0)")
    parser.add_argument("--count", type=int, default=3000, help="files per reader (default: 3000)")
    parser.add_argument("--only", default="", metavar="WORD", help="readers with this word only")
    args = parser.parse_args()
    faulthandler.enable()  # a library may crash on damaged data: then say which
    failed = False
    print(f"{'reader':<20} {'refused':>8} {'read':>8} {'others':>8}")
    with tempfile.TemporaryDirectory() as name:
        for sample in samples(Path(name)):
            if args.only not in sample.reader:
                continue
            print(f"{sample.reader:<20} ", end="", flush=True)
            outcome = read_damaged(sample, args.count, args.seed, Path(name))
            print(f"{outcome.refused:>8} {outcome.read:>8} {len(outcome.others):>8}", flush=True)
            print("".join(f"    {other}\n" for other in outcome.others[:20]), end="")
            failed |= bool(outcome.others)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
