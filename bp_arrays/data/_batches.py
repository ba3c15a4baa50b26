"""`Batches`: a data set in batches, for a loop or for `fit`, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from types import NoneType
from typing import Any

import numpy as np

from bp_arrays.data._array_feed import RowFeed
from bp_arrays.data._block_feed import BlockFeed, Blocks
from bp_arrays.data._feed import Batch, Feed, Order
from bp_arrays.data._iterable_feed import ReadyFeed
from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.inputs import BatchSpec, Inputs, as_inputs, is_iterable_of_batches
from bp_arrays.random import checked_seed
from bp_arrays.readers import Table
from bp_arrays.trees import Tree

BATCH_SIZE = 32

READY, OWN = "the iterable yields complete batches; or pass arrays", "the blocks have their own"
WINDOWED = "it is for data in blocks"
REFUSED: dict[type[Feed], dict[str, str]] = {
    RowFeed: {"window": WINDOWED},
    BlockFeed: {"t": OWN, "weight": OWN},
    ReadyFeed: dict.fromkeys(("t", "weight", "batch_size", "shuffle"), READY)
    | {"window": WINDOWED},
}
"""The arguments that each kind of data refuses, and why."""


class Batches:
    """A data set in batches on a device; the next batch is prepared while the last is in use.

    For an asynchronous device, such as a GPU, a second thread gathers and moves the next batch;
    blocks on disk are read by a second thread on every device.

    Each iteration over it is an epoch, in a new order, of (x, t), of (x, t, weight) with weights,
    or of x alone without targets. `fit` counts the epochs itself:
    `fit(model, Batches(x, t, batch_size=64, seed=1), ..., seed=1)` is
    `fit(model, x, t, batch_size=64, ..., seed=1)`.

    Parameters
    ----------
    x : array (rows, ...), tuple or dict of arrays, Table, Blocks, or iterable of batches
        Arrays on the host, memory-mapped ones too, or on the device, for a net of several inputs
        a tuple or dict of them; blocks on disk, such as `ParquetBlocks`; or an iterable of (x, t)
        or (x, t, weight), iterated over once per epoch, whose batches are moved to the device
        one by one. Without t, a list or tuple of tuples is such an iterable, and any other tuple
        is several inputs; with t, a tuple always is several inputs.
    t : array (rows, ...), optional
        Targets, for arrays.
    weight : array (rows,), optional
        Sample weights, for arrays.
    batch_size : int, default 32
        Rows per batch; the last one of an epoch may be smaller.
    shuffle : bool or function, default True
        Whether each epoch has a new order of the rows, drawn on the host from `seed`; or a
        function from the number of the epoch to an array of row numbers. Arrays are shuffled as a
        whole; blocks are put in a random order and their rows shuffled within a `window`.
    seed : int, default 0
        The same seed gives the same batches on every device.
    window : int, optional
        For blocks: the number of rows shuffled together, of which memory holds twice as many; by
        default those of 64 MiB of samples.
    device : str or Device, optional
        The device of the batches. By default the model's device in `fit`, `evaluate` and
        `predict`, else "auto".
    dtype : str, optional
        Of the samples, and of targets that are not whole numbers. By default the model's in
        `fit`, `evaluate` and `predict`, else "float32".
    inputs : int, tuple, InputSpec, or tuple or dict of them, optional
        The specification of the samples, as `input_shape` of `bp.Model`, so that indices stay
        integers in a custom loop. By default that of the model in `fit`, `evaluate` and
        `predict`, else numbers.

    Raises
    ------
    InputError
        For invalid settings at once, for data that does not fit at the first batch.

    Examples
    --------
    >>> import numpy as np
    >>> x, t = np.eye(3), np.array([0, 1, 2])
    >>> for x_batch, t_batch in Batches(x, t, batch_size=2, seed=0, device="cpu"):
    ...     print(x_batch.shape, t_batch.tolist())
    (2, 3) [1, 0]
    (1, 3) [2]
    """

    def __init__(
        self,
        x: Any,
        t: Any = None,
        weight: Any = None,
        *,
        batch_size: int | None = None,
        shuffle: bool | Order | None = None,
        seed: int = 0,
        window: int | None = None,
        device: str | Device | None = None,
        dtype: str | None = None,
        inputs: Any = None,
    ) -> None:
        if isinstance(x, Table) and t is None:
            x, t = x.x, x.t
        self._kind = _kind(x, t)
        settings = {"t": t, "weight": weight, "batch_size": batch_size, "shuffle": shuffle}
        _check_settings(self._kind, settings | {"window": window})
        self.x, self.t, self.weight = x, t, weight
        self.batch_size = BATCH_SIZE if batch_size is None else int(batch_size)
        self.shuffle: bool | Order = True if shuffle is None else shuffle
        self.seed, self.window = checked_seed(seed), window
        self.device = None if device is None else find_device(device)
        self.dtype = dtype
        self.inputs: Inputs | None = None if inputs is None else as_inputs(inputs, "inputs")
        self._epoch = 0
        self._default_feed: Feed | None = None

    def feed(self, spec: BatchSpec, *, what: str = "") -> Feed:
        """Return the data, checked against a specification; `what` is its name in messages.

        Raises
        ------
        InputError, DeviceMismatchError
            If the data, the device or the dtype do not suit the specification.
        """
        if self.device not in (None, spec.device):
            raise DeviceMismatchError(
                f"{what}batches: expected device {str(spec.device)!r}, as the model has, got "
                f"{str(self.device)!r}; do not pass device=, then it is the model's"
            )
        if self.dtype not in (None, spec.dtype):
            raise InputError(
                f"{what}batches: expected dtype {spec.dtype!r}, as the model has, got "
                f"{self.dtype!r}; do not pass dtype=, then it is the model's"
            )
        if self.inputs is not None and spec.inputs not in (None, self.inputs):
            raise InputError(
                f"{what}batches: expected inputs {spec.inputs!r}, as the model has, got "
                f"{self.inputs!r}; do not pass inputs=, then they are the model's"
            )
        if self._kind is ReadyFeed:
            return ReadyFeed(spec, self.x, what=what)
        if self._kind is BlockFeed:
            return BlockFeed(spec, self.x, window=self.window, what=what)
        return RowFeed(spec, self.x, self.t, self.weight, what=what)

    def __iter__(self) -> Iterator[Any]:
        feed = self._feed()
        order = feed.order(self.shuffle, self.seed, self._epoch)
        self._epoch += 1
        return map(_unpacked, feed.epoch(self.batch_size, order))

    def samples(self, spec: BatchSpec) -> Iterator[Tree]:
        """Yield x alone, batch by batch, in the order of the rows, for `Model.predict`."""
        batches = self.feed(spec).epoch(self.batch_size, None)
        return (batch.x for batch in batches)

    def __len__(self) -> int:
        """Return the number of batches per epoch; TypeError if it is unknown."""
        steps = self._feed().steps(self.batch_size)
        if steps is None:
            raise TypeError("the number of batches of this iterable is unknown")
        return steps

    def _feed(self) -> Feed:
        if self._default_feed is None:
            device = find_device("auto") if self.device is None else self.device
            self._default_feed = self.feed(BatchSpec(device, self.dtype or "float32", self.inputs))
        return self._default_feed


def _kind(x: Any, t: Any) -> type[Feed]:
    """Return the class of feed for this data."""
    if isinstance(x, Blocks):
        return BlockFeed
    listed = t is None and isinstance(x, (list, tuple))  # a tuple with t is several inputs
    are_batches = listed and all(isinstance(item, tuple) for item in x[:1])
    return ReadyFeed if are_batches or is_iterable_of_batches(x) else RowFeed


def _check_settings(kind: type[Feed], settings: dict[str, Any]) -> None:
    """Raise InputError for settings that are invalid, or refused by this kind of data."""
    for name in ("batch_size", "window"):
        value = settings[name]
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise InputError(f"{name}={value!r}: expected a whole number >= 1")
    shuffle = settings["shuffle"]
    if not (isinstance(shuffle, (bool, np.bool_, NoneType)) or callable(shuffle)):
        raise InputError(
            "shuffle: expected True, False, or a function from the number of the epoch to an "
            f"order of the rows, got {shuffle!r:.60}"
        )
    for name, value in settings.items():
        if value is not None and name in REFUSED[kind]:
            raise InputError(f"{name}: do not pass it, {REFUSED[kind][name]}")
    if kind is RowFeed and settings["weight"] is not None and settings["t"] is None:
        raise InputError("weight: requires targets t")


def _unpacked(batch: Batch) -> Any:
    x, t, weight = batch
    if t is None:
        return x
    return (x, t) if weight is None else (x, t, weight)


def as_batches(x: Any, t: Any = None, weight: Any = None, **settings: Any) -> Batches:
    """Return Batches unchanged, anything else as Batches with these settings.

    Raises
    ------
    InputError
        For settings, targets or weights passed with Batches, which have their own.
    """
    if not isinstance(x, Batches):
        return Batches(x, t, weight, **settings)
    for name, value in {"t": t, "sample_weight": weight, **settings}.items():
        if value is not None and name != "seed":
            raise InputError(f"{name}: do not pass it, bp.data.Batches have their own")
    return x
