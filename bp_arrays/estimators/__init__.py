"""scikit-learn estimators on the library's own networks; the one room that imports scikit-learn."""

from bp_arrays.extras import require_extra

require_extra("sklearn")

from bp_arrays.estimators._classifier import MLPClassifier  # noqa: E402
from bp_arrays.estimators._regressor import MLPRegressor  # noqa: E402

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
]
