"""Findings: problems recognized in the statistics of layers, with remedies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bp_arrays.training.callbacks._health import LayerHealth, Movement

MANY = 0.5
"""Fraction of saturated values, or of dead units, above which they are reported."""

VANISHED, EXPLODED = 1e-3, 1e3
"""Bounds of the ratio of δ in the first layer to δ in the last."""

GROWN = 1e3
"""Bound of the ratio of the gradients to those before training."""


CRAWLING = 1e-4
"""Relative change of the parameters per epoch, since the start, below which they hardly move: 1 %
in a hundred epochs. A rule of thumb is 1e-3 per step, and an epoch has at least one step."""

LOWERED = 0.9
"""Part of the first loss above which training has not lowered it: a careful fine-tuning with small
steps does lower it."""

ARRIVED = 1e-6
"""Loss below which there is nothing left to learn but rounding."""

WORTHWHILE = 0.05
"""Part of the loss taken away by one larger step above which the learning rate is too small. A net
that has arrived hardly moves either, but there no step helps."""

LISTED = 6
"""Units of a group that are listed."""


def findings(
    before: Sequence[LayerHealth], now: Sequence[LayerHealth], steps: Sequence[Movement] = ()
) -> list[str]:
    """List the problems of a net, from the statistics of its layers before training and now."""
    return [*_symmetry(now), *_stuck(now), *_errors(now), *_growth(before, now), *_pace(steps)]


def _symmetry(layers: Sequence[LayerHealth]) -> Iterator[str]:
    for h in layers:
        for group in h.same:
            units = ", ".join(map(str, group[:LISTED]))
            if len(group) > LISTED:
                units += f" and {len(group) - LISTED} more"
            yield (
                f"layer {h.path} ({h.kind}): units {units} are the same: with equal weights they "
                "get equal gradients, so they stay one unit for ever. Use random initial weights, "
                "such as GlorotUniform or HeNormal"
            )


def crawls(first: Movement, last: Movement) -> bool:
    """Return True if the parameters hardly moved, and the loss is about what it was."""
    epochs = last.epoch - first.epoch
    return (
        epochs > 0
        and last.distance < CRAWLING * epochs
        and last.loss > max(LOWERED * first.loss, ARRIVED)
    )


def _pace(steps: Sequence[Movement]) -> Iterator[str]:
    if steps and crawls(steps[0], steps[-1]) and steps[-1].gain > WORTHWHILE:
        first, last = steps[0], steps[-1]
        epochs = last.epoch - first.epoch
        yield (
            f"the weights hardly move: by {last.distance:.1e} of their size in {epochs} epochs, "
            f"and the loss went from {first.loss:.4g} to {last.loss:.4g}, while one larger step "
            f"takes away {last.gain:.0%} of it. Use a larger learning rate"
        )


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
