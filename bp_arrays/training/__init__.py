"""Training: the loop, its batches, metrics, callbacks and history."""

from bp_arrays.training.callbacks import Callback, EarlyStopping, Run
from bp_arrays.training.evaluating import evaluate
from bp_arrays.training.fit import fit
from bp_arrays.training.history import History
from bp_arrays.training.learning_curve import LearningCurve
from bp_arrays.training.metrics import R2, Accuracy, BinaryAccuracy, Metric
from bp_arrays.training.penalty import L2Penalty
from bp_arrays.training.tensorboard import TensorBoard

__all__ = [
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "Callback",
    "EarlyStopping",
    "History",
    "L2Penalty",
    "LearningCurve",
    "Metric",
    "Run",
    "TensorBoard",
    "evaluate",
    "fit",
]
