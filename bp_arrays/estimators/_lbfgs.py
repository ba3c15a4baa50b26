"""Training by SciPy's L-BFGS: the loss of the whole data set as a function of the parameters."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from bp_arrays.data import Batches, Feed
from bp_arrays.estimators._network import Network, not_finite
from bp_arrays.estimators._parameters import Parameters
from bp_arrays.estimators._record import TrainingRecord
from bp_arrays.estimators._samples import Samples
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training import History, L2Penalty, Run
from bp_arrays.training.callbacks import called_back
from bp_arrays.typing import HostArray

VALUES_AT_ONCE = 2**24
"""Input values per pass through the network, which bounds the memory of activations."""


def fit_lbfgs(
    estimator: Parameters, record: TrainingRecord, network: Network, samples: Samples
) -> None:
    """Train the network on all samples at once; callbacks see each iteration as an epoch.

    The model ends with the best parameters, after Ctrl-C with those of the last iteration.

    Source: Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained
    optimization", 1995.
    """
    model, loss = network.model, network.objective.loss
    X = network.moved(samples.X)
    batches = Batches(X, samples.targets, samples.weight).feed(BatchSpec.of(model, loss))
    history = record.history = History()
    run = Run(model, history, int(estimator.max_iter))
    started = time.perf_counter()

    def after_iteration(intermediate_result: OptimizeResult) -> None:
        nonlocal started
        now = time.perf_counter()
        model.vector = model.device.asarray(intermediate_result.x, model.dtype)
        history.record({"loss": intermediate_result.fun, "seconds": now - started})
        started = now
        if estimator.verbose:
            print(f"Iteration {history.epochs}, loss = {intermediate_result.fun:.8f}")
        for callback in estimator.callbacks:
            callback.on_epoch_end(run)
        if run.stopped:
            raise StopIteration

    # the result is checked below
    quiet = np.errstate(over="ignore", under="ignore", invalid="ignore")
    with called_back(estimator.callbacks, run):
        with quiet:
            result = minimize(
                value_and_gradient(model, batches, loss, L2Penalty(estimator.alpha)),
                model.device.to_numpy(model.vector).astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                options={
                    "maxfun": estimator.max_fun,
                    "maxiter": estimator.max_iter,
                    "gtol": estimator.tol,
                },
                callback=after_iteration,
            )
        if not math.isfinite(result.fun):
            raise not_finite()
        model.vector = model.device.asarray(result.x, model.dtype)
        record.loss = float(result.fun)
        record.epochs = min(int(result.nit), int(estimator.max_iter))
    if run.stopped == "interrupted":
        record.epochs = history.epochs
        if history.epochs:
            record.loss = history["loss"][-1]
        warnings.warn("training was interrupted by the user", stacklevel=5)
    elif run.stopped is None and result.status != 0:
        warnings.warn(
            f"lbfgs did not converge in {record.epochs} iterations: "
            f"{result.message}. Raise max_iter or max_fun, or scale the data",
            ConvergenceWarning,
            stacklevel=5,
        )


def value_and_gradient(
    model: Model, batches: Feed, loss: Loss, penalty: L2Penalty
) -> Callable[[HostArray], tuple[float, HostArray]]:
    """Return the function from the parameters (n,) to the mean loss and its gradient.

    Each call copies the parameters from the host and the gradient back to it, in float64; loss
    and gradient are computed on the model's device.
    """
    device = model.device
    objective = Objective(model.net, model.layout, loss)
    penalize = penalty.on(model)
    context = model.context(training=True, needs_input_gradient=False)
    rows = max(1, VALUES_AT_ONCE // max(model.input_shape[0], 1))

    def function(host: HostArray) -> tuple[float, HostArray]:
        with device.activate():
            theta = device.asarray(host, model.dtype)
            _, state = model.current_vectors()
            value: Any = 0.0
            g: Any = 0.0
            total: Any = 0.0
            for batch in batches.epoch(rows, None):
                result = objective.gradient(theta, state, batch, context)
                value, total = value + result.loss * result.weight, total + result.weight
                g = g + result.g * result.weight
            if loss.reduction == "sum":
                total = 1.0
            value, g = value / total, g / total
            added, slope = penalize(theta, total, device.xp)
            host_value, host_g = device.to_numpy(value + added), device.to_numpy(g + slope)
        return float(host_value), host_g.astype(np.float64)

    return function
