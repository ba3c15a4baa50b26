"""Charts of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestants import FLOOR, OURS, PLAIN

COLOURS = {
    FLOOR: "#8a8f98",
    PLAIN: "#555555",
    "PyTorch": "#d1495b",
    "torch.compile": "#edae49",
    "jax.jit": "#30638e",
    "scikit-learn": "#66a182",
    "Thinc": "#7d5ba6",
}
OWN = "#111111"


def speed_chart(report: dict[str, Any], path: Path) -> None:
    """Draw a row per network: each library's time divided by ours."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

    networks = report["networks"]
    figure, axes = plt.subplots(figsize=(8.5, 1.6 + 0.55 * len(networks)), layout="constrained")
    axes.axvline(1.0, color=OWN, linewidth=1.5, label=OURS)
    seen: set[str] = set()
    for row, network in enumerate(networks):
        for name, ratio in network["ratio"].items():
            axes.plot(
                1.0 / ratio, -row, "|" if name == FLOOR else "o", markersize=11 if name == FLOOR
                else 8, markeredgewidth=2.5 if name == FLOOR else 0, color=COLOURS.get(name, OWN),
                label=name if name not in seen else None,
            )  # fmt: skip
            seen.add(name)
    axes.set_yticks([-row for row in range(len(networks))], [n["name"] for n in networks])
    axes.set_ylim(-len(networks) + 0.4, 0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.grid(axis="both", color="#e3e5e8")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(f"time of a training step, that of {OURS} = 1 (left is faster)")
    figure.legend(loc="outside upper center", ncols=7, frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def sweep_chart(report: dict[str, Any], path: Path) -> None:
    """Draw the points of each sweep and the fitted line."""
    import matplotlib

    matplotlib.use("agg")
    import numpy as np
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    sweeps = report["sweeps"]
    figure, all_axes = plt.subplots(
        1, len(sweeps), figsize=(4.2 * len(sweeps), 3.6), layout="constrained", squeeze=False
    )
    for axes, sweep in zip(all_axes[0], sweeps, strict=True):
        work = np.asarray(sweep["work"])
        for name, times in sweep["microseconds"].items():
            colour = OWN if name == OURS else COLOURS[FLOOR]
            axes.plot(work, times, "o", color=colour, label=name)
            along = np.geomspace(work.min(), work.max(), 100)
            axes.plot(along, sweep["fixed"][name] + sweep["slope"][name] * along, color=colour)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{sweep['name']}", loc="left")
        axes.set_xlabel("layers" if sweep["unit"] == "layer" else "million operations per step")
        axes.set_ylabel("µs per step")
        axes.grid(color="#e3e5e8")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
