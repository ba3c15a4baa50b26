"""Findings: problems recognized in the statistics of layers, with remedies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bp_arrays.training.callbacks._health import LayerHealth

MANY = 0.5
"""Fraction of saturated values, or of dead units, above which they are reported."""

VANISHED, EXPLODED = 1e-3, 1e3
"""Bounds of the ratio of δ in the first layer to δ in the last."""

GROWN = 1e3
"""Bound of the ratio of the gradients to those before training."""


def findings(before: Sequence[LayerHealth], now: Sequence[LayerHealth]) -> list[str]:
    """List the problems of a net, from the statistics of its layers before training and now."""
    return [*_stuck(now), *_errors(now), *_growth(before, now)]


def _stuck(layers: Sequence[LayerHealth]) -> Iterator[str]:
    for h in layers:
        name = f"layer {h.path} ({h.kind})"
        if h.saturated > MANY:
            yield (
                f"{name} is saturated: at {h.saturated:.0%} of its values the slope is nearly 0, "
                "so hardly any error passes. Standardize the inputs, use smaller initial weights, "
                "or replace it by ReLU"
            )
        if h.dead > MANY:
            yield (
                f"{name} has dead units: {h.dead:.0%} of them give 0 for every sample and cannot "
                "learn. Use a smaller learning rate, or LeakyReLU"
            )


def _errors(layers: Sequence[LayerHealth]) -> Iterator[str]:
    errors = [h.error for h in layers if not np.isnan(h.gradient)]
    if len(errors) < 2 or errors[-1] == 0.0:
        return
    ratio = errors[0] / errors[-1]
    if ratio < VANISHED:
        yield (
            f"the error vanishes: in the first layer it is {ratio:.0e} times that in the last, "
            "so the first layers hardly learn. Use ReLU or GELU, HeNormal weights, or Residual "
            "blocks"
        )
    if ratio > EXPLODED:
        yield (
            f"the error explodes: in the first layer it is {ratio:.0e} times that in the last. "
            "Use smaller initial weights, ClipByGlobalNorm, or Residual blocks"
        )


def _growth(before: Sequence[LayerHealth], now: Sequence[LayerHealth]) -> Iterator[str]:
    ratios = [
        h.gradient / first.gradient
        for first, h in zip(before, now, strict=True)
        if first.gradient > 0.0
    ]
    if ratios and max(ratios) > GROWN:
        yield (
            f"training diverges: gradients are {max(ratios):.0e} times those at the start. Use a "
            "smaller learning rate, or ClipByGlobalNorm"
        )
