"""A layer tree with its parameters: one vector on one device; saved and loaded."""

from bp_arrays.model._layout import Entry, Layout
from bp_arrays.model._model import Model
from bp_arrays.model._objective import Forward, Gradient, Objective, Penalty
from bp_arrays.model._open import from_torch, load

__all__ = [
    "Entry",
    "Forward",
    "Gradient",
    "Layout",
    "Model",
    "Objective",
    "Penalty",
    "from_torch",
    "load",
]
