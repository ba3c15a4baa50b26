"""`Summary`: the table of a model's layers, for terminals and notebooks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bp_arrays.layers import Layer, Sequential, Specification, walk
from bp_arrays.trees import Tree, is_shape

HEADER = ("layer", "", "output", "parameters")

STYLE = """
table.bp-arrays-summary { color: inherit; border-collapse: collapse;
  font-variant-numeric: tabular-nums; }
table.bp-arrays-summary th, table.bp-arrays-summary td { padding: .2em .8em; border: 0;
  text-align: left !important; }
table.bp-arrays-summary :is(th, td):nth-child(4) { text-align: right !important; }
table.bp-arrays-summary thead th { border-bottom: 1px solid rgba(128, 128, 128, .6); }
table.bp-arrays-summary tfoot td { border-top: 1px solid rgba(128, 128, 128, .6); }
"""
"""The style of the HTML table: colors of the notebook, light or dark, and left-aligned cells.

Notebooks align cells to the right, which suits numbers but neither names nor shapes.
"""


@dataclass(frozen=True)
class LayerRow:
    """One layer of a model.

    Parameters
    ----------
    path : str
        Its path in the net, such as "0" or "2.1", with which the names of its parameters begin.
    kind : str
        Its class.
    output_shape : tuple of int, tuple or dict of them, or None
        Of one sample; None if unknown.
    parameters : int
        The number of its values, trainable or not; for a container without those of its parts,
        which have their own rows.
    """

    path: str
    kind: str
    output_shape: Tree
    parameters: int

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The texts of the row."""
        return self.path, self.kind, _shown_shape(self.output_shape), f"{self.parameters:,}"


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a model: a text table if printed, an HTML table in a notebook.

    Parameters
    ----------
    rows : tuple of LayerRow
    trainable, fixed : int
        The numbers of trainable and of other values.
    location : str
        The dtype and the device.
    """

    rows: tuple[LayerRow, ...]
    trainable: int
    fixed: int
    location: str

    @property
    def total(self) -> str:
        """The line under the table."""
        fixed = f", {self.fixed:,} fixed" if self.fixed else ""
        return f"{self.trainable:,} trainable parameters{fixed}, {self.location}"

    def __str__(self) -> str:
        table = [HEADER, *(row.cells for row in self.rows)]
        widths = [max(len(cells[k]) for cells in table) for k in range(len(HEADER))]
        lines = [
            "  ".join(
                cell.rjust(width) if k == len(HEADER) - 1 else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            for cells in table
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, self.total])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from html import escape

        head = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells) + "</tr>\n"
            for row in self.rows
        )
        return (
            f"<style>{STYLE}</style>\n"
            f'<table class="bp-arrays-summary">\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}</tbody>\n"
            f'<tfoot><tr><td colspan="{len(HEADER)}">{escape(self.total)}</td></tr></tfoot>\n'
            "</table>"
        )


def summary_of(net: Layer, input_shape: Tree, description: str) -> Summary:
    """Return the table of a net's layers; `description` says where its parameters are."""
    nodes = list(walk(net, input_shape))
    rows = [
        LayerRow(
            node.path or "net",
            type(node.layer).__name__,
            node.output_shape,
            _count(node.parameters, True) + _count(node.parameters, False),
        )
        for node in nodes
        if not isinstance(node.layer, Sequential)  # only its parts are of interest
    ]
    return Summary(
        rows=tuple(rows),
        trainable=sum(_count(node.parameters, True) for node in nodes),
        fixed=sum(_count(node.parameters, False) for node in nodes),
        location=description,
    )


def _shown_shape(shape: Tree) -> str:
    """Return the text of a shape, "(batch, 3)", or of several: "x: (batch, 3), y: (batch)"."""
    if shape is None:
        return "(batch, ?)"
    if is_shape(shape):
        return f"({', '.join(('batch', *map(str, shape)))})"
    if isinstance(shape, dict):
        return ", ".join(f"{name}: {_shown_shape(part)}" for name, part in shape.items())
    return ", ".join(map(_shown_shape, shape))


def _count(specification: Specification, trainable: bool) -> int:
    return sum(
        _count(part, trainable)
        if isinstance(part, dict)
        else math.prod(part.shape) * (part.trainable is trainable)
        for part in specification.values()
    )
