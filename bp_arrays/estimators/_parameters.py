"""Validation of the constructor's parameters, in `fit` as in scikit-learn."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError
from bp_arrays.model import check_compute_dtype
from bp_arrays.optimizers import Optimizer
from bp_arrays.schedules import Schedule
from bp_arrays.training import Callback

SOLVERS = ("lbfgs", "sgd", "adam", "adamw", "rmsprop", "adagrad")
"""The names of solvers; "sgd" and "adam" have scikit-learn's parameters, the others none."""

LEARNING_RATES = ("constant", "invscaling", "adaptive")
DEFAULT_RATE = 0.001
BOOLEANS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")
NUMBERS = {  # name: (lower bound, whether it is included, upper bound, whether it is included)
    "alpha": (0.0, True, math.inf, False),
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
    "epochs": None,
    "max_iter": None,
    "max_fun": None,
    "n_iter_no_change": math.inf,
    "batch_size": "auto",
}


class StochasticParameters(Protocol):
    """What training by batches reads of an estimator: its parameters, and its score."""

    solver: str | Optimizer
    alpha: float
    batch_size: int | str
    learning_rate: str
    learning_rate_init: float | Schedule
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool | int
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: int | float
    dropout: float
    callbacks: Sequence[Callback]
    _random_state: Any

    def _score_of(self, network: Any, samples: Any) -> float: ...


class Parameters(StochasticParameters, Protocol):
    """The parameters of a perceptron and the few of its methods that its helpers use."""

    hidden_layer_sizes: Any
    random_state: Any
    warm_start: bool
    max_fun: int
    device: str | Device | None
    compute_dtype: str | None


def check_parameters(estimator: Parameters, *, incremental: bool) -> None:
    """Check every parameter that does not depend on the data.

    `loss` and `activation`, which do, are checked where they are used.

    Raises
    ------
    InputError
        For the first parameter outside its range; for parameters that exclude each other.
    """
    _check_solver(estimator)
    hidden_sizes(estimator)
    check_values(estimator)
    if is_lbfgs(estimator) and estimator.dropout > 0.0:
        raise InputError(
            "dropout requires solver='sgd' or 'adam': lbfgs minimizes one fixed function, and "
            "with dropout the loss changes at every call"
        )
    if is_lbfgs(estimator) and estimator.compute_dtype is not None:
        raise InputError(
            "compute_dtype requires solver='sgd' or 'adam': the line search of lbfgs needs exact "
            "gradients"
        )
    check_together(estimator, incremental=incremental)


def check_values(estimator: Any) -> None:
    """Check those parameters that the tables above list, the callbacks and the device.

    Raises
    ------
    InputError
        For the first parameter outside its range.
    """
    for name in BOOLEANS:
        if not hasattr(estimator, name):
            continue
        if not _is_bool(getattr(estimator, name)):
            _refuse(estimator, name, "True or False")
    for name, (low, with_low, high, with_high) in NUMBERS.items():
        if not hasattr(estimator, name):
            continue
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
        if not hasattr(estimator, name):
            continue
        value = getattr(estimator, name)
        is_other = other is not None and isinstance(value, type(other)) and value == other
        if not (is_other or _is_count(value)):
            alternative = "" if other is None else f" or {other!r}"
            _refuse(estimator, name, f"an integer >= 1{alternative}")
    _check_callbacks(estimator)
    if estimator.compute_dtype is not None:
        check_compute_dtype(type(estimator).__name__, estimator.compute_dtype, "float32")
    if estimator.device is not None:
        find_device(estimator.device).require()


def is_lbfgs(estimator: Parameters) -> bool:
    """Return whether the solver is "lbfgs", which trains on all samples at once."""
    return isinstance(estimator.solver, str) and estimator.solver == "lbfgs"


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


def _check_solver(estimator: Parameters) -> None:
    """Check the solver and its learning rate, and that only one of them sets the rate."""
    solver, rate, rule = estimator.solver, estimator.learning_rate_init, estimator.learning_rate
    if not isinstance(solver, Optimizer) and not (isinstance(solver, str) and solver in SOLVERS):
        names = ", ".join(map(repr, SOLVERS))
        _refuse(estimator, "solver", f"one of {names}, or an optimizer such as bp.AdamW(0.001)")
    if not (isinstance(rule, str) and rule in LEARNING_RATES):
        _refuse(estimator, "learning_rate", f"one of {', '.join(map(repr, LEARNING_RATES))}")
    if isinstance(rate, Schedule):
        if isinstance(solver, str) and solver == "lbfgs":
            raise InputError("learning_rate_init: a schedule requires another solver than 'lbfgs'")
        if rule != "constant":
            raise InputError(
                f"learning_rate={rule!r} sets the rate after each epoch; with a schedule as "
                "learning_rate_init leave it at 'constant'"
            )
    elif not (_is_real(rate) and 0.0 < rate < math.inf):
        expected = "a number in (0, inf), or a schedule such as bp.Cosine(0.001, steps=1000)"
        _refuse(estimator, "learning_rate_init", expected)
    if isinstance(solver, Optimizer) and (isinstance(rate, Schedule) or rate != DEFAULT_RATE):
        raise InputError(
            f"learning_rate_init: solver={solver!r:.80} has a learning rate of its own; set it "
            f"there, as in {type(solver).__name__}(learning_rate), and not here"
        )


def _check_callbacks(estimator: Any) -> None:
    callbacks = estimator.callbacks
    is_list = isinstance(callbacks, (list, tuple))
    if not is_list or not all(isinstance(callback, Callback) for callback in callbacks):
        _refuse(estimator, "callbacks", "a list of bp.Callback objects")


def check_together(estimator: Any, *, incremental: bool) -> None:
    """Check parameters that exclude each other, or exclude `partial_fit`."""
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


def _refuse(estimator: Any, name: str, expected: str) -> None:
    raise InputError(
        f"{type(estimator).__name__}({name}=): expected {expected}, "
        f"got {getattr(estimator, name)!r}"
    )
