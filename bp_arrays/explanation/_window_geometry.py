"""`WindowGeometry`: which values of an image or signal a window covers, by the layer's fields.

At position u a window with stride s, dilation d and p lines of padding before the axis covers the
values s u + i d − p; those outside the image are padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bp_arrays.convolution import same_sides
from bp_arrays.layers import Layer

Position = tuple[int, ...]


@dataclass(frozen=True)
class WindowGeometry:
    """The windows of a convolution or of pooling on one sample.

    Parameters
    ----------
    layer : Layer
        With the fields stride and padding, and maybe dilation.
    shape : tuple of int
        The shape of the sample, channels last.
    kernel : tuple of int
        The size of a window, one number per axis.
    """

    layer: Layer
    shape: tuple[int, ...]
    kernel: Position

    @property
    def size(self) -> Position:
        """The axes of the sample without the channels."""
        return self.shape[:-1]

    @cached_property
    def positions(self) -> Position:
        """The axes of the output without the channels."""
        return tuple(self.layer.init(self.shape)[1][:-1])

    @cached_property
    def steps(self) -> list[tuple[int, int, int]]:
        """The stride, the dilation and the lines before the image, of each axis."""
        layer: Any = self.layer
        axes = len(self.size)
        stride = self.kernel if layer.stride is None else layer.stride
        dilation = getattr(layer, "dilation", 1)
        strides, dilations = (
            (field,) * axes if isinstance(field, int) else field for field in (stride, dilation)
        )
        steps = []
        for k, (n, s, d) in enumerate(zip(self.size, strides, dilations, strict=True)):
            before = 0
            if layer.padding == "same":
                before = same_sides(n, self.kernel[k], s, d)[0]
            elif layer.padding != "valid":
                before = layer.padding[0] if axes == 1 else layer.padding[k][0]
            steps.append((s, d, before))
        return steps

    def places(self) -> Iterator[Position]:
        """Yield every position of the window."""
        return itertools.product(*map(range, self.positions))

    def offsets(self) -> Iterator[Position]:
        """Yield every point of the window."""
        return itertools.product(*map(range, self.kernel))

    def covered(self) -> Iterator[tuple[Position, Position, Position]]:
        """Yield each position, with each value under the window there and its point of it."""
        for place in self.places():
            for offset in self.offsets():
                source = self.source(place, offset)
                if source is not None:
                    yield place, source, offset

    def source(self, place: Position, offset: Position) -> Position | None:
        """Return which value a point of the window is on; None if it is padding."""
        source = tuple(
            u * s + i * d - p for u, i, (s, d, p) in zip(place, offset, self.steps, strict=True)
        )
        inside = all(0 <= a < n for a, n in zip(source, self.size, strict=True))
        return source if inside else None

    def place(self, source: Position, offset: Position) -> Position | None:
        """Return at which position a point of the window is on a value; None if at none."""
        place = []
        for a, i, (s, d, p), n in zip(source, offset, self.steps, self.positions, strict=True):
            u, rest = divmod(a + p - i * d, s)
            if rest or not 0 <= u < n:
                return None
            place.append(u)
        return tuple(place)
