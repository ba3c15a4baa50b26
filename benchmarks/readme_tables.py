"""The tables of README.md, generated from the files in results/."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.contestants import FLOOR, OURS, PLAIN
from benchmarks.sweeps import BARE

ABSENT = "*Not measured yet.*"


def write_tables(page: Path, results: Path) -> None:
    """Replace the text between `<!-- NAME -->` and `<!-- /NAME -->` for each kind of result."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"<!-- /([a-z0-9-]+) -->", text):
        kind, _, _ = name.partition("-")
        path = results / f"{name}.json"
        filling = TABLES[kind](json.loads(path.read_text()), name) if path.exists() else ABSENT
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + "\n" + filling + "\n" + end + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def speed_table(report: dict[str, Any], name: str) -> str:
    """Return the table of times and ratios, then the memory and the machine."""
    networks = report["networks"]
    others = list(dict.fromkeys(n for network in networks for n in network["ratio"]))
    lines = [
        f"| network, batch | {OURS} | {' | '.join(others)} |",
        f"| --- |{' ---: |' * (len(others) + 1)}",
    ]
    for network in networks:
        times, ratios = network["microseconds"], network["ratio"]
        cells = [f"{times[n]:,.0f} ({ratios[n]:.2f})" if n in ratios else "–" for n in others]
        lines.append(f"| {network['name']} | **{times[OURS]:,.0f}** | {' | '.join(cells)} |")
    lines += ["", f"![times in units of ours](results/{name}.png)", ""]
    lines.append(
        f"Microseconds per step, medians of {report['rounds']} rounds; in brackets, {OURS}'s time "
        f"in units of it. A peer is faster in {_slower(networks)} of {len(networks)} rows."
    )
    lines += [
        f"Memory, {use['name']}: {use['peak'] / 1e6:.1f} MB at the peak of training; four times "
        f"the parameters, activations and two batches are {use['needed'] / 1e6:.1f} MB."
        for use in report["memory"]
    ]
    return "\n".join([*lines, "", machine_line(report)])


def sweep_table(report: dict[str, Any], name: str) -> str:
    """Return the table of the fitted lines of the sweeps."""
    lines = [
        "| sweep | what | fixed, µs per step | µs more per | farthest point |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for sweep in report["sweeps"]:
        for who in sweep["microseconds"]:
            lines.append(
                f"| {sweep['name']} | {who} | {sweep['fixed'][who]:.1f} | "
                f"{sweep['slope'][who]:.3g} / {sweep['unit']} | {sweep['farthest'][who]:.0%} |"
            )
    lines += ["", f"![time of a step over the work](results/{name}.png)", ""]
    for sweep in report["sweeps"]:
        if BARE in sweep["slope"]:
            ours, bare = sweep["slope"][OURS], sweep["slope"][BARE]
            lines.append(
                f"Each additional layer adds {ours:.1f} µs to a step, including its array "
                "operations; the same operations written out one after another take "
                f"{bare:.1f} µs."
            )
    return "\n".join([*lines, "", machine_line(report)])


def layers_table(report: dict[str, Any], name: str) -> str:
    """Return the table of nets and layers."""
    rows = report["layers"]
    others = list(dict.fromkeys(n for row in rows for n in row["ratio"]))
    lines = [
        f"| ms | {OURS} | {' | '.join(others)} |",
        f"| --- |{' ---: |' * (len(others) + 1)}",
    ]
    for row in rows:
        times, ratios = row["milliseconds"], row["ratio"]
        cells = [f"{times[n]:.2f} ({ratios[n]:.2f})" if n in ratios else "–" for n in others]
        lines.append(f"| {row['name']} | **{times[OURS]:.2f}** | {' | '.join(cells)} |")
    return "\n".join([*lines, "", machine_line(report)])


WORK = {
    "kernels": "kernels", "products": "products", "algorithms": "by CUB",
    "on_device": "copies on the device", "fills": "fills", "to_device": "copies to the device",
    "to_host": "copies to the host", "synchronizations": "waits", "allocations": "allocations",
    "calls": "calls by the host",
}  # fmt: skip
"""What the emulated device counts, and the heads of its columns."""


def counts_table(report: dict[str, Any], name: str) -> str:
    """Return the table of counts per step, then the counts per window and epoch."""
    columns = [w for w in WORK if any(w in network["step"] for network in report["networks"])]
    lines = [
        "| network | steps, data |"
        f" {' | '.join(WORK[w] for w in columns)} | PyTorch's operations |",
        f"| --- | --- |{' ---: |' * (len(columns) + 1)}",
    ]
    by_torch = {tuple(n["layers"]): n["operations"] for n in report.get("torch", [])}
    rows: dict[tuple[Any, ...], list[tuple[int, ...]]] = {}
    for network in report["networks"]:  # those that cost the same share a row
        layers = tuple(network["layers"])
        costs = tuple(network["step"].get(w, 0) for w in columns)
        key = len(layers), network["way"], network["data"], costs, by_torch.get(layers)
        rows.setdefault(key, []).append(layers)
    for (_, way, data, costs, operations), networks in sorted(rows.items(), key=_order):
        names = ", ".join("-".join(map(str, layers)) for layers in networks)
        cells = " | ".join(map(str, costs))
        lines.append(f"| {names} | {way}, {data} | {cells} | {operations or '–'} |")
    every = {
        (n["way"], n["data"]): " · ".join(
            f"{part}: "
            + ", ".join(f"{WORK[w]} {n[part][w]}" for w in WORK if w in n[part])
            for part in ("window", "epoch")
        )
        for n in report["networks"]
    }  # fmt: skip
    lines += ["", "In addition to the steps, for every network:", ""]
    lines += [f"- {way}, {data}: {costs}" for (way, data), costs in every.items()]
    versions = report["networks by"]["versions"]
    lines += ["", f"CuPy {versions.get('cupy', '')} on the emulated device"]
    if "torch by" in report:
        lines[-1] += f"; PyTorch {report['torch by']['versions']['torch']}, a trace on the CPU"
    lines[-1] += "."
    return "\n".join(lines)


def _order(row: Any) -> tuple[Any, ...]:
    (layers, way, data, *_), networks = row
    return layers, networks, way, data != "on the device"


def machine_line(report: dict[str, Any]) -> str:
    """Return the line that names the machine and the versions."""
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    threads = "; ".join(
        " ".join(str(value) for value in (pool.get("internal_api"), pool.get("version"),
        f"for {pool['architecture']}" if "architecture" in pool else "",
        f"with {pool.get('num_threads')} threads") if value)
        for pool in report["threads"]
    )  # fmt: skip
    set_ = ", ".join(f"{k}={v}" for k, v in report["variables"].items()) or "none"
    return (
        f"Measured at commit {report['commit'][:12] or 'unknown'} on {report['processor']}, "
        f"{report['machine']}; {versions}. {threads}. Variables set: {set_}."
    )


def _slower(networks: list[dict[str, Any]]) -> int:
    return sum(
        any(ratio > 1.0 for n, ratio in network["ratio"].items() if n not in (FLOOR, PLAIN))
        for network in networks
    )


TABLES = {
    "speed": speed_table, "sweep": sweep_table, "layers": layers_table, "counts": counts_table,
}  # fmt: skip
