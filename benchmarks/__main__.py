"""Measure speed against the peers and its growth with the work; write the tables and charts."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import bp_arrays as bp
from benchmarks import distributed, workloads
from benchmarks.capture import compared
from benchmarks.charts import speed_chart, sweep_chart
from benchmarks.contestants import CONTESTANTS, FLOOR, OURS, unavailable
from benchmarks.counts import counted_by_torch, counted_networks, missing
from benchmarks.examples import compared_examples
from benchmarks.layers import measure_layers, run_with_threads
from benchmarks.load import load_table, measure_load, worst
from benchmarks.measuring import Result, disagreement, measure
from benchmarks.memory import measure_memory
from benchmarks.peers import uses_tf32
from benchmarks.readme_tables import layers_table, write_tables
from benchmarks.record import record
from benchmarks.short import measure_short, short_table
from benchmarks.soak import report_large, soak
from benchmarks.surroundings import surroundings, warnings
from benchmarks.sweeps import SWEEPS, measure_sweep
from bp_arrays.testing import _provenance as provenance

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parent / "README.md"
SAME_WORK = 1e-3
"""How far the loss of an epoch may be from ours: rounding, which training feeds back."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for machine in ("cpu", "gpu"):
        add = commands.add_parser(machine, help=f"against the peers, on a {machine.upper()}")
        add.add_argument("--rounds", type=int, default=9, help="epochs that count; 9")
        add.add_argument("--only", default="", metavar="WORD", help="networks whose name has it")
        add.add_argument("--steps", type=int, help="per epoch; by default enough for its start")
        add.add_argument("--out", type=Path, metavar="FOLDER", help="for speed-*.json and .png")
        add.set_defaults(tf32=False)
    add.add_argument("--tf32", action="store_true", help="round products to TF32 everywhere")
    add = commands.add_parser("sweep", help="time per step over width, depth and batch")
    add.add_argument("--device", default="cpu", help="cpu")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for sweep-*.json and .png")
    add = commands.add_parser("capture", help="CUDA graphs against plain steps: the same training?")
    add.add_argument("--device", default="cuda", help="cuda")
    add.add_argument("--only", default="", metavar="WORDS", help="training runs named so")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for capture.json")
    add = commands.add_parser("counts", help="kernels, copies, waits of a step (emulated)")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for counts.json")
    add = commands.add_parser("layers", help="layers for images, sequences, text")
    add.add_argument("--threads", type=int, default=1, metavar="N", help="of every contestant; 1")
    add.add_argument("--device", default="cpu", help="cpu; torch:cpu, jax:cpu: on arrays of a peer")
    add.add_argument("--rounds", type=int, default=7, help="turns of every contestant; 7")
    add.add_argument("--only", default="", metavar="WORD", help="rows whose name has it")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for layers-N.json")
    add = commands.add_parser("soak", help="does memory or the time per step grow?")
    add.add_argument("--minutes", type=float, default=30.0, help="30")
    add.add_argument("--device", default="cpu", help="cpu")
    commands.add_parser("large", help="10 million samples, 50 million parameters, threads, forks")
    add = commands.add_parser("examples", help="three examples on several devices: same losses?")
    add.add_argument("--device", action="append", required=True, help="one more device; again")
    add.add_argument("--steps", type=int, default=20, help="of each example; 20")
    add.add_argument("--small", action="store_true", help="small nets")
    add.add_argument("--only", default="", metavar="WORD", help="examples whose name has it")
    add.add_argument("--compute-dtype", metavar="DTYPE", help="bfloat16, float16: mixed precision")
    add.set_defaults(out=None)
    add = commands.add_parser("distributed", help="two processes, against PyTorch's DDP over gloo")
    add.add_argument("--rounds", type=int, default=15, help="turns of every contestant; 15")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for distributed.json")
    add = commands.add_parser("short", help="repeated short calls of fit, against the peers")
    add.add_argument("--rounds", type=int, default=15, help="calls that count; 15")
    add.add_argument("--only", default="", metavar="WORD", help="networks whose name has it")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for short.json")
    add = commands.add_parser("load", help="beside 0, 1, 2, 4 busy processes, against the peers")
    add.add_argument("--rounds", type=int, default=5, help="turns of every contestant; 5")
    add.add_argument("--only", default="", metavar="WORD", help="networks whose name has it")
    add.add_argument("--out", type=Path, metavar="FOLDER", help="for load.json")
    add = commands.add_parser("record", help="record what bp-arrays check proved of CUDA")
    add.add_argument("reports", nargs="+", type=Path, metavar="FILE", help="check-*.json")
    commands.add_parser("tables", help="write the tables of README.md from results/")
    args = parser.parse_args(argv)
    if args.command == "layers":
        words = sys.argv[1:] if argv is None else list(argv)
        returned = run_with_threads(words, args.threads)
        if returned is not None:
            return returned
    if args.command == "tables":
        write_tables(README, RESULTS)
        return 0
    for line in warnings():
        print(line)
    try:
        return run(args)
    except bp.BpArraysError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Run the benchmark named on the command line."""
    if args.command == "record":
        record(args.reports)
        return 0
    if args.command == "soak":
        print(soak(args.minutes, args.device))
        return 0
    if args.command == "large":
        return 0 if report_large() else 1
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    if args.command == "sweep":
        return sweep(args.device, args.out)
    if args.command == "capture":
        return capture(args.device, args.only, args.out)
    if args.command == "layers":
        return layers(args)
    if args.command == "short":
        rows = rows_of("short", measure_short(args.rounds, args.only), args.rounds, args.out)
        print(short_table(rows))
        return 0
    if args.command == "load":
        rows = rows_of("load", measure_load(args.rounds, args.only), args.rounds, args.out)
        print(load_table(rows))
        print(worst(rows))
        return 0
    if args.command == "counts":
        return count(args.out)
    if args.command == "distributed":
        return several_processes(args.rounds, args.out)
    if args.command == "examples":
        return examples(args.device, args.steps, args.small, args.only, args.compute_dtype)
    if args.tf32:
        os.environ["CUPY_TF32"] = "1"
    return speed(args.command, args.rounds, args.only, args.steps, args.out)


def speed(machine: str, rounds: int, only: str, steps: int | None, out: Path | None) -> int:
    """Measure each network, and write its result when it is ready."""
    taking_part = {}
    for name, make in CONTESTANTS[machine].items():
        missing = unavailable(name, machine)
        if missing:
            print(f"NOT RUN  {name}: {missing}")
        else:
            taking_part[name] = make
    if OURS not in taking_part:
        return 1
    name = f"speed-{machine}" + ("-tf32" if uses_tf32() else "")
    report: dict[str, Any] = {**surroundings(), "rounds": rounds, "networks": [], "memory": []}
    for workload in workloads.CPU if machine == "cpu" else workloads.GPU:
        if only not in workload.name:
            continue
        workload = workload if steps is None else replace(workload, steps=steps)
        contestants = {name: make(workload) for name, make in taking_part.items()}
        result = measure(workload, contestants, rounds=rounds, warm=2)
        for epoch in contestants.values():  # a thread of ours alone sets the number for BLAS
            getattr(epoch, "end", lambda: None)()
        print(lines(result), flush=True)
        report["networks"].append(entry(result))
        if machine == "cpu" and workload in workloads.CPU[-2:]:
            use = measure_memory(workload)
            print(f"  {use}", flush=True)
            report["memory"].append(asdict(use))
        if out:
            write(report, out / f"{name}.json")
            speed_chart(report, out / f"{name}.png")
    return 0


def sweep(device: str, out: Path | None) -> int:
    """Measure and fit each sweep, and write its result when it is ready."""
    report: dict[str, Any] = {**surroundings(), "device": device, "sweeps": []}
    name = device.replace(":", "-")
    for kind in SWEEPS:
        found = measure_sweep(kind, device)
        print(found, flush=True)
        report["sweeps"].append(asdict(found))
        if out:
            write(report, out / f"sweep-{name}.json")
            sweep_chart(report, out / f"sweep-{name}.png")
    return 0


def layers(args: argparse.Namespace) -> int:
    """Measure nets and layers, and write each result when it is ready."""
    report: dict[str, Any] = {**surroundings(), "rounds": args.rounds, "layers": []}
    library = args.device.split(":")[0]
    name = f"layers-{args.threads}" if library == "cpu" else f"layers-{library}-{args.threads}"
    for result in measure_layers(args.rounds, args.only, args.device):
        if isinstance(result, str):
            print(result, flush=True)
            continue
        report["layers"].append(result.entry())
        print(json.dumps(result.entry()), flush=True)
        if args.out:
            write(report, args.out / f"{name}.json")
    print(layers_table(report, name))
    return 0


def several_processes(rounds: int, out: Path | None) -> int:
    """Measure training in two processes, and write the result."""
    results = distributed.start(rounds)
    print(distributed.table(results))
    if out:
        report = {**surroundings(), "rounds": rounds, "nets": results}
        write(report, out / "distributed.json")
    return 0


def rows_of(name: str, measured: Iterable[Any], rounds: int, out: Path | None) -> list[Any]:
    """Return the rows of a measurement, and write each when it is ready."""
    report: dict[str, Any] = {**surroundings(), "rounds": rounds, name: []}
    rows = []
    for row in measured:
        rows.append(row)
        report[name].append(row.entry())
        print(json.dumps(row.entry()), flush=True)
        if out:
            write(report, out / f"{name}.json")
    return rows


def capture(device: str, only: str, out: Path | None) -> int:
    """Compare training with and without graphs; return 1 if a case is not captured or differs."""
    place = bp.device(device).require()
    report: dict[str, Any] = {**surroundings(), "device": place.description, "training_runs": []}
    for found in compared(device, only):
        what = ", ".join(found[key] for key in ("net", "optimizer", "dtype", "data"))
        print(
            f"{'ok  ' if found['ok'] else 'FAIL'} {what}: by {found['compiled_by'] or 'nothing'}, "
            f"losses {found['losses_apart']:.0e} apart, "
            f"{'' if found['repeatable'] else 'not '}repeatable",
            flush=True,
        )
        report["training_runs"].append(found)
        if out:
            write(report, out / "capture.json")
    return 0 if all(found["ok"] for found in report["training_runs"]) else 1


def examples(
    devices: list[str], steps: int, small: bool, only: str, compute_dtype: str | None
) -> int:
    """Compare the losses of three examples with those of NumPy; return 1 if one differs."""
    different = 0
    for result in compared_examples(
        devices, steps, small=small, only=only, compute_dtype=compute_dtype
    ):
        print(result, flush=True)
        different += not result.same
    return 1 if different else 0


def count(out: Path | None) -> int:
    """Count the operations of steps; keep the old counts where this environment cannot count."""
    path = None if out is None else out / "counts.json"
    report = json.loads(path.read_text()) if path is not None and path.exists() else {}
    reasons = {
        "networks": missing(),
        "torch": "" if importlib.util.find_spec("torch") else "PyTorch is not installed",
    }
    for part, counts in (("networks", counted_networks), ("torch", counted_by_torch)):
        if reasons[part]:
            print(f"NOT RUN  {part}: {reasons[part]}")
            continue
        report[part] = []
        for found in counts():
            print(json.dumps(found), flush=True)
            report[part].append(found)
        report[f"{part} by"] = {
            "commit": provenance.commit(), "versions": provenance.versions()
        }  # fmt: skip
    if path is not None:
        write(report, path)
    return 1 if all(reasons.values()) else 0


def lines(result: Result) -> str:
    """Return the line of a network: its times, and our time divided by each peer's."""
    said = [f"{result.workload.name} ({result.workload.parameters:,} parameters)"]
    for name in result.times:
        line = f"  {name:<15} {result.median(name):>10.1f} µs per step"
        if name != OURS:
            line += f"   {OURS} / it {result.ratio(OURS, name):.2f}"
        if name not in (OURS, FLOOR):
            off = disagreement(result, name, OURS)
            line += f"   losses {off:.0e} apart" + ("" if off < SAME_WORK else "  NOT THE SAME")
        said.append(line)
    return "\n".join(said)


def entry(result: Result) -> dict[str, Any]:
    """Return the same values as numbers."""
    others = [name for name in result.times if name != OURS]
    return {
        "name": result.workload.name,
        "parameters": result.workload.parameters,
        "operations": result.workload.operations,
        "microseconds": {name: round(result.median(name), 1) for name in result.times},
        "ratio": {name: round(result.ratio(OURS, name), 3) for name in others},
        "loss_apart": {name: disagreement(result, name, OURS) for name in others if name != FLOOR},
    }


def write(report: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
