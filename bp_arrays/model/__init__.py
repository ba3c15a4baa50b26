"""`Model`: a network with its parameters on a device; loading, layout and objective."""

from bp_arrays.model._generate import generate
from bp_arrays.model._layout import Entry, Layout
from bp_arrays.model._model import Model, check_compute_dtype
from bp_arrays.model._objective import Forward, Gradient, Objective, PartFactors, Penalty
from bp_arrays.model._open import from_torch, load
from bp_arrays.model._parameters import NamedParameters
from bp_arrays.model._prediction import (
    Prediction,
    ends_in_ensemble as ends_in_ensemble,
    mean_and_spread as mean_and_spread,
    mean_over_members as mean_over_members,
)

__all__ = [
    "Entry",
    "Forward",
    "Gradient",
    "Layout",
    "Model",
    "NamedParameters",
    "Objective",
    "PartFactors",
    "Penalty",
    "Prediction",
    "check_compute_dtype",
    "from_torch",
    "generate",
    "load",
]
