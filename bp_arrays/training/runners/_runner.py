"""`Runner`: the contract of a runner, which executes the steps of one training run."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from bp_arrays.data import Batch, Feed
from bp_arrays.errors import NonFiniteLossError
from bp_arrays.layers import layers_of
from bp_arrays.losses import CombinedLoss, EnsembleLoss, Loss
from bp_arrays.optimizers import TrainingState
from bp_arrays.training._ensemble_metric import EnsembleMetric
from bp_arrays.training._evaluate import Totals
from bp_arrays.training._metrics import Metric, OutputMetric
from bp_arrays.training._non_finite import is_finite, non_finite_loss
from bp_arrays.training._pauses import Pauses
from bp_arrays.training._progress import Progress
from bp_arrays.training._step import TrainingStep
from bp_arrays.typing import Array

logger = logging.getLogger("bp_arrays")

Vectors = tuple[Array, Array]
"""θ, and the vector of non-trainable parameters."""


class Window(NamedTuple):
    """The steps between two checks of their losses.

    Parameters
    ----------
    start : TrainingState
        Before the first of them, with the optimizer's vectors as they were.
    vectors : Vectors
        Before the first of them.
    first : int
        The number of the first one in its epoch, from 0.
    """

    start: TrainingState
    vectors: Vectors
    first: int


class Steps(Protocol):
    """Steps that can be repeated from the start of a window."""

    def restart(self, window: Window) -> None:
        """Go back to the start of the window."""

    def advance(self, batch: Batch) -> Any:
        """Make one step."""

    def vectors(self) -> Vectors:
        """Return the current parameters, in arrays that no step overwrites."""


class Runner(ABC):
    """Base class of runners, which execute training steps and update the model.

    `steps_to_come` is the number of steps of this training run if it is known, else 0.

    Parameters
    ----------
    step : TrainingStep
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.model, self.optimizer = step.model, step.optimizer
        self.device = step.model.device
        self.refused = ""
        self.steps_to_come = 0
        objective = step.objective
        parts: list[Any] = [*layers_of(objective.net), *_losses_of(objective.loss)]
        parts += [part for metric in objective.metrics for part in _parts_of(metric)]
        parts.append(objective.penalty)
        self.has_custom_parts = not all(map(_is_of_library, parts))

    @property
    def compiled_by(self) -> str:
        """The compiler of whole steps; "" if operations run one by one."""
        return ""

    @property
    def blas_threads(self) -> int | None:
        """The number of BLAS threads chosen for steps; None if BLAS was left alone."""
        return None

    def keep(self) -> None:  # noqa: B027 - a runner may have nothing to leave
        """Leave what was recorded or compiled to the next training run; called at the end."""

    @property
    def state(self) -> TrainingState:
        """The training state of the model."""
        state: TrainingState = self.model.training_state
        return state

    @abstractmethod
    def epoch(
        self, feed: Feed, batch_size: int, order: Any, bar: Progress, pauses: Pauses
    ) -> dict[str, float]:
        """Train on every batch once; return the epoch's loss, metrics and last learning rate.

        An epoch that an earlier run has begun continues after `pauses.start` batches.

        Raises
        ------
        NonFiniteLossError
            If a loss is not finite; the model then has the last parameters with a finite loss.
        """

    @abstractmethod
    def single_step(self, batch: Batch) -> float:
        """Make one step on one batch and return its loss; raises as `epoch` does."""

    @abstractmethod
    def last_good(self) -> Vectors:
        """Return the last parameters before the current ones that are known to be good."""

    def new_totals(self, pauses: Pauses) -> Totals:
        """Return the sums of an epoch, of the batches that an earlier run has trained on."""
        objective = self.step.objective
        return Totals(objective.loss, objective.metrics, self.model.device, pauses.sums)

    def last_rate(self) -> float:
        """Return the learning rate of the last update, which an earlier run may have made."""
        state = self.state
        return self.optimizer.rate(max(0, state.step - 1), state.monitored)

    def next_scalars(self) -> tuple[float, tuple[float, ...]]:
        """Return the learning rate and all scalars of the next update."""
        state = self.state
        rate = self.optimizer.rate(state.step, state.monitored)
        return rate, self.optimizer.scalars(state.step + 1, rate)

    def refuse(self, what: str, why: BaseException | str) -> None:
        """Record why steps are not compiled, in the log and for `history.not_compiled`."""
        self.refused = f"{what}: {' '.join(str(why).split())}"
        logger.info("%s: %s", self.model.device, self.refused)

    # -- a loss that is not finite ---------------------------------------------------------------

    def check_update(self) -> None:
        """Raise NonFiniteLossError, and restore good parameters, if the last update made NaN.

        The loss of a step judges the update before it: the last one of an epoch has no such loss.
        """
        model = self.model
        theta, _ = model.current_vectors()
        with model.device.activate():
            if is_finite(theta, model.device.xp):
                return
        epoch = self.state.epoch + 1
        model.set_vectors(*self.last_good())
        model.training_state = None
        raise NonFiniteLossError(
            f"the parameters became NaN or infinite in the last update of epoch {epoch}, after a "
            "finite loss. The model keeps the last parameters with a finite loss. A smaller "
            "learning rate, ClipByGlobalNorm or data on a common scale usually help"
        )

    def stop_in_window(
        self, steps: Steps, window: Window, bad: int, batches: Iterator[Batch], good: Vectors
    ) -> NoReturn:
        """Repeat the steps of a window up to the one whose loss is not finite, and stop.

        Parameters
        ----------
        steps : Steps
        window : Window
        bad : int
            The number of the step at fault in the window, from 0.
        batches : iterator of Batch
            Those of the window, from the first on.
        good : Vectors
            The last parameters before the window with a finite loss.
        """
        steps.restart(window)
        for _ in range(bad):
            good = steps.vectors()
            steps.advance(next(batches))
        state = replace(window.start, step=window.start.step + bad)
        self.stop(next(batches), window.first + bad, state, steps.vectors(), good)

    def stop(
        self, batch: Batch, index: int, state: TrainingState, at_fault: Vectors, good: Vectors
    ) -> NoReturn:
        """Give the model its last good parameters, and raise the error for this batch.

        Parameters
        ----------
        batch : Batch
            The batch whose loss is not finite.
        index : int
            Its number in the epoch, from 0.
        state : TrainingState
            Before its step.
        at_fault, good : Vectors
            The parameters with this loss, and those to go back to.
        """
        model, next_state = self.model, replace(state, step=state.step + 1)
        theta, others = at_fault
        model.set_vectors(good[0], others)
        error = non_finite_loss(model, self.step.objective.loss, theta, batch, next_state, index)
        model.set_vectors(*good)
        model.training_state = None
        raise error


EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def check_equal(fast: Sequence[Any], eager: Sequence[Any], dtype: str) -> None:
    """Raise ValueError unless a step with custom parts gives the same numbers both ways.

    Layers, losses, metrics and penalties must be pure functions of their arguments. One that is
    not, for example one that draws its own random numbers, differs when it is replayed.
    """
    fast_vector, eager_vector = (
        np.concatenate([np.asarray(number, np.float64).ravel() for number in numbers])
        for numbers in (fast, eager)
    )
    difference = np.linalg.norm(fast_vector - eager_vector)
    if not difference <= math.sqrt(EPS[dtype]) * np.linalg.norm(eager_vector):
        raise ValueError(
            f"a step with custom parts differs by {difference:.3g} from the same step computed "
            "operation by operation"
        )


def _losses_of(loss: Loss) -> Iterator[Loss]:
    """Yield a loss and those that it consists of."""
    yield loss
    inner = [each for _, each in loss.items()] if isinstance(loss, CombinedLoss) else []
    for each in [loss.loss] if isinstance(loss, EnsembleLoss) else inner:
        yield from _losses_of(each)


def _parts_of(metric: Metric) -> Iterator[Any]:
    """Yield a metric, the one in it, and the layers that it applies."""
    yield metric
    if isinstance(metric, EnsembleMetric) and metric.activation is not None:
        yield from layers_of(metric.activation)
    if isinstance(metric, (OutputMetric, EnsembleMetric)):
        yield from _parts_of(metric.metric)


def _is_of_library(part: Any) -> bool:
    module = str(getattr(part, "__module__", ""))
    return part is None or module.partition(".")[0] == __name__.partition(".")[0]


def first_not_finite(losses: Sequence[float]) -> int | None:
    """Return the index of the first loss that is NaN or infinite; None if all are finite."""
    return next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), None)
