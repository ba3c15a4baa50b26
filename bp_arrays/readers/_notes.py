"""Built-in data set for the 2-3-2 net of the course notes, small enough to follow by hand."""

from __future__ import annotations

import numpy as np

from bp_arrays.readers._dataset import Dataset

LEVELS = (0.05, 0.35, 0.65, 0.95)
HELD_OUT = (1, 6, 11, 12)
"""Test rows: one for each level of x1 and one for each level of x2."""


def read_notes() -> Dataset:
    """Read the notes' task: from probabilities x₁, x₂ predict x₁x₂ and x₁ + x₂ − x₁x₂.

    16 samples on a grid, 4 of them for testing. The targets are the probabilities of both events
    and of at least one: all lie between 0 and 1, the range of sigmoid outputs.

    Examples
    --------
    >>> notes = read_notes()
    >>> notes.x[1].tolist(), notes.t[1].round(4).tolist()
    ([0.05, 0.35], [0.0175, 0.3825])
    """
    x = np.array([(first, second) for first in LEVELS for second in LEVELS])
    both = x[:, 0] * x[:, 1]
    return Dataset(
        x=x,
        t=np.stack([both, x[:, 0] + x[:, 1] - both], axis=1),
        classes=None,
        feature_names=("x1", "x2"),
        target_names=("both", "at_least_one"),
        source="notes (the 2-3-2 net of the course notes)",
        held_out=np.array(HELD_OUT),
    )
