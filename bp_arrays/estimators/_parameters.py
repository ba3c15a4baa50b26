"""The constructor's parameters, checked when `fit` is called, as scikit-learn does it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from bp_arrays.devices import device as find_device
from bp_arrays.errors import InputError
from bp_arrays.training import Callback

CHOICES = {
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
}
BOOLEANS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
NUMBERS = {  # name: (lowest, is it included, highest, is it included)
    "alpha": (0.0, True, math.inf, False),
    "learning_rate_init": (0.0, False, math.inf, False),
    "power_t": (0.0, True, math.inf, False),
    "tol": (0.0, True, math.inf, False),
    "verbose": (0.0, True, math.inf, False),
    "momentum": (0.0, True, 1.0, True),
    "validation_fraction": (0.0, True, 1.0, False),
    "beta_1": (0.0, True, 1.0, False),
    "beta_2": (0.0, True, 1.0, False),
    "epsilon": (0.0, False, math.inf, False),
    "dropout": (0.0, True, 1.0, False),
}
COUNTS = {  # name: what else there may be
    "max_iter": None,
    "max_fun": None,
    "n_iter_no_change": math.inf,
    "batch_size": "auto",
}


def check_parameters(estimator: Any, *, incremental: bool) -> None:
    """Raise InputError at the first parameter that is out of its range, before any data is seen.

    Those that depend on the data, `loss` and `activation`, are checked where they are used.

    Raises
    ------
    InputError
        Naming the estimator, the parameter, what it may be and what it is; or for parameters
        that do not go together.
    """
    for name, choices in CHOICES.items():
        value = getattr(estimator, name)
        if not isinstance(value, str) or value not in choices:
            _refuse(estimator, name, f"one of {', '.join(map(repr, choices))}")
    for name in BOOLEANS:
        if not _is_bool(getattr(estimator, name)):
            _refuse(estimator, name, "True or False")
    for name, (low, with_low, high, with_high) in NUMBERS.items():
        value = getattr(estimator, name)
        if name == "verbose" and _is_bool(value):
            continue
        within = _is_real(value) and (
            (low < value or (with_low and value == low))
            and (value < high or (with_high and value == high))
        )
        if not within:
            bounds = f"{'[' if with_low else '('}{low:g}, {high:g}{']' if with_high else ')'}"
            _refuse(estimator, name, f"a number in {bounds}")
    for name, other in COUNTS.items():
        value = getattr(estimator, name)
        too = other is not None and isinstance(value, type(other)) and value == other
        if not (too or _is_count(value)):
            _refuse(estimator, name, "a whole number of 1 or more" + _or(other))
    hidden_sizes(estimator)
    _check_callbacks(estimator)
    if estimator.device is not None:
        find_device(estimator.device).require()
    _check_together(estimator, incremental)


def hidden_sizes(estimator: Any) -> list[int]:
    """The sizes of the hidden layers: a number, or a sequence of them, which may be empty.

    Raises
    ------
    InputError
        If one is not a whole number of 1 or more.
    """
    given = estimator.hidden_layer_sizes
    listed = hasattr(given, "__iter__") and not isinstance(given, str)
    sizes = list(given) if listed else [given]
    if not all(_is_count(size) for size in sizes):
        _refuse(estimator, "hidden_layer_sizes", "whole numbers of 1 or more (each > 0)")
    return [int(size) for size in sizes]


def _check_callbacks(estimator: Any) -> None:
    given = estimator.callbacks
    listed = isinstance(given, (list, tuple))
    if not listed or not all(isinstance(callback, Callback) for callback in given):
        _refuse(estimator, "callbacks", "a list of bp.Callback objects")


def _check_together(estimator: Any, incremental: bool) -> None:
    if estimator.solver == "lbfgs" and estimator.dropout > 0.0:
        raise InputError(
            "dropout needs solver='sgd' or 'adam': lbfgs minimises one function, and with "
            "dropout the loss is another one at every call"
        )
    if incremental and estimator.early_stopping:
        raise InputError(
            "partial_fit does not support early_stopping=True: a single pass has no later "
            "epochs to stop before"
        )
    if estimator.early_stopping and estimator.validation_fraction == 0.0:
        raise InputError("early_stopping=True needs a validation_fraction above 0")
    if incremental and getattr(estimator, "class_weight", None) == "balanced":
        raise InputError(
            "class_weight='balanced' needs all of y, which partial_fit does not see: hand in the "
            "weights as a dict, as sklearn.utils.class_weight.compute_class_weight gives them"
        )


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not _is_bool(value)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, numbers.Integral) and not _is_bool(value)
    return whole and int(value) >= 1


def _or(other: Any) -> str:
    return "" if other is None else f" or {other!r}"


def _refuse(estimator: Any, name: str, expected: str) -> None:
    raise InputError(
        f"{type(estimator).__name__}({name}=): expected {expected}, "
        f"got {getattr(estimator, name)!r}"
    )
