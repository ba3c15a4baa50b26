"""`ConvolutionStage`: a convolution of one image or signal, with its derivative on paper.

    a_uvo = Σ_ijc x_su+di−p,sv+dj−p,c w_ijco + b_o

so ∂a_uvo/∂x is the weight that multiplies x, and ∂L/∂w_ijco = Σ_uv δ_uvo x_su+di−p,sv+dj−p,c: the
same weight is used at every position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bp_arrays.convolution import same_sides
from bp_arrays.explanation._expression import Term
from bp_arrays.explanation._notation import ONE
from bp_arrays.explanation._shared_weight_stages import SharedWeightStage
from bp_arrays.explanation._stages import Vector

Position = tuple[int, ...]


@dataclass
class ConvolutionStage(SharedWeightStage):
    """The stage of a `Conv1d` or `Conv2d`; its places have one number per axis."""

    @cached_property
    def size(self) -> Position:
        """The axes of x without the channels."""
        return self.shape[:-1]

    @cached_property
    def _steps(self) -> list[tuple[int, int, int]]:
        """Return the stride, the dilation and the lines before the image, of each axis."""
        layer: Any = self.layer
        axes = len(self.size)
        strides, dilations = (
            (field,) * axes if isinstance(field, int) else field
            for field in (layer.stride, layer.dilation)
        )
        steps = []
        for k, (n, s, d) in enumerate(zip(self.size, strides, dilations, strict=True)):
            before = 0
            if layer.padding == "same":
                before = same_sides(n, self.weight.shape[k], s, d)[0]
            elif layer.padding != "valid":
                before = layer.padding[0] if axes == 1 else layer.padding[k][0]
            steps.append((s, d, before))
        return steps

    @cached_property
    def positions(self) -> Position:
        """The axes of the output without the channels."""
        return tuple(self.layer.init(self.shape)[1][:-1])

    @property
    def _groups(self) -> tuple[int, int]:
        """Return the numbers of channels in and out of one group."""
        count: int = self.layer.groups  # type: ignore[attr-defined]
        return self.weight.shape[-2], self.weight.shape[-1] // count

    def terms(self, leaf: str, at: tuple[int, ...]) -> list[tuple[int, Term]]:
        channels = self.weight.shape[-1]
        places = itertools.product(*map(range, self.positions))
        if leaf == "bias":
            return [(self._flat(place, self.positions, channels, at[0]), ONE) for place in places]
        *offset, c, o = at
        width, out = self._groups
        terms: list[tuple[int, Term]] = []
        for place in places:
            source = self._source(place, tuple(offset))
            if source is not None:
                j = self._flat(source, self.size, self.shape[-1], o // out * width + c)
                terms.append((self._flat(place, self.positions, channels, o), self.input(j)))
        return terms

    def factors(self, j: int) -> list[tuple[int, Term]]:
        *source, channel = (int(n) for n in np.unravel_index(j, self.shape))
        width, out = self._groups
        group, c = divmod(channel, width)
        terms: list[tuple[int, Term]] = []
        for offset in itertools.product(*map(range, self.weight.shape[:-2])):
            place = self._place(tuple(source), offset)
            if place is not None:
                for o in range(group * out, (group + 1) * out):
                    k = self._flat(place, self.positions, self.weight.shape[-1], o)
                    terms.append((k, self.symbol("weight", (*offset, c, o))))
        return terms

    def back(self, delta: Vector) -> Vector:
        """∂L/∂x: every δ goes back to the values under the kernel, times their weights."""
        errors: Any = delta.reshape((*self.positions, -1))
        dx: Any = np.zeros(self.shape)
        for place, source, offset in self._covered():
            for c, o in self._parts():
                dx[(*source, c)] += self.weight[(*offset, slice(None), o)] @ errors[(*place, o)]
        return np.asarray(dx).reshape(-1)

    def gradients(self, delta: Vector) -> Iterator[tuple[str, Vector]]:
        """Yield ∂L/∂w_ijco = Σ_uv δ_uvo x_c and ∂L/∂b_o = Σ_uv δ_uvo, by the parameter's name."""
        errors: Any = delta.reshape((*self.positions, -1))
        x: Any = self.x.reshape(self.shape)
        dw: Any = np.zeros(self.weight.shape)
        for place, source, offset in self._covered():
            for c, o in self._parts():
                dw[(*offset, slice(None), o)] += np.outer(x[(*source, c)], errors[(*place, o)])
        yield self.parameter("weight"), dw
        if "bias" in self.params:
            yield self.parameter("bias"), errors.sum(axis=tuple(range(errors.ndim - 1)))

    def _covered(self) -> Iterator[tuple[Position, Position, Position]]:
        """Yield each position, with each value under the kernel there and the offset in it."""
        for place in itertools.product(*map(range, self.positions)):
            for offset in itertools.product(*map(range, self.weight.shape[:-2])):
                source = self._source(place, offset)
                if source is not None:
                    yield place, source, offset

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """Yield the channels in and out of each group."""
        width, out = self._groups
        for g in range(self.weight.shape[-1] // out):
            yield slice(g * width, (g + 1) * width), slice(g * out, (g + 1) * out)

    def _source(self, place: Position, offset: Position) -> Position | None:
        """Return which value of x an offset of the kernel is on; None if it is padding."""
        source = tuple(
            u * s + i * d - p for u, i, (s, d, p) in zip(place, offset, self._steps, strict=True)
        )
        inside = all(0 <= a < n for a, n in zip(source, self.size, strict=True))
        return source if inside else None

    def _place(self, source: Position, offset: Position) -> Position | None:
        """Return at which position an offset of the kernel is on a value of x; None if at none."""
        place = []
        for a, i, (s, d, p), n in zip(source, offset, self._steps, self.positions, strict=True):
            u, rest = divmod(a + p - i * d, s)
            if rest or not 0 <= u < n:
                return None
            place.append(u)
        return tuple(place)

    def _flat(self, place: Position, size: Position, channels: int, channel: int) -> int:
        number = int(np.ravel_multi_index(place, size)) if math.prod(size) else 0
        return number * channels + channel
