"""Backpropagation of one sample written out with numbers: the chain rule of any weight."""

from bp_arrays.explanation._derivation import Derivation, LayerValues
from bp_arrays.explanation._explanation import Explanation, explain
from bp_arrays.explanation._recording import Recorder
from bp_arrays.explanation._weight_explanation import WeightExplanation

__all__ = [
    "Derivation",
    "Explanation",
    "LayerValues",
    "Recorder",
    "WeightExplanation",
    "explain",
]
