"""Training curves: each loss and metric over the epochs, for training and validation data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bp_arrays.errors import InputError
from bp_arrays.plots._saving import new_picture

Series = Mapping[str, Sequence[float]]

PANEL = (4.4, 3.4)
"""Width and height of one panel, in inches."""

ON_REQUEST = (
    "learning_rate", "seconds", "skipped_steps", "gradient_norm", "update_norm", "update_ratio"
)  # fmt: skip
"""Series that are drawn only if named."""

LABELS = {
    "r2": "R²",
    "learning_rate": "learning rate",
    "seconds": "seconds per epoch",
    "skipped_steps": "skipped steps",
}

TRAINING: dict[str, Any] = {"color": "#0072b2", "linestyle": "-", "marker": "o"}
VALIDATION: dict[str, Any] = {"color": "#d55e00", "linestyle": (0, (4, 1.5)), "marker": "s"}
"""Colors of Okabe and Ito, safe for color blindness; dash and marker also work without color."""

MARKED_EPOCHS = 20
"""Number of epochs up to which each has a marker; a single epoch has no line."""

LOG_RATIO = 20.0
"""Ratio of the largest to the smallest positive value above which the axis is logarithmic."""


class Best(NamedTuple):
    """The best epoch, counted from 1, and the series that determines it."""

    epoch: int
    monitor: str


def panel_names(series: Series, names: Sequence[str] = ()) -> list[str]:
    """List the panels to draw: the named series or, without names, every loss and metric.

    A series and its validation series share a panel.

    Raises
    ------
    InputError
        If no epoch was recorded.
    """
    recorded = [name for name, values in series.items() if len(values)]
    if not recorded:
        raise InputError("plot: expected a completed epoch, got none; train first")
    if names:
        return list(dict.fromkeys(names))
    return [
        name
        for name in recorded
        if name.partition("/")[0] not in ON_REQUEST and _training_series(name) not in recorded
    ]


def draw_curves(
    series: Series,
    names: Sequence[str],
    axes: Iterable[Any],
    *,
    best: Best | None = None,
    held_out: Mapping[str, float] | None = None,
) -> None:
    """Draw each named series, with its validation series, into its Axes.

    Parameters
    ----------
    series : mapping of str to sequence of float
        One value per epoch.
    names : sequence of str
        Names from `panel_names`.
    axes : iterable of matplotlib Axes, one for each name
    best : Best, optional
        The epoch to mark.
    held_out : mapping of str to float, optional
        Values of the trained model on test data, by series; drawn as horizontal lines.
    """
    for name, ax in zip(names, axes, strict=True):
        _draw(ax, series, name, best, (held_out or {}).get(name))


def curves(series: Series, names: Sequence[str], best: Best | None) -> Any:
    """Draw a new figure with one panel per name, side by side."""
    width, height = PANEL
    picture = new_picture(width * len(names), height)
    draw_curves(series, names, picture.subplots(1, len(names), squeeze=False)[0], best=best)
    return picture


def _draw(ax: Any, series: Series, name: str, best: Best | None, level: float | None) -> None:
    styles = {name: VALIDATION if _training_series(name) else TRAINING}
    if len(series.get(f"val_{name}", ())):
        styles[f"val_{name}"] = VALIDATION
    epochs = len(series[name])
    drawn = [] if level is None else [level]
    for line, style in styles.items():
        values = list(series[line])
        drawn += values
        marker = style["marker"] if epochs <= MARKED_EPOCHS else None
        ax.plot(
            range(1, epochs + 1),
            values,
            **style | {"marker": marker},
            linewidth=1.6,
            markersize=4,
            label="validation" if style is VALIDATION else "training",
        )
    if best is not None:
        _mark(ax, best, series[list(styles)[-1]][best.epoch - 1])
    if level is not None:
        label = f"{level:.4g} on test data"
        ax.axhline(level, color=_text_color(), linestyle=":", linewidth=1.2, label=label)
    _set_scale(ax, drawn)
    _set_epochs(ax, epochs)
    ax.set_ylabel(LABELS.get(name, name.replace("_", " ")), parse_math=False)
    ax.grid(alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if len(ax.get_legend_handles_labels()[0]) > 1:
        legend = ax.legend(  # above the panel, off the curves
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
    """Draw a ring around the value of the best epoch, with its numbers in the legend."""
    ax.plot(
        [best.epoch],
        [value],
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=_text_color(),
        markeredgewidth=1.3,
        label=f"{value:.4g} at epoch {best.epoch} (best {best.monitor})",
    )


def _set_scale(ax: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) > 0.0 and max(finite) > LOG_RATIO * min(finite):
        subs = (1.0, 2.0, 5.0) if max(finite) < 100.0 * min(finite) else (1.0,)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=subs))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())


def _set_epochs(ax: Any, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if epochs == 1:
        ax.set_xlim(0.5, 1.5)


def _text_color() -> Any:
    """Return the text color of the user's Matplotlib style, light or dark."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def _training_series(name: str) -> str | None:
    """Return the training series that belongs to a validation series; None for any other."""
    return name.removeprefix("val_") if name.startswith("val_") else None
