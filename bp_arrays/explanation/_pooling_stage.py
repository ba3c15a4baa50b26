"""`PoolingStage`: the largest number or the mean of each window, with its derivative on paper.

maximum:  ∂y_k/∂x_j = 1 if x_j is the largest of the window of y_k, else 0
mean:     ∂y_k/∂x_j = 1/n if x_j is one of the n numbers of the window of y_k
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bp_arrays.convolution import AveragePool1d, AveragePool2d
from bp_arrays.explanation._expression import Number, Term
from bp_arrays.explanation._notation import ONE
from bp_arrays.explanation._stages import Stage, Vector
from bp_arrays.explanation._window_geometry import Position, WindowGeometry


@dataclass
class PoolingStage(Stage):
    """The stage of a `MaxPool1d`, `MaxPool2d`, `AveragePool1d` or `AveragePool2d`."""

    abbreviated: ClassVar[bool] = True

    @property
    def takes_mean(self) -> bool:
        """Whether an output is the mean of its window, not its maximum."""
        return isinstance(self.layer, (AveragePool1d, AveragePool2d))

    @cached_property
    def geometry(self) -> WindowGeometry:
        """The windows on this sample."""
        layer: Any = self.layer
        axes = len(self.shape) - 1
        size = layer.kernel_size
        return WindowGeometry(self.layer, self.shape, (size,) * axes if axes == 1 else size)

    @cached_property
    def _windows(self) -> dict[Position, list[Position]]:
        """Return the values in the window at each position, row by row."""
        windows: dict[Position, list[Position]] = {place: [] for place in self.geometry.places()}
        for place, source, _ in self.geometry.covered():
            windows[place].append(source)
        return windows

    @cached_property
    def _weights(self) -> dict[Position, list[tuple[Position, Any]]]:
        """Return (value, ∂y/∂x of each channel) for the values in the window at each position."""
        x, layer = self.x.reshape(self.shape), self.layer
        weights = {}
        for place, window in self._windows.items():
            if self.takes_mean:
                count = len(window)
                if layer.count_padding:  # type: ignore[attr-defined]
                    count = int(np.prod(self.geometry.kernel))
                weights[place] = [(at, np.full(self.shape[-1], 1.0 / count)) for at in window]
            else:
                largest = np.argmax([x[at] for at in window], axis=0)  # of equal ones, the first
                weights[place] = [(at, (largest == i) * 1.0) for i, at in enumerate(window)]
        return weights

    def factors(self, j: int) -> list[tuple[int, Term]]:
        *source, channel = (int(n) for n in np.unravel_index(j, self.shape))
        factors: list[tuple[int, Term]] = []
        for offset in self.geometry.offsets():
            place = self.geometry.place(tuple(source), offset)
            if place is None:
                continue
            weight = float(dict(self._weights[place])[tuple(source)][channel])
            if weight:
                k = int(np.ravel_multi_index((*place, channel), self._output_shape))
                factors.append((k, self._factor(weight)))
        return factors

    def back(self, delta: Vector) -> Vector:
        errors: Any = delta.reshape(self._output_shape)
        dx: Any = np.zeros(self.shape)
        for place, weights in self._weights.items():
            for source, weight in weights:
                dx[source] += errors[place] * weight
        return np.asarray(dx).reshape(-1)

    def _factor(self, weight: float) -> Term:
        count = round(1.0 / weight)
        return ONE if count == 1 else Number(weight, f"1/{count}", rf"\tfrac{{1}}{{{count}}}")

    @property
    def _output_shape(self) -> tuple[int, ...]:
        return (*self.geometry.positions, self.shape[-1])

    @property
    def written(self) -> str:
        kind = "mean" if self.takes_mean else "largest"
        size = " x ".join(map(str, self.geometry.kernel))
        return f"{self.y_name.text()} = {kind} of {size} windows of {self.x_name.text()}"
