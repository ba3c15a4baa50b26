"""The table of a model's layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bp_arrays.layers import Layer, Sequential
from bp_arrays.typing import Shape

if TYPE_CHECKING:
    from bp_arrays.model.model import Model


def summary_table(model: Model) -> str:
    """The layers of a model, one a line, with output shape and number of parameters."""
    rows = [("layer", "", "output", "parameters")]
    rows += [
        (path, type(layer).__name__, str(("batch", *shape)).replace("'", ""), f"{count:,}")
        for path, layer, shape, count in _rows(model.net, model.input_shape, "")
    ]
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        f"{path:<{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  {count:>{widths[3]}}"
        for path, kind, shape, count in rows
    ]
    fixed = model.layout.fixed_size
    lines.insert(1, "-" * len(lines[0]))
    lines.append("-" * len(lines[0]))
    lines.append(
        f"{model.parameter_count:,} trainable parameters"
        + (f", {fixed:,} fixed" if fixed else "")
        + f", {model.dtype}, on {model.device}"
    )
    return "\n".join(lines)


def _rows(layer: Layer, shape: Shape, path: str) -> Iterator[tuple[str, Layer, Shape, int]]:
    """Every layer that is not a mere sequence, with its path, output shape and parameters."""
    if isinstance(layer, Sequential):
        for k, part in enumerate(layer):
            yield from _rows(part, shape, f"{path}.{k}" if path else str(k))
            shape = part.init(shape)[1]
        return
    specification, shape = layer.init(shape)
    yield path or "net", layer, shape, _count(specification)


def _count(specification: dict[str, Any]) -> int:
    return sum(
        _count(part) if isinstance(part, dict) else math.prod(part.shape)
        for part in specification.values()
    )
