"""The curves of a training: each loss and metric over the epochs, validation beside training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bp_arrays.errors import InputError
from bp_arrays.plots._saving import new_picture

Series = Mapping[str, Sequence[float]]

PANEL = (4.4, 3.4)
"""Width and height of one panel, in inches."""

BESIDE = ("learning_rate", "seconds")
"""Series that are drawn only when they are asked for."""

LABELS = {"r2": "R²", "learning_rate": "learning rate", "seconds": "seconds an epoch"}

TRAINING: dict[str, Any] = {"color": "#0072b2", "linestyle": "-", "marker": "o"}
VALIDATION: dict[str, Any] = {"color": "#d55e00", "linestyle": (0, (4, 1.5)), "marker": "s"}
"""From Okabe and Ito's colours, which the colour-blind tell apart; dash and mark do without."""

MARKED_EPOCHS = 20
"""Up to so many epochs each has its mark; a line of a single epoch would be invisible."""

DECADES = 20.0
"""A series of positive values whose largest is so many times its least is drawn on a log scale."""


class Best(NamedTuple):
    """The best epoch, counted from 1, and the series that it is judged by."""

    epoch: int
    monitor: str


def panel_names(series: Series, names: Sequence[str] = ()) -> list[str]:
    """What there is to draw: the named series or, without names, every loss and metric.

    A series and its validation share a panel.

    Raises
    ------
    InputError
        If nothing has been recorded yet.
    """
    recorded = [name for name, values in series.items() if len(values)]
    if not recorded:
        raise InputError("there is nothing to plot yet: no epoch has been completed")
    if names:
        return list(dict.fromkeys(names))
    return [name for name in recorded if name not in BESIDE and _trained(name) not in recorded]


def draw_curves(
    series: Series,
    names: Sequence[str],
    axes: Iterable[Any],
    *,
    best: Best | None = None,
    held_out: Mapping[str, float] | None = None,
) -> None:
    """Draw each named series, with its validation, into its Axes.

    Parameters
    ----------
    series : mapping of str to sequence of float
        One value an epoch.
    names : sequence of str
        As `panel_names` gives them.
    axes : iterable of matplotlib Axes, one for each name
    best : Best, optional
        The epoch to mark.
    held_out : mapping of str to float, optional
        Values of the finished model on data held out, by name of the series; drawn as a level.
    """
    for name, ax in zip(names, axes, strict=True):
        _draw(ax, series, name, best, (held_out or {}).get(name))


def curves(series: Series, names: Sequence[str], best: Best | None) -> Any:
    """A picture with a panel for each name, side by side."""
    width, height = PANEL
    picture = new_picture(width * len(names), height)
    draw_curves(series, names, picture.subplots(1, len(names), squeeze=False)[0], best=best)
    return picture


def _draw(ax: Any, series: Series, name: str, best: Best | None, level: float | None) -> None:
    lines = {name: VALIDATION if _trained(name) in series else TRAINING}
    if len(series.get(f"val_{name}", ())):
        lines[f"val_{name}"] = VALIDATION
    epochs = len(series[name])
    seen = [] if level is None else [level]
    for each, look in lines.items():
        values = list(series[each])
        seen += values
        ax.plot(
            range(1, epochs + 1),
            values,
            **look | ({} if epochs <= MARKED_EPOCHS else {"marker": None}),
            linewidth=1.6,
            markersize=4,
            label="validation" if look is VALIDATION else "training",
        )
    if best is not None:
        _mark(ax, best, series[list(lines)[-1]][best.epoch - 1])
    if level is not None:
        ax.axhline(level, color=_ink(), linestyle=":", linewidth=1.2, label=f"{level:.4g} held out")
    _set_scale(ax, seen)
    _set_epochs(ax, epochs)
    ax.set_ylabel(LABELS.get(name, name.replace("_", " ")), parse_math=False)
    ax.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        legend = ax.legend(  # above the panel, where no curve runs
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=2,
            frameon=False,
            fontsize="small",
            borderaxespad=0.0,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)


def _mark(ax: Any, best: Best, value: float) -> None:
    """A ring around the best epoch's value, and its numbers in the legend."""
    ax.plot(
        [best.epoch],
        [value],
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=_ink(),
        markeredgewidth=1.3,
        label=f"{value:.4g} at epoch {best.epoch} (best {best.monitor})",
    )


def _set_scale(ax: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0.0 and max(finite) > DECADES * min(finite):
        few = max(finite) < 100.0 * min(finite)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _set_epochs(ax: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if epochs == 1:
        ax.set_xlim(0.5, 1.5)


def _ink() -> Any:
    """The colour of text, which the user's style sets: dark on light paper, light on dark."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def _trained(name: str) -> str | None:
    """The series of the training that this one is the validation of."""
    return name.removeprefix("val_") if name.startswith("val_") else None
