"""The whole data set as one function of the parameters, minimised by SciPy's L-BFGS."""

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
from bp_arrays.estimators._samples import Samples
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.training import History, L2Penalty, Run
from bp_arrays.typing import HostArray

VALUES_AT_ONCE = 2**24
"""Input values that pass through the network at once, which bounds the memory of activations."""


def fit_lbfgs(estimator: Any, network: Network, samples: Samples) -> None:
    """Train the network on all samples together; an iteration is an epoch to callbacks.

    The model ends with the best parameters found, after Ctrl-C with those of the last iteration.

    Source: Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained
    optimization", 1995.
    """
    model, loss = network.model, network.objective.loss
    X = network.moved(samples.X)
    batches = Batches(X, samples.targets, samples.weight).feed(BatchSpec.of(model, loss))
    history = estimator.history_ = History()
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

    for callback in estimator.callbacks:
        callback.on_start(run)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # told by the weights, afterwards
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
        estimator.loss_ = float(result.fun)
        estimator.n_iter_ = min(int(result.nit), int(estimator.max_iter))
    except KeyboardInterrupt:
        run.stopped = "interrupted"
        estimator.n_iter_ = history.epochs
        if history.epochs:
            estimator.loss_ = history["loss"][-1]
    history.stopped = run.stopped
    for callback in estimator.callbacks:
        callback.on_end(run)
    if run.stopped == "interrupted":
        warnings.warn("training was interrupted by the user", stacklevel=5)
    elif run.stopped is None and result.status != 0:
        warnings.warn(
            f"lbfgs stopped before it converged, after {estimator.n_iter_} iterations: "
            f"{result.message}. Raise max_iter or max_fun, or scale the data",
            ConvergenceWarning,
            stacklevel=5,
        )


def value_and_gradient(
    model: Model, batches: Feed, loss: Loss, penalty: L2Penalty
) -> Callable[[HostArray], tuple[float, HostArray]]:
    """The function from the parameters (n,) to the mean loss of all samples and its gradient.

    Parameters and gradient travel to and from the host, in float64, at every call; loss and
    gradient are computed on the model's device.
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
                made = objective.gradient(theta, state, batch, context)
                value, total = value + made.loss * made.weight, total + made.weight
                g = g + made.g * made.weight
            if loss.reduction == "sum":
                total = 1.0
            value, g = value / total, g / total
            added, slope = penalize(theta, total, device.xp)
            value_here, g_here = device.to_numpy(value + added), device.to_numpy(g + slope)
        return float(value_here), g_here.astype(np.float64)

    return function
