"""Check the arguments of `explain` and compute the derivation."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.explanation._chain import chain_of
from bp_arrays.explanation._derivation import Derivation
from bp_arrays.explanation._differences import central_difference
from bp_arrays.explanation._expression import Symbol, Term, partial
from bp_arrays.explanation._naming import Name
from bp_arrays.explanation._notation import loss_derivative
from bp_arrays.explanation._opened_blocks import open_blocks
from bp_arrays.explanation._stages import Stage, Vector
from bp_arrays.explanation._visited import follow
from bp_arrays.inputs import as_numpy, only_output, only_shape, prepare_targets
from bp_arrays.layers import Context
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective

Kind = TypeVar("Kind", bound=Derivation)


def derived(kind: type[Kind], model: Any, x: Any, t: Any, loss: Any, eta: float) -> Kind:
    """Compute the derivation for one sample, after checking the arguments; see `bp.explain`."""
    if not isinstance(model, Model):
        raise InputError(
            "explain(model=): expected a bp.Model or an estimator of this library, got "
            f"{type(model).__name__}; of a pipeline pass the last step, pipeline[-1]"
        )
    if not isinstance(loss, Loss):
        raise InputError(f"explain(loss=): expected a loss such as L2Loss(), got {loss!r}")
    if not loss.explainable:
        raise InputError(
            f"explain(loss=): expected a loss of the outputs of one sample and one target, got "
            f"{type(loss).__name__}, which cannot be written out"
        )
    if not (isinstance(eta, Real) and np.isfinite(float(eta)) and eta > 0):
        raise InputError(f"explain(eta=): expected a finite number > 0, got {eta!r}")
    shape = only_shape(model.inputs, "explain")
    only_output(model.output_shape, "explain")
    copy = Model(model.net, shape, device="cpu", dtype="float64")
    copy.set_parameters(model.host_parameters())
    sample = _sample(x, copy)
    target = _target(t, loss, copy)
    for name, value in copy.parameters.items():
        if not np.isfinite(value).all():
            raise InputError(f"explain(model=): expected finite parameters, but {name} is not")
    context = copy.context(training=False, needs_input_gradient=True)
    with np.errstate(over="ignore", invalid="ignore"):  # told in a sentence instead
        visited, backward = follow(copy.net, copy.tree(), sample, context)
        checked = prepare_targets(target, 1, loss, copy.output_shape, copy.device, copy.dtype)
        backward(loss.forward(visited.y, checked, replace(context, x=sample))[1]())
        open_blocks(visited)
        stages = chain_of(visited, context)
        # not copy.gradients, which refuses a sample that does not count
        objective = Objective(copy.net, copy.layout, loss)
        vectors, batch = copy.current_vectors(), (sample, checked, None)
        result = objective.gradient(*vectors, batch, context)
        gradients = copy.layout.named_gradients(result.g, copy.device.xp)
    loss_value = float(result.loss)
    _finite(stages, loss_value, gradients)
    y = stages[-1].y if stages else np.ravel(sample)
    return kind(
        copy,
        loss,
        sample,
        target,
        stages,
        _loss_terms(loss, y, target, copy, replace(context, x=sample)),
        loss_value,
        gradients,
        float(eta),
    )


def _finite(stages: list[Stage], loss_value: float, gradients: dict[str, Vector]) -> None:
    for stage in stages:
        if not np.isfinite(stage.y).all():
            raise InputError(
                f"explain: the output of layer {stage.path or 0} ({type(stage.layer).__name__}) is "
                "not finite for this sample; use smaller inputs or weights"
            )
    if not np.isfinite(loss_value):
        raise InputError(
            f"explain: the loss of this sample is {loss_value}; use smaller inputs or weights"
        )
    for name, gradient in gradients.items():
        if not np.isfinite(gradient).all():
            raise InputError(
                f"explain: the gradient of {name} is not finite for this sample; use smaller "
                "inputs or weights"
            )


def _sample(x: Any, model: Model) -> Vector:
    array = as_numpy(_moved_to_host(x), "x").astype(np.float64)
    if array.shape == model.input_shape:
        array = array[None]
    if array.shape != (1, *model.input_shape):
        raise InputError(
            f"explain(x=): expected one sample of shape {model.input_shape}, got {array.shape}; "
            "pass one of several samples as x[3]"
        )
    if not np.isfinite(array).all():
        raise InputError("explain(x=): expected finite numbers, got NaN or infinity")
    return np.asarray(array)


def _target(t: Any, loss: Loss, model: Model) -> Vector:
    array = as_numpy(_moved_to_host(t), "t")
    shape = loss.target_shape((1, *model.output_shape))[1:]
    positions = model.output_shape[:-1]
    if array.shape == shape or (array.shape == positions and loss.takes_classes):
        array = array[None]
    elif array.ndim == 0 and shape == (1,):
        array = array.reshape(1, 1)
    classes = loss.takes_classes and array.shape == (1, *positions)
    if not classes and array.shape != (1, *shape):
        of_positions = f" or classes of shape {positions}" if positions else " or one class"
        also = of_positions if loss.takes_classes else ""
        raise InputError(
            f"explain(t=): expected a target of shape {shape}{also}, got {array.shape}"
        )
    if not np.isfinite(array).all():
        raise InputError("explain(t=): expected finite numbers, got NaN or infinity")
    return np.asarray(array)


def _moved_to_host(value: Any) -> Any:
    from bp_arrays.devices import device_of_or_none

    device = device_of_or_none(value)
    return value if device is None else device.to_numpy(value)


def _loss_terms(loss: Loss, y: Vector, t: Vector, model: Model, context: Context) -> list[Term]:
    """Return ∂L/∂y_k as terms; for a custom loss as symbols, by central differences."""
    outputs = [Name("y").symbol(float(value), k + 1) for k, value in enumerate(y)]
    q, classes = t, model.output_shape[-1]
    if loss.takes_classes and t.ndim == len(model.output_shape):
        one_hot = np.arange(classes) == t[..., None]
        counted = loss.counted(t)
        q = (one_hot if counted is None else one_hot & counted[..., None]).astype(y.dtype)
    targets = [Name("t").symbol(float(value), k + 1) for k, value in enumerate(np.ravel(q))]
    terms = loss_derivative(loss, outputs, targets, classes)
    if terms is not None:
        return terms

    given = t if t.ndim <= len(model.output_shape) else t.astype(y.dtype)  # classes are integers

    def measured(k: int) -> Symbol:
        def loss_at(value: float) -> float:
            moved = y.copy()
            moved[k] = value
            batch = moved.reshape((1, *model.output_shape))
            return float(loss.forward(batch, given, context)[0])

        slope = float(central_difference(loss_at, float(y[k])))
        return partial(Symbol("L", "L", 0.0), outputs[k], slope)

    return [measured(k) for k in range(y.size)]
