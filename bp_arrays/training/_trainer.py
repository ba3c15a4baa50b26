"""`Trainer`: training step by step, for custom loops and for `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from bp_arrays.checks import argument_error, as_integer
from bp_arrays.data import Batch
from bp_arrays.devices import memory_advice
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError, NonFiniteLossError, warn
from bp_arrays.inputs import BatchSpec
from bp_arrays.losses import Loss, doubled_activations
from bp_arrays.model import Model, Objective
from bp_arrays.optimizers import Optimizer, TrainingState
from bp_arrays.random import checked_seed
from bp_arrays.training._agreement import agree_on_model
from bp_arrays.training._metrics import Metric, check_metrics
from bp_arrays.training._parts import Division
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training._step import TrainingStep
from bp_arrays.training.runners import Runner, runner_for, step_key

KEPT = "The model keeps the parameters of its last step"


class Trainer:
    """A model, a loss and an optimizer, trained one step at a time.

    Each `step` is forward, backward, update, as `fit` makes on the same batches, to the bit on
    NumPy with one number of BLAS threads, and in the device's fastest form: replayed on NumPy,
    compiled on JAX, a CUDA graph on CuPy.
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
    accumulate : int, default 1
        For `fit`: batches per update. A call of `step` always makes an update.
    distributed : ProcessGroup, optional
        The processes that train together, such as `bp.MPI()`: each passes its own rows to `step`,
        which makes one update by the batch of them all, in the order of the processes.

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
        accumulate: int = 1,
        distributed: ProcessGroup | None = None,
    ) -> None:
        check_group("Trainer", distributed)
        self._division = Division(accumulate, distributed)
        with guarded(distributed):
            with checked_together(distributed):
                _check(model, loss, optimizer, penalty, metrics)
                as_integer("Trainer", "accumulate", accumulate, at_least=1)
                self._division.check(model, loss)
            if self._division.rank == 0:
                for line in doubled_activations(model.net, loss):
                    warn(line)
            self.model, self.loss, self.optimizer = model, loss, optimizer
            self._penalty, self._metrics = penalty, tuple(metrics)
            self._seed, self._compiled = checked_seed(seed), compiled
            self._stopped = False
            state = model.training_state
            if state is None or state.optimizer is not optimizer:
                theta, _ = model.current_vectors()
                state = TrainingState.first(optimizer, theta, model.device, model.compute_dtype)
            self._state = model.training_state = state
            if distributed is not None:
                agree_on_model(
                    distributed,
                    model,
                    loss=loss,
                    optimizer=optimizer,
                    penalty=penalty,
                    metrics=self._metrics,
                    seed=self._seed,
                    accumulate=accumulate,
                )
                self._state = model.training_state
            self.runner = self._new_runner()

    def _new_runner(self) -> Runner:
        """Return what runs the steps on the model's present device."""
        model = self.model
        penalty = None if self._penalty is None else self._penalty.on(model)
        objective = Objective(model.computed_net, model.layout, self.loss, self._metrics, penalty)
        step = TrainingStep(model, objective, self.optimizer, self._seed, model.device.xp)
        self._spec = BatchSpec.of(model, self.loss, self._metrics)
        key = step_key(model, self.loss, self._metrics, self._penalty, self._seed)
        return runner_for(step, compiled=self._compiled, key=key, division=self._division)

    def resume(self) -> Runner:
        """Continue with this trainer's own optimizer state; return what runs the steps.

        Between two steps the model may have been trained by another optimizer, or moved to
        another device.
        """
        model, state = self.model, self.model.training_state
        moved = self.runner.device != model.device
        if state is not None and state.optimizer is self.optimizer:
            self._state = state
        elif moved:
            self._state = self._state.moved_to(model.device, model.dtype, model.compute_dtype)
        model.training_state = self._state
        if moved:
            self.runner = self._new_runner()
        return self.runner

    @property
    def seed(self) -> int:
        """Seed of the random numbers of layers such as Dropout."""
        return self._seed

    def continue_from(self, state: TrainingState) -> None:
        """Continue from a training state, of the parameters that the model has now."""
        self._state = self.model.training_state = state
        self.runner.keep()  # what it has compiled, for the next runner
        self.runner = self._new_runner()

    @property
    def state(self) -> TrainingState:
        """The state of training: the numbers of updates and epochs, and the optimizer's state.

        A copy: later steps do not change it.
        """
        state = self.resume().state
        model = self.model
        return state.moved_to(model.device, model.dtype, model.compute_dtype)

    def step(self, x: Any, t: Any, sample_weight: Any = None) -> float:
        """Make one step on one batch and return its loss, before the update.

        Parameters
        ----------
        x : array (batch, *input_shape), or tuple or dict of arrays
            Host data, or arrays on the model's device; as `fit` accepts it.
        t : array, or dict or tuple of arrays
            Targets, as the loss expects them.
        sample_weight : array (batch,), optional
            If each sample has the weight 0, by this or by the loss, the loss is 0 and so is its
            gradient: in a custom loop some batch may be empty.

        Raises
        ------
        InputError, DeviceMismatchError
            For a batch that does not fit; the model is unchanged.
        NonFiniteLossError
            If the loss is NaN or infinite: the model goes back to the last parameters whose loss
            was finite, and training starts over.
        """
        if self._stopped:
            raise InputError(
                "Trainer.step: training was stopped by a loss that was not finite; make a new "
                "Trainer to start over"
            )
        runner = self.resume()
        group = self._division.group
        with guarded(group), memory_advice("Trainer.step", self.model.device, None, KEPT):
            loss = self._step(runner, group, x, t, sample_weight)
        self._state = runner.state
        return loss

    def _step(
        self, runner: Runner, group: ProcessGroup | None, x: Any, t: Any, sample_weight: Any
    ) -> float:
        with checked_together(group), self.model.device.activate():
            batch = Batch(*self._spec.batch(x, t, sample_weight))
        self.model.use_trained()
        # an overflow makes the loss infinite, which raises an error: no warning of NumPy needed
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            try:
                return runner.single_step(batch)
            except NonFiniteLossError:
                self._stopped = True
                raise


def check_group(where: str, group: Any) -> None:
    """Raise InputError unless a group of processes or None was passed."""
    if group is not None and not isinstance(group, ProcessGroup):
        advice = f"write {group.__name__}()" if isinstance(group, type) else ""
        expected = "a group of processes such as bp.MPI()"
        raise argument_error(where, "distributed", group, expected, advice)


def guarded(group: ProcessGroup | None) -> AbstractContextManager[None]:
    """End all processes of the group if the block fails in this one alone."""
    return nullcontext() if group is None else group.guard()


def checked_together(group: ProcessGroup | None) -> AbstractContextManager[None]:
    """Raise an InputError of the block in all processes of the group."""
    return nullcontext() if group is None else group.checked_together()


def _check(
    model: Model, loss: Loss, optimizer: Optimizer, penalty: L2Penalty | None, metrics: Any
) -> None:
    for name, value, kind, example in (
        ("model", model, Model, "a bp.Model"),
        ("loss", loss, Loss, "a loss such as CrossEntropy()"),
        ("optimizer", optimizer, Optimizer, "an optimizer such as Adam(1e-3)"),
        ("penalty", penalty, (L2Penalty, type(None)), "a penalty such as L2Penalty(1e-4)"),
    ):
        if not isinstance(value, kind):
            raise InputError(f"{name}: expected {example}, got {value!r:.80}")
    check_metrics(metrics)
    if model.parameter_count == 0:
        raise InputError("model: expected trainable parameters, this one has none")
