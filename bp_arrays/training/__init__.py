"""Training: the loop, its batches, metrics, callbacks and history."""

from bp_arrays.training._confusion import ConfusionMatrix
from bp_arrays.training._evaluate import evaluate, mean_weight as mean_weight
from bp_arrays.training._fit import fit
from bp_arrays.training._history import History
from bp_arrays.training._metrics import R2, Accuracy, BinaryAccuracy, Metric
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._step import objective_of as objective_of
from bp_arrays.training.callbacks._callback import Callback, EarlyStopping, Run
from bp_arrays.training.callbacks._diagnosis import Diagnosis
from bp_arrays.training.callbacks._health import LayerHealth
from bp_arrays.training.callbacks._learning_curve import LearningCurve
from bp_arrays.training.callbacks._tensorboard import TensorBoard

__all__ = [
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "Callback",
    "ConfusionMatrix",
    "Diagnosis",
    "EarlyStopping",
    "History",
    "L2Penalty",
    "LayerHealth",
    "LearningCurve",
    "Metric",
    "Run",
    "TensorBoard",
    "evaluate",
    "fit",
]
