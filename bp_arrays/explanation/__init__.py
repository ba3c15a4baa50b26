"""The derivation, with numbers: for one sample of any model, any weight's chain rule."""

from bp_arrays.explanation.chain_rule import WeightExplanation
from bp_arrays.explanation.diagnosis import Diagnosis, LayerHealth
from bp_arrays.explanation.explaining import explain
from bp_arrays.explanation.explanation import Explanation, LayerValues
from bp_arrays.explanation.recording import Recorder

__all__ = [
    "Diagnosis",
    "Explanation",
    "LayerHealth",
    "LayerValues",
    "Recorder",
    "WeightExplanation",
    "explain",
]
