"""The identity, h = a."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Array, Backward, ParameterTree


@dataclass(frozen=True)
class Identity(Layer):
    """The identity: h = a, h' = 1."""

    def forward(self, params: ParameterTree, a: Array, ctx: Context) -> tuple[Array, Backward]:
        return a, lambda delta: (delta, {})
