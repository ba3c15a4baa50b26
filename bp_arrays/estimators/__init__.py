"""scikit-learn estimators on the library's own networks; the one room that imports scikit-learn."""

from bp_arrays.extras import require_extra

require_extra("sklearn")

from bp_arrays.estimators._classifier import MLPClassifier  # noqa: E402
from bp_arrays.estimators._onnx import to_onnx  # noqa: E402
from bp_arrays.estimators._regressor import MLPRegressor  # noqa: E402
from bp_arrays.estimators._saving import load_estimator, save_estimator  # noqa: E402
from bp_arrays.estimators._sequential import (  # noqa: E402
    SequentialClassifier,
    SequentialRegressor,
)

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "SequentialClassifier",
    "SequentialRegressor",
    "load_estimator",
    "save_estimator",
    "to_onnx",
]
