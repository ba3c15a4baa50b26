"""δ from the loss down through a chain of stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bp_arrays.explanation._stages import LinearStage, ResidualStage, Stage, Vector


def deltas_of(stages: Sequence[Stage], delta: Vector) -> list[Vector]:
    """∂L/∂(output) of each stage, from that of the last."""
    found = [delta]
    for stage in reversed(stages[1:]):
        found.append(stage.back(found[-1]))
    return found[::-1]


def linear_gradients(stage: Stage, delta: Vector) -> Iterator[tuple[str, Vector]]:
    """∂L/∂w = xδ and ∂L/∂b = δ of every Linear layer in a stage, by the parameter's name."""
    if isinstance(stage, LinearStage):
        yield stage.parameter("weight"), np.outer(stage.x, delta)
        if "bias" in stage.params:
            yield stage.parameter("bias"), delta
    elif isinstance(stage, ResidualStage):
        deltas = deltas_of(stage.body, delta)
        for part, at_part in zip(stage.body, deltas, strict=True):
            yield from linear_gradients(part, at_part)
