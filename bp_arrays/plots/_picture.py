"""A Matplotlib figure of its own: no pyplot, so no window, no backend and no global state."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

SHARP = 2.0
"""Dots of a picture for one dot of the notebook's page: screens have finer ones today."""


class Picture(Figure):
    """A Figure that a notebook shows although pyplot does not know it.

    Parameters
    ----------
    width, height : float
        In inches.
    """

    def __init__(self, width: float, height: float, **options: Any) -> None:
        super().__init__(figsize=(width, height), layout="constrained", **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=SHARP * self.dpi)
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return content.getvalue(), {"width": width, "height": height}
