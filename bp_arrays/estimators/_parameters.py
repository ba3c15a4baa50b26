"""Validation of the constructor's parameters, in `fit` as in scikit-learn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError
from bp_arrays.training import Callback

CHOICES = {
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
}
BOOLEANS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
NUMBERS = {  # name: (lower bound, whether it is included, upper bound, whether it is included)
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
COUNTS = {  # name: the value allowed besides positive integers
    "max_iter": None,
    "max_fun": None,
    "n_iter_no_change": math.inf,
    "batch_size": "auto",
}


class Parameters(Protocol):
    """The parameters of an estimator and the few of its methods that its helpers use."""

    hidden_layer_sizes: Any
    solver: str
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool | int
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int | float
    max_fun: int
    dropout: float
    device: str | Device | None
    callbacks: Sequence[Callback]
    _random_state: Any

    def _score_of(self, network: Any, samples: Any) -> float: ...


def check_parameters(estimator: Parameters, *, incremental: bool) -> None:
    """Check every parameter that does not depend on the data.

    `loss` and `activation`, which do, are checked where they are used.

    Raises
    ------
    InputError
        For the first parameter outside its range; for parameters that exclude each other.
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
        is_other = other is not None and isinstance(value, type(other)) and value == other
        if not (is_other or _is_count(value)):
            alternative = "" if other is None else f" or {other!r}"
            _refuse(estimator, name, f"an integer >= 1{alternative}")
    hidden_sizes(estimator)
    _check_callbacks(estimator)
    if estimator.device is not None:
        find_device(estimator.device).require()
    _check_together(estimator, incremental)


def hidden_sizes(estimator: Parameters) -> list[int]:
    """Return the sizes of the hidden layers as a list; an int is one layer, () is none.

    Raises
    ------
    InputError
        If a size is not an integer >= 1.
    """
    sizes = estimator.hidden_layer_sizes
    is_scalar = isinstance(sizes, str) or (isinstance(sizes, np.ndarray) and sizes.ndim == 0)
    is_sequence = hasattr(sizes, "__iter__") and not is_scalar
    sizes = list(sizes) if is_sequence else [sizes]
    if not all(_is_count(size) for size in sizes):
        _refuse(estimator, "hidden_layer_sizes", "integers >= 1 (each > 0)")
    return [int(size) for size in sizes]


def _check_callbacks(estimator: Parameters) -> None:
    callbacks = estimator.callbacks
    is_list = isinstance(callbacks, (list, tuple))
    if not is_list or not all(isinstance(callback, Callback) for callback in callbacks):
        _refuse(estimator, "callbacks", "a list of bp.Callback objects")


def _check_together(estimator: Parameters, incremental: bool) -> None:
    if estimator.solver == "lbfgs" and estimator.dropout > 0.0:
        raise InputError(
            "dropout requires solver='sgd' or 'adam': lbfgs minimizes one fixed function, and "
            "with dropout the loss changes at every call"
        )
    if incremental and estimator.early_stopping:
        raise InputError(
            "partial_fit does not support early_stopping=True: it trains for a single epoch"
        )
    if estimator.early_stopping and estimator.validation_fraction == 0.0:
        raise InputError("early_stopping=True requires a validation_fraction above 0")
    if incremental and getattr(estimator, "class_weight", None) == "balanced":
        raise InputError(
            "class_weight='balanced' requires all of y, which partial_fit does not see; pass the "
            "weights as a dict, from sklearn.utils.class_weight.compute_class_weight"
        )


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not _is_bool(value)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, numbers.Integral) and not _is_bool(value)
    return whole and int(value) >= 1


def _refuse(estimator: Parameters, name: str, expected: str) -> None:
    raise InputError(
        f"{type(estimator).__name__}({name}=): expected {expected}, "
        f"got {getattr(estimator, name)!r}"
    )
