"""One HTML page about a training run: scores, curves, confusions, data, net and settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from bp_arrays.plots._confusion import ConfusionCounts
from bp_arrays.plots._curves import LABELS, Best, panel_names
from bp_arrays.plots._svg import line_chart, scatter
from bp_arrays.typing import HostArray

POINTS = 1500
"""Most points of a plot of predicted against true values; of more, some at equal distances."""

WIDEST = 30
"""Number of classes up to which the matrix is shown; beyond it, the most frequent confusions."""

STYLE = """
:root { color-scheme: light dark; --paper: light-dark(#f6f5f1, #111318);
  --card: light-dark(#fffefb, #1a1d24); --ink: light-dark(#1c1f26, #eceef3);
  --quiet: light-dark(#585f6d, #a7aebc); --line: light-dark(#d5d3cb, #343a46);
  --one: light-dark(#0a5ea8, #79bbff); --two: light-dark(#b4530a, #ffa657); }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 78rem;
  padding: 1.6rem clamp(.8rem, 3vw, 2.2rem) 3rem; background: var(--paper); color: var(--ink); }
h1 { font: 600 clamp(1.4rem, 4vw, 1.9rem)/1.2 Georgia, "Times New Roman", serif; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 .2rem; }
p { margin: .3rem 0; }
.quiet, figcaption, small { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  padding: 1rem 1.2rem; margin: 1rem 0 0; overflow-x: auto; break-inside: avoid; }
.row { display: grid; gap: 0 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.figures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(23rem, 100%), 1fr)); }
figure { margin: 0; max-width: 34rem; }
svg { width: 100%; display: block; }
svg text { fill: var(--ink); font-size: 12px; text-anchor: middle; }
svg text.left { text-anchor: end; } svg text.quiet { fill: var(--quiet); }
.grid { stroke: var(--line); } .axis { stroke: var(--quiet); }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
polyline.training { stroke: var(--one); } circle.training { fill: var(--one); }
polyline.validation { stroke: var(--two); stroke-dasharray: 7 3; }
circle.validation { fill: var(--two); }
circle.best { fill: none; stroke: var(--ink); stroke-width: 1.5; }
circle.point { fill: var(--one); fill-opacity: .5; }
.level { stroke: var(--ink); stroke-dasharray: 2 3; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1.1rem; font-size: .88rem; }
.key { display: inline-block; width: 1.6rem; margin-right: .35rem; vertical-align: .25rem;
  border-top: 2px solid var(--one); }
.key.validation { border-top: 2px dashed var(--two); }
.key.level { border-top: 2px dotted var(--ink); }
.key.best { width: .7rem; height: .7rem; border: 1.5px solid var(--ink); border-radius: 50%;
  vertical-align: -.05rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } tbody th { font-weight: 400; }
th:first-child, .texts td, .texts th { text-align: left; }
.texts th { white-space: nowrap; vertical-align: top; color: var(--quiet); }
.texts td { overflow-wrap: anywhere; }
.matrix td { min-width: 2.6rem; text-align: center; border: 1px solid var(--card);
  padding: .25rem .4rem; }
.matrix thead th { text-align: center; } .matrix th { border: 0; }
.matrix td.right { outline: 1.5px solid var(--one); outline-offset: -2px; }
"""


@dataclass(frozen=True, eq=False)
class TrainingPage:
    """The contents of the page, as plain numbers and texts.

    Parameters
    ----------
    title : str
        The result, in a phrase.
    summary : str
        One more sentence.
    scores : dict of str to dict of str to float
        Loss and metrics of each set of rows: {"training": {"loss": 0.1}, "test": ...}.
    series : dict of str to list of float
        The values of each epoch.
    best : Best, or None
        The epoch to mark.
    confusion : ConfusionCounts, or None
    pairs : dict of str to (array, array)
        Of each output the true and the predicted values, (rows,) each.
    sections : dict of str to dict of str to str
        Further cards: names and texts.
    """

    title: str
    summary: str
    scores: Mapping[str, Mapping[str, float]]
    series: Mapping[str, Sequence[float]]
    best: Best | None = None
    confusion: ConfusionCounts | None = None
    pairs: Mapping[str, tuple[HostArray, HostArray]] = field(default_factory=dict)
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_html(self) -> str:
        """Return the page, which needs no network and no scripts."""
        matrix = "" if self.confusion is None else _confusion(self.confusion)
        cards = [_section(name, rows) for name, rows in self.sections.items() if rows]
        parts = [
            f"<h1>{escape(self.title)}</h1>",
            f'<p class="quiet">{escape(self.summary)}</p>',
            _scores(self.scores),
            _curves(self),
            matrix,
            _pairs(self.pairs),
            f'<div class="row">{"".join(cards)}</div>',
        ]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head>\n<body>\n"
            + "\n".join(part for part in parts if part)
            + "\n</body></html>\n"
        )


def _card(title: str, content: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{content}</section>'


def _label(name: str) -> str:
    return {"rmse": "RMSE", "mae": "MAE"}.get(name, LABELS.get(name, name.replace("_", " ")))


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
    scores = {rows: values for rows, values in scores.items() if values}
    if not scores:
        return ""
    names = list(dict.fromkeys(name for values in scores.values() for name in values))
    head = "".join(f'<th scope="col">{escape(_label(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{escape(rows)} rows</th>'
        + "".join(f"<td>{_number(name, values.get(name, math.nan))}</td>" for name in names)
        + "</tr>"
        for rows, values in scores.items()
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return _card("Scores of the trained model", table)


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4g}".replace("-", "−")


def _curves(page: TrainingPage) -> str:
    series = page.series
    if not any(len(values) for values in series.values()):
        return ""
    charts = []
    for name in panel_names(series):
        lines = {"training": series[name]}
        if len(series.get(f"val_{name}", ())):
            lines["validation"] = series[f"val_{name}"]
        level = page.scores.get("test", {}).get(name)
        epoch = page.best.epoch if page.best is not None and "validation" in lines else None
        held_out = None if level is None else ("on the test rows", level)
        charts.append(line_chart(lines, label=_label(name), level=held_out, best=epoch))
    return _card("Training", f'<div class="figures">{"".join(charts)}</div>')


def _confusion(confusion: ConfusionCounts) -> str:
    counts, classes = confusion.counts, confusion.classes
    matrix = _matrix(confusion) if len(classes) <= WIDEST else _most_confused(confusion)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_percent(precision)}</td>'
        f"<td>{_percent(recall)}</td><td>{_percent(f1)}</td><td>{int(row.sum())}</td></tr>"
        for name, precision, recall, f1, row in zip(
            classes, confusion.precision, confusion.recall, confusion.f1, counts, strict=True
        )
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("precision", "recall", "F1", "rows"))
    table = f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        f'<div class="row">{_card("Confusion matrix of the test rows", matrix)}'
        f"{_card('Each class', table)}</div>"
    )


def _matrix(confusion: ConfusionCounts) -> str:
    classes = confusion.classes
    totals = np.maximum(confusion.counts.sum(axis=1), 1)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = ""
    for i, name in enumerate(classes):
        cells = ""
        for j, count in enumerate(confusion.counts[i].tolist()):
            shade = f"color-mix(in srgb, var(--one) {55 * count / totals[i]:.0f}%, transparent)"
            kind = ' class="right"' if i == j else ""
            cells += f'<td{kind} style="background: {shade}">{count or "·"}</td>'
        rows += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    return (
        '<table class="matrix"><thead><tr><th><small>true, down; predicted, across</small></th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _most_confused(confusion: ConfusionCounts) -> str:
    counts, classes = confusion.counts, confusion.classes
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:20]
    pairs = [divmod(int(k), len(classes)) for k in order if wrong.flat[k]]
    items = "".join(
        f"<li>{escape(classes[i])} predicted as {escape(classes[j])}: {wrong[i, j]} of "
        f"{counts[i].sum()}</li>"
        for i, j in pairs
    )
    return f"<p>{len(classes)} classes; the most frequent confusions:</p><ul>{items}</ul>"


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _pairs(pairs: Mapping[str, tuple[HostArray, HostArray]]) -> str:
    charts = []
    for name, (t, y) in pairs.items():
        step = max(1, math.ceil(len(t) / POINTS))
        if len(t):
            charts.append(scatter(t[::step].tolist(), y[::step].tolist(), label=name))
    if not charts:
        return ""
    return _card("Predictions of the test rows", f'<div class="figures">{"".join(charts)}</div>')


def _section(title: str, rows: Mapping[str, Any]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(text))}</td></tr>'
        for name, text in rows.items()
    )
    return _card(title, f'<table class="texts"><tbody>{body}</tbody></table>')
