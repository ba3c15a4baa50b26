"""Train neural networks on the arrays you already have.

Backpropagation written once, by hand, against the Python array API standard: the same layers run
on NumPy, on CuPy, and on every other array library that follows it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bp_arrays.activations import (
    ELU,
    GELU,
    SELU,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from bp_arrays.attention import (
    Embedding,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
)
from bp_arrays.convolution import Conv2d
from bp_arrays.devices import Device, device, devices
from bp_arrays.errors import (
    BpArraysError,
    DataError,
    DeviceMismatchError,
    DeviceUnavailableError,
    InputError,
    MissingExtraError,
    NonFiniteLossError,
)
from bp_arrays.initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    Zeros,
)
from bp_arrays.inputs import InputSpec
from bp_arrays.layers import (
    Add,
    Concatenate,
    Context,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Multiply,
    Parallel,
    Parameter,
    Residual,
    Select,
    Sequential,
    Standardize,
)
from bp_arrays.losses import (
    BinaryCrossEntropy,
    CombinedLoss,
    CrossEntropy,
    Huber,
    L2Loss,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)
from bp_arrays.model import Model, from_torch, load
from bp_arrays.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from bp_arrays.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Chain,
    ClipByGlobalNorm,
    RMSProp,
    WeightDecay,
)
from bp_arrays.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)
from bp_arrays.training import (
    R2,
    Accuracy,
    BinaryAccuracy,
    Callback,
    ConfusionMatrix,
    Diagnosis,
    EarlyStopping,
    History,
    L2Penalty,
    LearningCurve,
    Metric,
    OutputMetric,
    TensorBoard,
    Trainer,
    evaluate,
    fit,
)

if TYPE_CHECKING:
    from bp_arrays import data, testing
    from bp_arrays.estimators import MLPClassifier, MLPRegressor  # noqa: F401
    from bp_arrays.explanation import Explanation, explain

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "R2",
    "SELU",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "BatchNorm",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "BpArraysError",
    "Callback",
    "Chain",
    "ClipByGlobalNorm",
    "CombinedLoss",
    "Concatenate",
    "ConfusionMatrix",
    "Constant",
    "Context",
    "Conv2d",
    "Cosine",
    "CrossEntropy",
    "DataError",
    "Device",
    "DeviceMismatchError",
    "DeviceUnavailableError",
    "Diagnosis",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "Explanation",
    "Exponential",
    "Flatten",
    "GlorotNormal",
    "GlorotUniform",
    "GroupNorm",
    "HeNormal",
    "HeUniform",
    "History",
    "Huber",
    "Identity",
    "InputError",
    "InputSpec",
    "L2Loss",
    "L2Penalty",
    "Layer",
    "LayerNorm",
    "LeCunNormal",
    "LeCunUniform",
    "LeakyReLU",
    "LearnedPositions",
    "LearningCurve",
    "Linear",
    "LogSoftmax",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "MissingExtraError",
    "Model",
    "MultiHeadAttention",
    "Multiply",
    "NonFiniteLossError",
    "Normal",
    "OneCycle",
    "Ones",
    "Orthogonal",
    "OutputMetric",
    "Parallel",
    "Parameter",
    "RMSNorm",
    "RMSProp",
    "ReLU",
    "ReduceOnPlateau",
    "Residual",
    "RotaryPositions",
    "Select",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Standardize",
    "StepDecay",
    "Tanh",
    "TensorBoard",
    "Trainer",
    "Warmup",
    "WeightDecay",
    "Zeros",
    "data",
    "device",
    "devices",
    "evaluate",
    "explain",
    "fit",
    "from_torch",
    "load",
    "testing",
]

LAZY = {
    "Explanation": "bp_arrays.explanation",
    "MLPClassifier": "bp_arrays.estimators",
    "MLPRegressor": "bp_arrays.estimators",
    "data": "bp_arrays.data",
    "explain": "bp_arrays.explanation",
    "testing": "bp_arrays.testing",
}
"""What is imported when it is first asked for, and from where: training needs none of it.

The estimators are not in `__all__`: they need scikit-learn.
"""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(LAZY[name])
    return module if LAZY[name] == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *LAZY, "__version__"})
