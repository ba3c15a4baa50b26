"""python -m benchmarks cpu [--rounds N] [--only WORD] [--out FOLDER]: speed against the peers.

Every contestant that is installed trains the same networks from the same first weights on the
same batches, taking turns in one process; the table shows microseconds a step and, more
important, ratios: machines differ, and this one may be busy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.contestants import CPU_CONTESTANTS, available
from benchmarks.measuring import Result, disagreement, measure
from benchmarks.memory import MemoryUse, measure_memory
from benchmarks.workloads import CPU, Workload
from bp_arrays.testing import provenance

SAME_WORK = 5e-3
"""How far the loss of an epoch may be from ours: rounding, which a training feeds back."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("machine", choices=["cpu"], help="which contestants and networks")
    parser.add_argument("--rounds", type=int, default=9, help="epochs that count (default: 9)")
    parser.add_argument("--only", default="", metavar="WORD", help="networks whose name has it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write speed-cpu.json here")
    args = parser.parse_args(argv)
    results = []
    for workload in CPU:
        if args.only in workload.name:
            result = _measured(workload, args.rounds)
            print(_lines(result), flush=True)
            results.append(result)
    memory = [measure_memory(w) for w in CPU[-2:] if args.only in w.name]
    for use in memory:
        print(use)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_report(results, memory), indent=1)
        (args.out / "speed-cpu.json").write_text(text + "\n")
    return 0


def _measured(workload: Workload, rounds: int) -> Result:
    contestants = {}
    for name, make in CPU_CONTESTANTS.items():
        missing = available(name)
        if missing:
            print(f"NOT RUN  {name}: {missing}")
        else:
            contestants[name] = make(workload)
    return measure(workload, contestants, rounds=rounds, warm=2)


def _lines(result: Result) -> str:
    lines = [f"{result.workload.name} ({result.workload.parameters:,} parameters)"]
    for name in result.times:
        line = f"  {name:<14} {result.median(name):>10.1f} µs a step"
        if name == "bp_arrays":
            lines.append(line)
            continue
        line += f"   bp_arrays / it {result.ratio('bp_arrays', name):.2f}"
        if name != "matmuls alone":
            off = disagreement(result, name, "bp_arrays")
            line += f"   losses {off:.0e} apart" + ("" if off < SAME_WORK else "  NOT THE SAME")
        lines.append(line)
    return "\n".join(lines)


def _report(results: list[Result], memory: list[MemoryUse]) -> dict[str, object]:
    return {
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "networks": [
            {
                "name": r.workload.name,
                "parameters": r.workload.parameters,
                "microseconds": {name: round(r.median(name), 1) for name in r.times},
                "ratio": {
                    name: round(r.ratio("bp_arrays", name), 3)
                    for name in r.times
                    if name != "bp_arrays"
                },
                "loss_apart": {
                    name: disagreement(r, name, "bp_arrays")
                    for name in r.times
                    if name not in ("bp_arrays", "matmuls alone")
                },
            }
            for r in results
        ],
        "memory": [asdict(use) for use in memory],
    }


if __name__ == "__main__":
    raise SystemExit(main())
