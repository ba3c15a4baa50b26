"""What the numbers of a training mean, in plain words, and what helps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bp_arrays.training.callbacks._health import LayerHealth

MANY = 0.5
"""The share of saturated values, or of dead units, that is worth a word."""

VANISHED, EXPLODED = 1e-3, 1e3
"""δ in the first layer in units of that in the last."""

GROWN = 1e3
"""The gradients in units of those before the training."""


def findings(before: Sequence[LayerHealth], now: Sequence[LayerHealth]) -> list[str]:
    """What is wrong with a net, from its layers before the training and now."""
    return [*_stuck(now), *_errors(now), *_growth(before, now)]


def _stuck(layers: Sequence[LayerHealth]) -> Iterator[str]:
    for h in layers:
        where = f"layer {h.path} ({h.kind})"
        if h.saturated > MANY:
            yield (
                f"{where} is saturated: {h.saturated:.0%} of its values lie where its slope "
                "is nearly 0, so hardly any error passes. Inputs on a common scale, smaller "
                "first weights, or ReLU in its place help"
            )
        if h.dead > MANY:
            yield (
                f"{where} is dying: {h.dead:.0%} of its units give 0 for every sample and, as long "
                "as they do, cannot learn. A smaller learning rate, or LeakyReLU, helps"
            )


def _errors(layers: Sequence[LayerHealth]) -> Iterator[str]:
    errors = [h.error for h in layers if not np.isnan(h.gradient)]
    if len(errors) < 2 or errors[-1] == 0.0:
        return
    ratio = errors[0] / errors[-1]
    if ratio < VANISHED:
        yield (
            f"the error vanishes: in the first layer it is {ratio:.0e} of what it is in the last, "
            "so the first layers hardly learn. ReLU or GELU, HeNormal weights, or Residual blocks "
            "help"
        )
    if ratio > EXPLODED:
        yield (
            f"the error explodes: in the first layer it is {ratio:.0e} times what it is in the "
            "last. Smaller first weights, ClipByGlobalNorm, or Residual blocks help"
        )


def _growth(before: Sequence[LayerHealth], now: Sequence[LayerHealth]) -> Iterator[str]:
    grown = [
        h.gradient / first.gradient
        for first, h in zip(before, now, strict=True)
        if first.gradient > 0.0
    ]
    if grown and max(grown) > GROWN:
        yield (
            f"the training diverges: gradients are {max(grown):.0e} times those it began with. A "
            "smaller learning rate, or ClipByGlobalNorm, helps"
        )
