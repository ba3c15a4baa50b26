"""`Trainer`: training step by step, for custom loops and for `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.data import Batch
from bp_arrays.errors import InputError
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss
from bp_arrays.model import Model, Objective
from bp_arrays.optimizers import Optimizer, TrainingState
from bp_arrays.training._metrics import Metric
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners import Runner, runner_for


class Trainer:
    """A model, a loss and an optimizer, trained one step at a time.

    Each `step` is forward, backward, update, with the same bits as `fit` on the same batches, and
    in the device's fastest form: replayed on NumPy, compiled on JAX, a CUDA graph on CuPy.
    Training continues from `model.training_state` if it belongs to this optimizer object;
    otherwise it starts over.

    Parameters
    ----------
    model : Model
        Its parameters are replaced after every step.
    loss : Loss
    optimizer : Optimizer
    penalty : L2Penalty, optional
        A penalty on large weights, part of the loss.
    seed : int, default 0
        Seed of the random numbers of layers such as Dropout.
    metrics : sequence of Metric, optional
        Computed by `fit` in each epoch.
    compiled : bool, default True
        False runs every step operation by operation, for example to debug a custom layer.

    Raises
    ------
    InputError
        If an argument has the wrong type, or the model has no trainable parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
    >>> trainer = bp.Trainer(model, loss=bp.L2Loss(), optimizer=bp.SGD(0.5))
    >>> x, t = np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]])
    >>> losses = [trainer.step(x, t) for _ in range(200)]
    >>> losses[-1] < 1e-6, trainer.state.step
    (True, 200)
    """

    def __init__(
        self,
        model: Model,
        *,
        loss: Loss,
        optimizer: Optimizer,
        penalty: L2Penalty | None = None,
        seed: int = 0,
        metrics: Sequence[Metric] = (),
        compiled: bool = True,
    ) -> None:
        _check(model, loss, optimizer)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        state = model.training_state
        if state is None or state.optimizer is not optimizer:
            with model.device.activate():
                vectors = optimizer.init(model.current_vectors()[0], model.device.xp)
            model.training_state = TrainingState(optimizer, vectors)
        objective = Objective(
            model.net,
            model.layout,
            loss,
            tuple(metrics),
            None if penalty is None else penalty.on(model),
        )
        step = TrainingStep(model, objective, optimizer, seed, model.device.xp)
        self.runner: Runner = runner_for(step, compiled=compiled)
        self._spec = BatchSpec.of(model, loss)

    @property
    def state(self) -> TrainingState:
        """The state of training: the numbers of updates and epochs, and the optimizer's state."""
        return self.runner.state

    def step(self, x: Any, t: Any, sample_weight: Any = None) -> float:
        """Make one step on one batch and return its loss, before the update.

        Parameters
        ----------
        x : array (batch, *input_shape), or tuple or dict of arrays
            Host data, or arrays on the model's device; as `fit` accepts it.
        t : array
            Targets, as the loss expects them.
        sample_weight : array (batch,), optional

        Raises
        ------
        InputError, DeviceMismatchError
            For a batch that does not fit; the model is unchanged.
        NonFiniteLossError
            If the loss is NaN or infinite: the model goes back to the last parameters whose loss
            was finite, and training starts over.
        """
        if self.model.training_state is None:
            raise InputError(
                "Trainer.step: training was stopped by a loss that was not finite; make a new "
                "Trainer to start over"
            )
        with self.model.device.activate():
            batch = Batch(*self._spec.batch(x, t, sample_weight))
        # an overflow makes the loss infinite, which raises an error: no warning of NumPy needed
        with np.errstate(over="ignore", invalid="ignore"):
            return self.runner.single_step(batch)


def _check(model: Model, loss: Loss, optimizer: Optimizer) -> None:
    for name, value, kind, example in (
        ("model", model, Model, "bp.Model"),
        ("loss", loss, Loss, "loss such as CrossEntropy()"),
        ("optimizer", optimizer, Optimizer, "optimizer such as Adam(1e-3)"),
    ):
        if not isinstance(value, kind):
            raise InputError(f"{name}: expected a {example}, got {value!r:.80}")
    if model.parameter_count == 0:
        raise InputError("model: expected trainable parameters, this one has none")
