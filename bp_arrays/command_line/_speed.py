"""Training speed of a network of given sizes on a device, measured through the public `fit`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bp_arrays.activations import ReLU
from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.execution import InPlaceUpdate, fast_numpy
from bp_arrays.layers import Layer, Linear, Sequential
from bp_arrays.losses import CrossEntropy
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.training import Callback, Run, fit

WARM = 2
"""Epochs that are not measured: compilation happens in them."""

LEAST_EPOCHS, ENOUGH_SECONDS = 5, 2.0
"""Without a number of steps, the least number of epochs and of seconds to measure."""

DATA_BYTES = 2**26
EPOCH_OPERATIONS = 2.5e10
EPOCH_STEPS = (4, 500)
"""Limits of an epoch: bytes of its data, its floating-point operations, its steps."""


@dataclass(frozen=True)
class Speed:
    """The training speed measured on one device.

    Parameters
    ----------
    device, description : str
    layers : tuple of int
        Inputs, hidden units, classes.
    batch : int
    steps_per_epoch : int
    microseconds : tuple of float
        Mean duration of a step, one value per measured epoch.
    path : str
        The runner of the steps, as `path_of` names it.
    loss : float
        Training loss of the last epoch.
    """

    device: str
    description: str
    layers: tuple[int, ...]
    batch: int
    steps_per_epoch: int
    microseconds: tuple[float, ...]
    path: str
    loss: float

    @property
    def microseconds_per_step(self) -> float:
        """Median over the epochs."""
        return statistics.median(self.microseconds)

    @property
    def samples_per_second(self) -> float:
        """Samples per second at the median step."""
        return self.batch / self.microseconds_per_step * 1e6

    @property
    def gigaflops(self) -> float:
        """10⁹ operations per second, counting the matrix products only."""
        return operations(self.layers, self.batch) / self.microseconds_per_step / 1e3


def operations(layers: Sequence[int], batch: int) -> int:
    """Count the multiplications and additions in the matrix products of a step.

    Each layer has two products, forward and ∂L/∂w; all but the first also have ∂L/∂x.

    >>> operations((4, 3, 2), 10) == 2 * 10 * (2 * 4 * 3 + 3 * 3 * 2)
    True
    """
    pairs = list(pairwise(layers))
    return 2 * batch * (3 * sum(n * m for n, m in pairs) - math.prod(pairs[0]))


def check_sizes(layers: Sequence[int]) -> None:
    """Raise InputError unless these are the sizes of a classifier."""
    if len(layers) < 2 or layers[-1] < 2:
        raise InputError(
            "layers: expected the sizes of inputs, hidden layers and at least two classes, such "
            f"as 784,512,10, got {','.join(map(str, layers)) or 'none'}"
        )


def measure_speed(
    layers: Sequence[int],
    batch: int,
    device: Device,
    optimizer: Optimizer,
    *,
    dtype: str = "float32",
    steps: int | None = None,
    progress: Callable[[int], None] = lambda epoch: None,
) -> Speed:
    """Time the training of a multilayer perceptron, with ReLU and cross-entropy, on random data.

    Parameters
    ----------
    layers : sequence of int
        Inputs, hidden units, classes: two numbers or more, two classes or more.
    batch : int
        Rows per step.
    device : Device
    optimizer : Optimizer
    dtype : str, default "float32"
    steps : int, optional
        Minimum number of steps to measure; by default about two seconds of them.
    progress : function of int, optional
        Called after each epoch with the number of epochs.

    Raises
    ------
    InputError, DeviceUnavailableError
        For invalid sizes, or if the device is not available or lacks the dtype.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> speed = measure_speed((4, 8, 3), 16, bp.device("cpu"), bp.Adam(), steps=20)
    >>> speed.steps_per_epoch, len(speed.microseconds), speed.samples_per_second > 0
    (20, 5, True)
    """
    check_sizes(layers)
    hidden: list[Layer] = []
    for size in layers[1:-1]:
        hidden += [Linear(size), ReLU()]
    net = Sequential(*hidden, Linear(layers[-1]))
    model = Model(net, layers[0], device=device, dtype=dtype)
    count = steps_per_epoch(layers, batch, steps)
    x, t = _data(layers, batch * count, device, dtype)
    has_loop = device.is_writable and _compile_update(optimizer, model)
    clock = _Clock(count, steps, progress)
    history = fit(
        model, x, t, loss=CrossEntropy(), optimizer=optimizer, batch_size=batch,
        epochs=10**9, callbacks=[clock],
    )  # fmt: skip
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return Speed(
        device.name,
        device.description,
        tuple(layers),
        batch,
        count,
        tuple(seconds / count * 1e6 for seconds in history["seconds"][WARM:]),
        (history.compiled_by or "plain") + (", Numba's loop" if has_loop else ""),
        history["loss"][-1],
    )


class _Clock(Callback):
    """Stop training once it was measured long enough."""

    def __init__(self, count: int, steps: int | None, progress: Callable[[int], None]) -> None:
        self.count, self.steps, self.progress = count, steps, progress

    def on_epoch_end(self, run: Run) -> None:
        seconds = run.history["seconds"][WARM:]
        self.progress(run.history.epochs)
        if self.steps is None:
            enough = sum(seconds) >= ENOUGH_SECONDS
        else:
            enough = len(seconds) * self.count >= self.steps
        if enough and len(seconds) >= LEAST_EPOCHS:
            run.stopped = "measured"


def steps_per_epoch(layers: Sequence[int], batch: int, steps: int | None) -> int:
    """Return the steps of an epoch that `DATA_BYTES` and `EPOCH_OPERATIONS` allow."""
    least, most = EPOCH_STEPS
    fitting = min(
        DATA_BYTES // (4 * batch * layers[0]), int(EPOCH_OPERATIONS / operations(layers, batch))
    )
    return min(max(fitting, least), most, steps or most)


def _data(layers: Sequence[int], rows: int, device: Device, dtype: str) -> tuple[object, object]:
    """Draw random rows on the device, and random classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, layers[0]), dtype=np.float32)
    return device.asarray(x, dtype), rng.integers(0, layers[-1], rows)


def _compile_update(optimizer: Optimizer, model: Model) -> bool:
    """Compile Numba's update loop now: a long training run has it after its first second."""
    states = len(optimizer.init(model.vector[:1], model.device.xp))
    scalars = len(optimizer.scalars(1, 1.0))
    update = InPlaceUpdate(
        optimizer.update, states, scalars, optimizer.elementwise, model.dtype, fast_numpy
    )
    return update.wait_for_compiler()
