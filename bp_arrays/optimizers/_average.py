"""`EMA`: an optimizer that also keeps an exponential moving average of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bp_arrays.checks import argument_error, check_number
from bp_arrays.kernels import wide_dtype
from bp_arrays.optimizers._adam import Adam, one_minus_power
from bp_arrays.optimizers._optimizer import Optimizer, Scalars, State
from bp_arrays.optimizers._precision import in_float32
from bp_arrays.schedules import Schedule
from bp_arrays.typing import Array, Namespace


@dataclass(frozen=True)
class EMA(Optimizer):
    """Exponential moving average of the parameters after each update of another optimizer.

        a_t = a_{t−1} + w_t (θ_t − a_{t−1}),   w_t = (1 − β) / (1 − βᵗ)

    so a_t = (1 − β) Σ_s β^{t−s} θ_s / (1 − βᵗ): the average is that of Adam's moments, corrected
    for its start. It begins as θ_1, and the initial parameters are no part of it. The updates
    themselves are those of the other optimizer, to the bit.

    `fit` gives the model the averages after each epoch, for the validation, the callbacks and
    checkpoints, and at the end; the next epoch continues from the trained parameters, which stay
    in `model.training_state`. In a custom loop, `model.use_averages()` does the same.

    Parameters
    ----------
    optimizer : Optimizer, default Adam()
        It makes the updates. A `Chain` goes inside: EMA(Chain(...)).
    decay : float, default 0.999
        β, 0 <= β < 1: the average is over about the last 1 / (1 − β) updates.

    Raises
    ------
    InputError
        For anything but an optimizer, one that averages already, or a decay out of its range.

    Notes
    -----
    Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the correction
    is that of Kingma, Ba, "Adam", ICLR 2015, section 3. `torch.optim.swa_utils.get_ema_avg_fn` is
    not corrected: there θ_1 has the weight βᵗ⁻¹.

    In half precision the average is kept in float32, and rounded once per epoch. The running
    statistics of BatchNorm are not averaged: they are those of the trained parameters. After a
    loss that is not finite the model has the last trained parameters. A checkpoint within an epoch
    has the trained parameters too, one at its end the averages. Steps skipped because gradients
    overflow in float16 count as updates: if the first ones are skipped, θ_s is θ_0 for them.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> model = bp.Model(bp.Linear(1), input_shape=1, device="cpu", seed=0)
    >>> history = bp.fit(model, [[0.0], [1.0]], [[1.0], [3.0]], loss=bp.L2Loss(),
    ...                  optimizer=bp.EMA(bp.SGD(0.5), decay=0.9), epochs=200, batch_size=2)
    >>> model.parameters["weight"].round(3).tolist(), model.training_state.averaged
    ([[2.0]], True)
    """

    learning_rate: float | Schedule = field(init=False, repr=False, compare=False)
    optimizer: Optimizer = field(default_factory=Adam)
    decay: float = 0.999

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, Optimizer):
            raise argument_error("EMA", "optimizer", self.optimizer, "an optimizer such as Adam()")
        if isinstance(self.optimizer, EMA):
            expected = "an optimizer that does not average already"
            raise argument_error("EMA", "optimizer", self.optimizer, expected)
        check_number(self, "decay", at_least=0.0, below=1.0)
        object.__setattr__(self, "learning_rate", self.optimizer.learning_rate)

    @property
    def elementwise(self) -> bool:
        return self.optimizer.elementwise

    def rate(self, step: int, monitored: Sequence[float] = ()) -> float:
        return self.optimizer.rate(step, monitored)

    def init(self, theta: Array, xp: Namespace) -> State:
        average = xp.astype(theta, wide_dtype(theta, xp), copy=True)
        return (*self.optimizer.init(theta, xp), average)

    def scalars(self, step: int, eta: float) -> tuple[float, ...]:
        weight = (1.0 - self.decay) / one_minus_power(self.decay, step)
        return (*self.optimizer.scalars(step, eta), weight)

    @in_float32
    def update(
        self, theta: Array, g: Array, state: State, scalars: Scalars, xp: Namespace
    ) -> tuple[Array, State]:
        *vectors, average = state
        *others, weight = scalars
        theta, updated = self.optimizer.update(theta, g, tuple(vectors), tuple(others), xp)
        return theta, (*updated, average + weight * (theta - average))
