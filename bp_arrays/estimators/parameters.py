"""The constructor's parameters, checked when `fit` is called, as scikit-learn does it."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from bp_arrays.errors import InputError

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
    "momentum": (0.0, True, 1.0, True),
    "validation_fraction": (0.0, True, 1.0, False),
    "beta_1": (0.0, True, 1.0, False),
    "beta_2": (0.0, True, 1.0, False),
    "epsilon": (0.0, False, math.inf, False),
    "dropout": (0.0, True, 1.0, False),
}
COUNTS = ("max_iter", "max_fun", "n_iter_no_change", "batch_size")


def check_parameters(estimator: Any) -> None:
    """Raise InputError at the first parameter that is out of its range.

    Raises
    ------
    InputError
        Naming the estimator, the parameter, what it may be and what it is.
    """
    for name, choices in CHOICES.items():
        if getattr(estimator, name) not in choices:
            _refuse(estimator, name, f"one of {', '.join(map(repr, choices))}")
    for name in BOOLEANS:
        if not isinstance(getattr(estimator, name), (bool, np.bool_)):
            _refuse(estimator, name, "True or False")
    for name, (low, with_low, high, with_high) in NUMBERS.items():
        value = getattr(estimator, name)
        within = _is_real(value) and (
            (low < value or (with_low and value == low))
            and (value < high or (with_high and value == high))
        )
        if not within:
            bounds = f"{'[' if with_low else '('}{low:g}, {high:g}{']' if with_high else ')'}"
            _refuse(estimator, name, f"a number in {bounds}")
    for name in COUNTS:
        value = getattr(estimator, name)
        if (name == "n_iter_no_change" and value == math.inf) or (
            name == "batch_size" and isinstance(value, str) and value == "auto"
        ):
            continue
        if not _is_count(value):
            also = {"n_iter_no_change": " or inf", "batch_size": ' or "auto"'}.get(name, "")
            _refuse(estimator, name, f"a whole number of 1 or more{also}")
    if estimator.solver == "lbfgs" and estimator.dropout > 0.0:
        raise InputError(
            "dropout needs solver='sgd' or 'adam': lbfgs minimises one function, and with "
            "dropout the loss is another one at every call"
        )


def hidden_sizes(estimator: Any) -> list[int]:
    """The sizes of the hidden layers: a number, or a sequence of them, which may be empty.

    Raises
    ------
    InputError
        If one is not a whole number of 1 or more.
    """
    given = estimator.hidden_layer_sizes
    sizes = list(given) if hasattr(given, "__iter__") else [given]
    if not all(_is_count(size) for size in sizes):
        _refuse(estimator, "hidden_layer_sizes", "whole numbers of 1 or more (each > 0)")
    return [int(size) for size in sizes]


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and int(value) >= 1


def _refuse(estimator: Any, name: str, expected: str) -> None:
    raise InputError(
        f"{type(estimator).__name__}({name}=): expected {expected}, "
        f"got {getattr(estimator, name)!r}"
    )
