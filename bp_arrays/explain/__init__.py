"""The derivation, with numbers: for one sample of any model, any weight's chain rule."""

from bp_arrays.explain.chain_rule import WeightExplanation
from bp_arrays.explain.explaining import explain
from bp_arrays.explain.explanation import Explanation, LayerValues
from bp_arrays.explain.recording import Recorder

__all__ = ["Explanation", "LayerValues", "Recorder", "WeightExplanation", "explain"]
