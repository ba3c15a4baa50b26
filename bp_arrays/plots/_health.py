"""Figure of training health: error, spread and saturation of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra


class HealthRow(Protocol):
    """The numbers of one layer after one epoch."""

    @property
    def epoch(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def std(self) -> float: ...
    @property
    def saturated(self) -> float: ...
    @property
    def dead(self) -> float: ...
    @property
    def error(self) -> float: ...


MARKS = "osD^vPX*"
PANELS = (
    ("error", "error δ, root mean square", "log"),
    ("std", "standard deviation of the outputs", "linear"),
    ("stuck", "saturated or dead", "linear"),
)


def draw_health(layers: Sequence[HealthRow]) -> Any:
    """Draw one line per layer, distinguished by marker and dash, not by color alone."""
    if not layers:
        raise InputError(
            "Diagnosis.plot: expected a training run, got none; pass the Diagnosis to "
            "fit(callbacks=[...])"
        )
    require_extra("plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    names = list(dict.fromkeys((h.path, h.kind) for h in layers))
    for (quantity, title, scale), ax in zip(PANELS, axes, strict=True):
        for k, (path, kind) in enumerate(names):
            epochs = [h for h in layers if h.path == path]
            values = [_value(h, quantity) for h in epochs]
            if not np.isfinite(values).any() or (scale == "log" and not np.any(values)):
                continue
            ax.plot(
                [h.epoch for h in epochs],
                values,
                marker=MARKS[k % len(MARKS)],
                linestyle=("-", "--", ":", "-.")[k % 4],
                markersize=4,
                label=f"{path} {kind}",
            )
        ax.set(title=title, xlabel="epoch", yscale=scale)
        if quantity == "stuck":
            ax.set_ylim(-0.02, 1.02)
    # one legend for all panels, each layer in it once
    lines = {line.get_label(): line for ax in axes for line in ax.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize="small")
    return figure


def _value(h: HealthRow, quantity: str) -> float:
    if quantity == "stuck":
        return h.dead if np.isnan(h.saturated) else h.saturated
    return h.error if quantity == "error" else h.std
