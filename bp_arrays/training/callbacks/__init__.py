"""Callbacks: early stopping, curves, TensorBoard, training health."""

from bp_arrays.training.callbacks._callback import Callback, EarlyStopping, Run, called_back
from bp_arrays.training.callbacks._diagnosis import Diagnosis
from bp_arrays.training.callbacks._gradient_norms import GradientNorms
from bp_arrays.training.callbacks._health import LayerHealth
from bp_arrays.training.callbacks._learning_curve import LearningCurve
from bp_arrays.training.callbacks._tensorboard import TensorBoard

__all__ = [
    "Callback",
    "Diagnosis",
    "EarlyStopping",
    "GradientNorms",
    "LayerHealth",
    "LearningCurve",
    "Run",
    "TensorBoard",
    "called_back",
]
