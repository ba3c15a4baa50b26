"""`ConvolutionStage`: a convolution of one image or signal, with its derivative on paper.

    a_uvo = Σ_ijc x_su+di−p,sv+dj−p,c w_ijco + b_o

so ∂a_uvo/∂x is the weight that multiplies x, and ∂L/∂w_ijco = Σ_uv δ_uvo x_su+di−p,sv+dj−p,c: the
same weight is used at every position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bp_arrays.explanation._expression import Term
from bp_arrays.explanation._notation import ONE
from bp_arrays.explanation._shared_weight_stages import SharedWeightStage
from bp_arrays.explanation._stages import Vector
from bp_arrays.explanation._window_geometry import Position, WindowGeometry


@dataclass
class ConvolutionStage(SharedWeightStage):
    """The stage of a `Conv1d` or `Conv2d`; its places have one number per axis."""

    @cached_property
    def geometry(self) -> WindowGeometry:
        """The windows of the kernel on this sample."""
        return WindowGeometry(self.layer, self.shape, self.weight.shape[:-2])

    @property
    def _groups(self) -> tuple[int, int]:
        """Return the numbers of channels in and out of one group."""
        count: int = self.layer.groups  # type: ignore[attr-defined]
        return self.weight.shape[-2], self.weight.shape[-1] // count

    def terms(self, leaf: str, at: tuple[int, ...]) -> list[tuple[int, Term]]:
        places = self.geometry.places()
        if leaf == "bias":
            return [(self._output(place, at[0]), ONE) for place in places]
        *offset, c, o = at
        width, out = self._groups
        terms: list[tuple[int, Term]] = []
        for place in places:
            source = self.geometry.source(place, tuple(offset))
            if source is not None:
                j = self._flat(source, self.geometry.size, self.shape[-1], o // out * width + c)
                terms.append((self._output(place, o), self.input(j)))
        return terms

    def factors(self, j: int) -> list[tuple[int, Term]]:
        *source, channel = (int(n) for n in np.unravel_index(j, self.shape))
        width, out = self._groups
        group, c = divmod(channel, width)
        terms: list[tuple[int, Term]] = []
        for offset in self.geometry.offsets():
            place = self.geometry.place(tuple(source), offset)
            if place is not None:
                for o in range(group * out, (group + 1) * out):
                    k = self._output(place, o)
                    terms.append((k, self.symbol("weight", (*offset, c, o))))
        return terms

    def back(self, delta: Vector) -> Vector:
        """∂L/∂x: every δ goes back to the values under the kernel, times their weights."""
        errors: Any = delta.reshape((*self.geometry.positions, -1))
        dx: Any = np.zeros(self.shape)
        for place, source, offset in self.geometry.covered():
            for c, o in self._parts():
                dx[(*source, c)] += self.weight[(*offset, slice(None), o)] @ errors[(*place, o)]
        return np.asarray(dx).reshape(-1)

    def gradients(self, delta: Vector) -> Iterator[tuple[str, Vector]]:
        """Yield ∂L/∂w_ijco = Σ_uv δ_uvo x_c and ∂L/∂b_o = Σ_uv δ_uvo, by the parameter's name."""
        errors: Any = delta.reshape((*self.geometry.positions, -1))
        x: Any = self.x.reshape(self.shape)
        dw: Any = np.zeros(self.weight.shape)
        for place, source, offset in self.geometry.covered():
            for c, o in self._parts():
                dw[(*offset, slice(None), o)] += np.outer(x[(*source, c)], errors[(*place, o)])
        yield self.parameter("weight"), dw
        if "bias" in self.params:
            yield self.parameter("bias"), errors.sum(axis=tuple(range(errors.ndim - 1)))

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """Yield the channels in and out of each group."""
        width, out = self._groups
        for g in range(self.weight.shape[-1] // out):
            yield slice(g * width, (g + 1) * width), slice(g * out, (g + 1) * out)

    def _output(self, place: Position, channel: int) -> int:
        """Return the number of an output."""
        return self._flat(place, self.geometry.positions, self.weight.shape[-1], channel)

    def _flat(self, place: Position, size: Position, channels: int, channel: int) -> int:
        number = int(np.ravel_multi_index(place, size)) if math.prod(size) else 0
        return number * channels + channel
