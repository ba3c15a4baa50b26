"""Curves and scatter plots as SVG, for pages that need neither Matplotlib nor a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 430, 280
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40

LOG_RATIO = 20.0
"""Ratio of the largest to the smallest value above which the axis is logarithmic."""


class Scale:
    """A linear or logarithmic axis from values to pixels, with ticks at round values."""

    def __init__(self, values: Sequence[float], first: float, last: float, *, log: bool) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        self.is_log = log and low > 0.0 and high > LOG_RATIO * low
        if low == high:
            margin = abs(low) or 1.0
            low, high = low - 0.5 * margin, high + 0.5 * margin
        elif not self.is_log:
            margin = 0.04 * (high - low)
            low, high = low - margin, high + margin
        self._low, self._high = self._position(low), self._position(high)
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        fraction = (self._position(value) - self._low) / (self._high - self._low)
        return self._first + fraction * (self._last - self._first)

    def ticks(self, count: int = 5) -> list[float]:
        """Return round values within the axis."""
        if self.is_log:
            exponents = range(math.floor(self._low), math.ceil(self._high) + 1)
            marks = (1.0,) if self._high - self._low > 2.5 else (1.0, 2.0, 5.0)
            values = [mark * 10.0**exponent for exponent in exponents for mark in marks]
            return [v for v in values if self._low <= math.log10(v) <= self._high]
        raw = (self._high - self._low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= raw)
        first = math.ceil(self._low / step)
        return [k * step for k in range(first, math.floor(self._high / step) + 1)]

    def _position(self, value: float) -> float:
        return math.log10(value) if self.is_log else value


def line_chart(
    lines: Mapping[str, Sequence[float]],
    *,
    label: str,
    level: tuple[str, float] | None = None,
    best: int | None = None,
) -> str:
    """Return the chart of series over epochs.

    Parameters
    ----------
    lines : mapping of str to sequence of float
        "training", and "validation" if there is one.
    label : str
        The name of the values.
    level : (str, float), optional
        A horizontal line and its description.
    best : int, optional
        The epoch to mark on the last series, counted from 1.
    """
    epochs = max(map(len, lines.values()))
    values = [value for series in lines.values() for value in series]
    values += [] if level is None else [level[1]]
    x = Scale([1.0, float(max(epochs, 2))], LEFT, WIDTH - RIGHT, log=False)
    y = Scale(values, HEIGHT - BOTTOM, TOP, log=True)
    parts = _axes(x, y, "epoch", whole=True)
    for name, series in lines.items():
        points = [(x(k), y(v)) for k, v in enumerate(series, 1) if math.isfinite(v)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline class="{escape(name)}" points="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle class="{escape(name)}" cx="{points[0][0]:.1f}" '
                         f'cy="{points[0][1]:.1f}" r="3"/>')  # fmt: skip
    last = list(lines.values())[-1]
    if best is not None and math.isfinite(last[best - 1]):
        parts.append(
            f'<circle class="best" cx="{x(best):.1f}" cy="{y(last[best - 1]):.1f}" r="5"/>'
        )
    if level is not None and math.isfinite(level[1]):
        py = y(level[1])
        parts.append(f'<line class="level" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py:.1f}" '
                     f'y2="{py:.1f}"/>')  # fmt: skip
    keys = [f'<span class="key {escape(n)}"></span>{escape(n)}' for n in lines]
    if best is not None:
        keys.append(f'<span class="key best"></span>best, epoch {best}')
    if level is not None:
        keys.append(f'<span class="key level"></span>{escape(level[0])} {level[1]:.4g}')
    return _figure(parts, f"{label} over {epochs} epochs", label, keys)


def scatter(t: Sequence[float], y: Sequence[float], *, label: str) -> str:
    """Return the chart of predicted against true values, with the diagonal."""
    both = [*map(float, t), *map(float, y)]
    across = Scale(both, LEFT, WIDTH - RIGHT, log=False)
    up = Scale(both, HEIGHT - BOTTOM, TOP, log=False)
    parts = _axes(across, up, "true value")
    low, high = min(both), max(both)
    parts.append(f'<line class="level" x1="{across(low):.1f}" y1="{up(low):.1f}" '
                 f'x2="{across(high):.1f}" y2="{up(high):.1f}"/>')  # fmt: skip
    parts += [
        f'<circle class="point" cx="{across(a):.1f}" cy="{up(b):.1f}" r="2.6"/>'
        for a, b in zip(t, y, strict=True)
    ]
    keys = ['<span class="key level"></span>predicted = true']
    return _figure(
        parts, f"predicted against true {label}", f"{label}: predicted against true", keys
    )


def _axes(x: Scale, y: Scale, label: str, *, whole: bool = False) -> list[str]:
    parts = []
    for value in y.ticks():
        py = y(value)
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>',
            f'<text class="left" x="{LEFT - 7}" y="{py + 4:.1f}">{_text(value)}</text>',
        ]
    for value in x.ticks():
        if whole and (value != round(value) or value < 1):
            continue
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}">{_text(value)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" '
                 f'y2="{HEIGHT - BOTTOM}"/>')  # fmt: skip
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="quiet" x="{middle}" y="{HEIGHT - 5}">{escape(label)}</text>')
    return parts


def _figure(parts: Sequence[str], description: str, title: str, keys: Sequence[str]) -> str:
    legend = " ".join(f"<span>{key}</span>" for key in keys)
    return (
        f"<figure><h3>{escape(title)}</h3>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        + "".join(parts)
        + f"</svg><figcaption>{legend}</figcaption></figure>"
    )


def _text(value: Any) -> str:
    return f"{value:.6g}".replace("-", "−").replace("e−0", "e−").replace("e+0", "e")
