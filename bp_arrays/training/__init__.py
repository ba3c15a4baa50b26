"""Training: the loop, its batches, metrics, callbacks and history."""

from bp_arrays.training._confusion import ConfusionMatrix
from bp_arrays.training._ensemble_metric import EnsembleMetric
from bp_arrays.training._evaluate import evaluate
from bp_arrays.training._fit import fit
from bp_arrays.training._history import History
from bp_arrays.training._metrics import R2, Accuracy, BinaryAccuracy, Metric, OutputMetric
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._trainer import Trainer
from bp_arrays.training.callbacks import (
    Callback,
    Diagnosis,
    EarlyStopping,
    GradientNorms,
    LayerHealth,
    LearningCurve,
    Run,
    TensorBoard,
)
from bp_arrays.training.checkpoints import Checkpoint

__all__ = [
    "R2",
    "Accuracy",
    "BinaryAccuracy",
    "Callback",
    "Checkpoint",
    "ConfusionMatrix",
    "Diagnosis",
    "EarlyStopping",
    "EnsembleMetric",
    "GradientNorms",
    "History",
    "L2Penalty",
    "LayerHealth",
    "LearningCurve",
    "Metric",
    "OutputMetric",
    "Run",
    "TensorBoard",
    "Trainer",
    "evaluate",
    "fit",
]
