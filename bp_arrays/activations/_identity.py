"""The identity, h = a."""

from __future__ import annotations

from dataclasses import dataclass

from bp_arrays.layers import Context, Layer, Specification
from bp_arrays.trees import Tree
from bp_arrays.typing import Backward, ParameterTree


@dataclass(frozen=True)
class Identity(Layer):
    """The identity: h = a, h' = 1. a may be a tuple or dict of arrays."""

    def init(self, input_shape: Tree) -> tuple[Specification, Tree]:
        return {}, input_shape

    def forward(self, params: ParameterTree, a: Tree, ctx: Context) -> tuple[Tree, Backward]:
        return a, lambda delta: (delta, {})
