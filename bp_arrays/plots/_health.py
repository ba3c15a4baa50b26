"""The picture of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bp_arrays.errors import InputError, MissingExtraError


class HealthRow(Protocol):
    """The numbers of one layer after one epoch that are drawn."""

    @property
    def epoch(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def deviation(self) -> float: ...
    @property
    def saturated(self) -> float: ...
    @property
    def dead(self) -> float: ...
    @property
    def error(self) -> float: ...


MARKS = "osD^vPX*"
PANELS = (
    ("error", "error δ, root mean square", "log"),
    ("deviation", "deviation of the outputs", "linear"),
    ("stuck", "saturated or dead", "linear"),
)


def draw_health(layers: Sequence[HealthRow]) -> Any:
    """A figure with one line for each layer: told apart by mark and dash, not by colour alone."""
    if not layers:
        raise InputError("there is nothing to plot yet: hand the Diagnosis to fit(callbacks=[...])")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError('a plot needs Matplotlib: pip install "bp_arrays[plot]"') from None
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    names = list(dict.fromkeys((h.path, h.kind) for h in layers))
    for (what, title, scale), ax in zip(PANELS, axes, strict=True):
        for k, (path, kind) in enumerate(names):
            own = [h for h in layers if h.path == path]
            values = [_value(h, what) for h in own]
            if not np.isfinite(values).any() or (scale == "log" and not np.any(values)):
                continue
            ax.plot(
                [h.epoch for h in own],
                values,
                marker=MARKS[k % len(MARKS)],
                linestyle=("-", "--", ":", "-.")[k % 4],
                markersize=4,
                label=f"{path} {kind}",
            )
        ax.set(title=title, xlabel="epoch", yscale=scale)
        if what == "stuck":
            ax.set_ylim(-0.02, 1.02)
    # one legend beside the panels, each layer in it once
    lines = {line.get_label(): line for ax in axes for line in ax.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize="small")
    return figure


def _value(h: HealthRow, what: str) -> float:
    if what == "stuck":
        return h.dead if np.isnan(h.saturated) else h.saturated
    return float(getattr(h, what))
