"""scikit-learn estimators on the library's own networks; the one room that imports scikit-learn."""

from bp_arrays.errors import MissingExtraError

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        "MLPClassifier and MLPRegressor are scikit-learn estimators, and scikit-learn is not "
        'installed: pip install "bp_arrays[sklearn]"'
    ) from error
from bp_arrays.estimators._classifier import MLPClassifier
from bp_arrays.estimators._regressor import MLPRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
]
