"""Train neural networks on the arrays you already have.

Backpropagation written once, by hand, against the Python array API standard: the same layers run
on NumPy, on CuPy, and on every other array library that follows it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bp_arrays.activations import (
    ELU,
    GELU,
    GLU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    SwiGLU,
    Tanh,
)
from bp_arrays.attention import (
    Embedding,
    FeedForward,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
    TiedEmbedding,
    TransformerBlock,
)
from bp_arrays.convolution import (
    AveragePool1d,
    AveragePool2d,
    Conv1d,
    Conv2d,
    ConvTranspose2d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    Upsample,
)
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
    Context,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Parameter,
    Residual,
    Sequential,
    Standardize,
)
from bp_arrays.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    L2Loss,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)
from bp_arrays.model import Model, from_torch, generate, load
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
from bp_arrays.recurrence import GRU, LSTM, RNN
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
    "GLU",
    "GRU",
    "LSTM",
    "R2",
    "RNN",
    "SELU",
    "SGD",
    "Accuracy",
    "Adagrad",
    "Adam",
    "AdamW",
    "AveragePool1d",
    "AveragePool2d",
    "BatchNorm",
    "BinaryAccuracy",
    "BinaryCrossEntropy",
    "BpArraysError",
    "Callback",
    "Chain",
    "ClipByGlobalNorm",
    "ConfusionMatrix",
    "Constant",
    "Context",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
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
    "FeedForward",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GlorotNormal",
    "GlorotUniform",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
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
    "MaxPool1d",
    "MaxPool2d",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Mish",
    "MissingExtraError",
    "Model",
    "MultiHeadAttention",
    "NonFiniteLossError",
    "Normal",
    "OneCycle",
    "Ones",
    "Orthogonal",
    "PReLU",
    "Parameter",
    "RMSNorm",
    "RMSProp",
    "ReLU",
    "ReduceOnPlateau",
    "Residual",
    "RotaryPositions",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Standardize",
    "StepDecay",
    "SwiGLU",
    "Tanh",
    "TensorBoard",
    "TiedEmbedding",
    "Trainer",
    "TransformerBlock",
    "Upsample",
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
    "generate",
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
