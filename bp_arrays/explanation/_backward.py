"""Backward pass through a chain of stages: δ, and the gradients of their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bp_arrays.explanation._shared_weight_stages import SharedWeightStage
from bp_arrays.explanation._stages import LinearStage, ResidualStage, Stage, Vector


def deltas_of(stages: Sequence[Stage], delta: Vector) -> list[Vector]:
    """Return ∂L/∂(output) of each stage, given that of the last."""
    deltas = [delta]
    for stage in reversed(stages[1:]):
        deltas.append(stage.back(deltas[-1]))
    return deltas[::-1]


def linear_gradients(stage: Stage, delta: Vector) -> Iterator[tuple[str, Vector]]:
    """Yield ∂L/∂w and ∂L/∂b of every layer in a stage that has a formula, by name."""
    if isinstance(stage, LinearStage):
        yield stage.parameter("weight"), np.outer(stage.x, delta)
        if "bias" in stage.params:
            yield stage.parameter("bias"), delta
    elif isinstance(stage, SharedWeightStage):
        yield from stage.gradients(delta)
    elif isinstance(stage, ResidualStage):
        for part, part_delta in zip(stage.body, deltas_of(stage.body, delta), strict=True):
            yield from linear_gradients(part, part_delta)
