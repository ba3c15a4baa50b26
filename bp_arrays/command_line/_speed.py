"""How fast a network of given sizes trains on a device, through the public `fit`."""

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
"""Epochs that do not count: what has to be compiled is compiled in them."""

LEAST_EPOCHS, ENOUGH_SECONDS = 5, 2.0
"""Unless told how many steps, measure so many epochs and so long, whichever takes longer."""

DATA_BYTES = 2**26
EPOCH_OPERATIONS = 2.5e10
EPOCH_STEPS = (4, 500)
"""An epoch is as long as fits in that memory and that work, within these numbers of steps."""


@dataclass(frozen=True)
class Speed:
    """What was measured on one device.

    Parameters
    ----------
    device, description : str
    layers : tuple of int
        Inputs, hidden units, classes.
    batch : int
    steps_per_epoch : int
    microseconds : tuple of float
        Of a step, one mean for each epoch that counts.
    path : str
        How the steps ran, as `path_of` names it.
    loss : float
        Of the last epoch.
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
    def microseconds_a_step(self) -> float:
        """The median over the epochs."""
        return statistics.median(self.microseconds)

    @property
    def samples_a_second(self) -> float:
        return self.batch / self.microseconds_a_step * 1e6

    @property
    def gigaflops(self) -> float:
        """10⁹ operations a second, of the matrix products alone."""
        return operations(self.layers, self.batch) / self.microseconds_a_step / 1e3


def operations(layers: Sequence[int], batch: int) -> int:
    """Multiplications and additions of a step's matrix products.

    Each layer has two, forward and ∂L/∂w, and all but the first ∂L/∂x.

    >>> operations((4, 3, 2), 10) == 2 * 10 * (2 * 4 * 3 + 3 * 3 * 2)
    True
    """
    pairs = list(pairwise(layers))
    return 2 * batch * (3 * sum(n * m for n, m in pairs) - math.prod(pairs[0]))


def check_sizes(layers: Sequence[int]) -> None:
    """Raise InputError unless these are the sizes of a network that tells classes apart."""
    if len(layers) < 2 or layers[-1] < 2:
        raise InputError(
            "expected the sizes of inputs, hidden layers and classes, two classes or more, such "
            f"as 784,512,10; got {','.join(map(str, layers)) or 'none'}"
        )


def measure_speed(
    layers: Sequence[int],
    batch: int,
    device: Device,
    optimizer: Optimizer,
    *,
    dtype: str = "float32",
    steps: int | None = None,
    watch: Callable[[int], None] = lambda epoch: None,
) -> Speed:
    """Train a multilayer perceptron, ReLU and cross-entropy, on random numbers, and time it.

    Parameters
    ----------
    layers : sequence of int
        Inputs, hidden units, classes: two numbers or more, two classes or more.
    batch : int
        Rows a step.
    device : Device
    optimizer : Optimizer
    dtype : str, default "float32"
    steps : int, optional
        How many steps to measure at least; by default about two seconds of them.
    watch : function of int, optional
        Called with the number of epochs done, to show progress.

    Raises
    ------
    InputError, DeviceUnavailableError
        If the sizes are no network, or the device cannot be used or lacks the dtype.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> speed = measure_speed((4, 8, 3), 16, bp.device("cpu"), bp.Adam(), steps=20)
    >>> speed.steps_per_epoch, len(speed.microseconds), speed.samples_a_second > 0
    (20, 5, True)
    """
    check_sizes(layers)
    hidden: list[Layer] = []
    for size in layers[1:-1]:
        hidden += [Linear(size), ReLU()]
    net = Sequential(*hidden, Linear(layers[-1]))
    model = Model(net, layers[0], device=device, dtype=dtype)
    count = _steps_per_epoch(layers, batch, steps)
    x, t = _data(layers, batch * count, device, dtype)
    has_loop = device.is_writable and _loop_is_there(optimizer, model)
    clock = _Clock(count, steps, watch)
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
    """Ends the training once enough of it was measured."""

    def __init__(self, count: int, steps: int | None, watch: Callable[[int], None]) -> None:
        self.count, self.steps, self.watch = count, steps, watch

    def on_epoch_end(self, run: Run) -> None:
        seconds = run.history["seconds"][WARM:]
        self.watch(run.history.epochs)
        enough = (
            sum(seconds) >= ENOUGH_SECONDS
            if self.steps is None
            else len(seconds) * self.count >= self.steps
        )
        if enough and len(seconds) >= LEAST_EPOCHS:
            run.stopped = "measured"


def _steps_per_epoch(layers: Sequence[int], batch: int, steps: int | None) -> int:
    least, most = EPOCH_STEPS
    fitting = min(
        DATA_BYTES // (4 * batch * layers[0]), int(EPOCH_OPERATIONS / operations(layers, batch))
    )
    return min(max(fitting, least), most, steps or most)


def _data(layers: Sequence[int], rows: int, device: Device, dtype: str) -> tuple[object, object]:
    """Random rows on the device, random classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, layers[0]), dtype=np.float32)
    return device.asarray(x, dtype), rng.integers(0, layers[-1], rows)


def _loop_is_there(optimizer: Optimizer, model: Model) -> bool:
    """Have Numba's loop from the start, as a long training has it after its first second."""
    states = len(optimizer.init(model.vector[:1], model.device.xp))
    scalars = len(optimizer.scalars(1, 1.0))
    update = InPlaceUpdate(
        optimizer.update, states, scalars, optimizer.elementwise, model.dtype, fast_numpy
    )
    return update.wait_for_compiler()
