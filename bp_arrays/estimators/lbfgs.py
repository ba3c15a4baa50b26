"""The whole data set as one function of the parameters, minimised by SciPy's L-BFGS."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from bp_arrays.feeding import Feed
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.training import L2Penalty
from bp_arrays.training.evaluating import mean_weight
from bp_arrays.training.objective import objective_of

VALUES_AT_ONCE = 2**24
"""Input values that pass through the network at once, which bounds the memory of activations."""


def minimize_lbfgs(
    model: Model,
    batches: Feed,
    loss: Loss,
    penalty: L2Penalty,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    verbose: bool,
) -> OptimizeResult:
    """Minimise the mean loss over all samples; the model ends with the best parameters found.

    The vector of parameters and its gradient travel to the host, in float64, for every call;
    loss and gradient are computed on the model's device.

    Source: Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained
    optimization", 1995.
    """
    device = model.device
    objective = objective_of(model, loss)
    penalize = penalty.on(model)
    context = model.context(training=True, needs_input_gradient=False)
    rows = max(1, VALUES_AT_ONCE // max(model.input_shape[0], 1))

    def value_and_gradient(host: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        with device.activate():
            theta = device.asarray(host, model.dtype)
            value: Any = 0.0
            g: Any = 0.0
            total: Any = 0.0
            for batch in batches.epoch(rows, None):
                mean, slope, y = objective(theta, batch, context)
                weight = mean_weight(y, batch, loss, context)
                value, g, total = value + mean * weight, g + slope * weight, total + weight
            if loss.reduction == "sum":
                total = 1.0
            value, g = value / total, g / total
            added, slope = penalize(theta, total)
            value_here, g_here = device.to_numpy(value + added), device.to_numpy(g + slope)
        return float(value_here), g_here.astype(np.float64)

    def report(intermediate_result: OptimizeResult) -> None:
        if verbose:
            print(f"loss = {intermediate_result.fun:.8f}")

    result = minimize(
        value_and_gradient,
        device.to_numpy(model.vector).astype(np.float64),
        jac=True,
        method="L-BFGS-B",
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        callback=report,
    )
    model.vector = device.asarray(result.x, model.dtype)
    return result
