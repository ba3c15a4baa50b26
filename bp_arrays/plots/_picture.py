"""`Picture`: a Matplotlib figure without pyplot, so without window, backend and global state."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

PIXEL_RATIO = 2.0
"""Pixels of the image per pixel of the notebook's page, for high-resolution screens."""


class Picture(Figure):
    """A Figure that a notebook displays although it is not registered with pyplot.

    Parameters
    ----------
    width, height : float
        Size in inches.
    """

    def __init__(self, width: float, height: float, **options: Any) -> None:
        super().__init__(figsize=(width, height), layout="constrained", **options)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=PIXEL_RATIO * self.dpi)
        width, height = (round(inches * self.dpi) for inches in self.get_size_inches())
        return content.getvalue(), {"width": width, "height": height}
