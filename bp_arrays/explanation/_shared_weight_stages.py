"""`SharedWeightStage`: a layer that uses the same weight at many positions, such as a convolution.

Each position adds its own part to the derivative of a weight: ∂L/∂w = Σ_k δ_k ∂a_k/∂w over all
outputs a_k that the weight reaches.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bp_arrays.explanation._expression import Symbol, Term
from bp_arrays.explanation._notation import ONE
from bp_arrays.explanation._stages import Stage, Vector, indexed_symbol


@dataclass
class SharedWeightStage(Stage):
    """A stage whose layer has one weight array, used at every position, and maybe a bias."""

    abbreviated: ClassVar[bool] = True

    @cached_property
    def weight(self) -> Any:
        w: Any = self.params["weight"]
        return w

    def symbol(self, leaf: str, at: tuple[int, ...]) -> Symbol:
        """Return the symbol of a weight or bias: 0.weight[1,1,1,2]."""
        return indexed_symbol(self.parameter(leaf), at, float(self.params[leaf][at]))

    @abstractmethod
    def terms(self, leaf: str, at: tuple[int, ...]) -> list[tuple[int, Term]]:
        """Return (k, ∂a_k/∂w) for every output that a weight reaches: an x; 1 for a bias."""

    @abstractmethod
    def gradients(self, delta: Vector) -> Iterator[tuple[str, Vector]]:
        """Yield ∂L/∂w and ∂L/∂b by the parameter's name."""


@dataclass
class PositionStage(SharedWeightStage):
    """A Linear layer at every position t of a sequence: a_tk = Σ_j x_tj w_jk + b_k.

    So ∂a_tk/∂x_tj = w_jk, ∂L/∂w_jk = Σ_t δ_tk x_tj and ∂L/∂b_k = Σ_t δ_tk.
    """

    def terms(self, leaf: str, at: tuple[int, ...]) -> list[tuple[int, Term]]:
        features, units = self.weight.shape
        positions = range(self.x.size // features)
        if leaf == "bias":
            return [(t * units + at[0], ONE) for t in positions]
        j, k = at
        return [(t * units + k, self.input(t * features + j)) for t in positions]

    def factors(self, j: int) -> list[tuple[int, Term]]:
        features, units = self.weight.shape
        t, j = divmod(j, features)
        return [(t * units + k, self.symbol("weight", (j, k))) for k in range(units)]

    def back(self, delta: Vector) -> Vector:
        return np.asarray(self._rows(delta) @ self.weight.T).reshape(-1)

    def gradients(self, delta: Vector) -> Iterator[tuple[str, Vector]]:
        errors = self._rows(delta)
        yield self.parameter("weight"), self.x.reshape((errors.shape[0], -1)).T @ errors
        if "bias" in self.params:
            yield self.parameter("bias"), np.sum(errors, axis=0)

    def _rows(self, delta: Vector) -> Vector:
        """Return δ with a row for every position."""
        return delta.reshape((-1, self.weight.shape[1]))

    @property
    def written(self) -> str:
        product = f"{self.y_name.text()} = {self.x_name.text()}·{self.parameter('weight')}"
        return product + (f" + {self.parameter('bias')}" if "bias" in self.params else "")
