"""The derivation, with numbers: for one sample of any model, any weight's chain rule."""

from bp_arrays.explanation.derivation import Derivation, LayerValues
from bp_arrays.explanation.diagnosis import Diagnosis
from bp_arrays.explanation.explanation import Explanation, explain
from bp_arrays.explanation.health import LayerHealth
from bp_arrays.explanation.recording import Recorder
from bp_arrays.explanation.weight_explanation import WeightExplanation

__all__ = [
    "Derivation",
    "Diagnosis",
    "Explanation",
    "LayerHealth",
    "LayerValues",
    "Recorder",
    "WeightExplanation",
    "explain",
]
