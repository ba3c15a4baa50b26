"""Report as a single HTML page, without scripts and external files."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from bp_arrays.testing._report import DID_NOT_RUN, DeviceResult, Report

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#c8ccd4, #454b57);
  --fail: light-dark(#a40000, #ff8f87); --fail-paper: light-dark(#fde7e5, #4a1513);
  --quiet: light-dark(#5a6170, #a3aab8); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem; background: light-dark(#fff, #16181d); color: light-dark(#1a1c20, #e8eaee); }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
th:first-child, td:last-child, th:last-child { text-align: left; }
thead th { position: sticky; top: 0; background: light-dark(#fff, #16181d); }
tbody th { font-weight: 400; }
tfoot th, tfoot td { font-weight: 600; }
td:last-child, small, .quiet { color: var(--quiet); }
.FAIL { background: var(--fail-paper); color: var(--fail); font-weight: 700; }
.box { border: 2px solid var(--fail); border-radius: .4rem; padding: .2rem 1.2rem; margin: 1.5rem 0;
  break-inside: avoid; }
.box h2 { color: var(--fail); }
code { overflow-wrap: anywhere; }
"""


def to_html(report: Report) -> str:
    """Return the page: verdict, disagreements, devices that did not run, matrix, versions."""
    title = "every device that ran agrees" if report.ok else "NOT proven"
    parts = [
        f"<h1>bp_arrays: {title}</h1>",
        f"<p>{escape(report.summary())}</p>",
        _box("Disagreements", (_disagreements(*item) for item in report.faults.items())),
        _box("Known to fail", (f"<p>{escape(line)}</p>" for line in report.known_faults)),
        _box("Not run", (_not_run(report, device) for device in report.not_run)),
        _matrix(report),
        _provenance(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>bp_arrays check</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _box(title: str, items: Iterable[str]) -> str:
    lines = "".join(items)
    return f'<section class="box"><h2>{title}</h2>{lines}</section>' if lines else ""


def _disagreements(component: str, lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h3>{escape(component)}</h3><ul>{items}</ul>"


def _not_run(report: Report, device: DeviceResult) -> str:
    required = "required, " if device.name in report.required else ""
    return f"<p><strong>{escape(device.name)}</strong>: {required}{escape(device.reason)}</p>"


def _matrix(report: Report) -> str:
    heads = "".join(
        f'<th scope="col">{escape(d.name)}<br><small>{escape(d.description)}</small></th>'
        for d in report.ran
    )
    rows = "".join(_row(report, name) for name in report.components)
    dtypes = dict.fromkeys(dtype for d in report.ran for dtype in d.worst_by_dtype)
    totals = "".join(
        f'<tr><th scope="row">all, {dtype}</th>'
        + "".join(f"<td>{d.worst_of(dtype)}</td>" for d in report.ran)
        + "<td></td></tr>"
        for dtype in dtypes
    )
    counts = "".join(f"<td>{d.cases}</td>" for d in report.ran)
    return (
        '<h2>Worst measured error, in eps of the dtype tested</h2><div class="table"><table>'
        f'<thead><tr><th scope="col">component</th>{heads}<th scope="col">checked by</th>'
        f"</tr></thead><tbody>{rows}</tbody>"
        f'<tfoot>{totals}<tr><th scope="row">cases</th>{counts}<td></td></tr></tfoot></table></div>'
    )


def _row(report: Report, component: str) -> str:
    cells = ""
    for device in report.ran:
        verdict = report.verdict(component, device)
        worst = device.worst.get(component)
        shown = verdict if worst is None else f"{worst:.1f} {verdict}"
        kind = "FAIL" if verdict == DID_NOT_RUN else verdict
        cells += f'<td class="{kind}">{shown}</td>' if verdict != "-" else "<td>-</td>"
    by = escape(report.checked_by(component))
    return f'<tr><th scope="row">{escape(component)}</th>{cells}<td>{by}</td></tr>'


def _provenance(report: Report) -> str:
    properties = "".join(
        f"<li>{escape(name)}: {escape(measured)}</li>"
        for name, measured in report.properties.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        "<h2>Checked besides values</h2><ul><li>on every device, for every case: results "
        "stay on the device and in the dtype, have the same bits when run twice, and leave the "
        f"inputs unchanged</li>{properties}</ul>"
        f'<p class="quiet">{escape(report.date[:19])} UTC; {escape(report.machine)}; '
        f"{escape(versions)}; commit <code>{escape(report.commit or 'none')}</code>; "
        f"source <code>{report.source}</code></p>"
    )
