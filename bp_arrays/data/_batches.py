"""A data set in batches: to loop over, or to hand to `fit`, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Iterator
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
from bp_arrays.trees import Tree

BATCH_SIZE = 32

READY, OWN = "the batches come ready-made; or hand in arrays", "the blocks have their own"
WINDOWED = "it is for data in blocks"
REFUSED: dict[type[Feed], dict[str, str]] = {
    RowFeed: {"window": WINDOWED},
    BlockFeed: {"t": OWN, "weight": OWN},
    ReadyFeed: dict.fromkeys(("t", "weight", "batch_size", "shuffle"), READY)
    | {"window": WINDOWED},
}
"""What each kind of data does not take, and why."""


class Batches:
    """A data set in batches on a device, the next one made while the last is in use.

    On a device that computes behind the caller's back, such as a GPU, a second thread gathers
    and moves the next batch; what is on disk block by block is read by a second thread anywhere.

    Each time it is iterated over is an epoch, in a new order, of (x, t), of (x, t, weight) where
    there are weights, or of x alone where there are no targets. `fit` counts the epochs itself:
    `fit(model, Batches(x, t, batch_size=64, seed=1), ..., seed=1)` is
    `fit(model, x, t, batch_size=64, ..., seed=1)`.

    Parameters
    ----------
    x : array (rows, ...), tuple or dict of arrays, Blocks, or iterable of batches
        Arrays of the host, memory-mapped ones too, or of the device, for a net of several inputs
        a tuple or dict of them; anything in blocks on disk, such as `ParquetBlocks`; or an
        iterable of (x, t) or (x, t, weight), begun anew for each epoch, whose batches are moved
        to the device as they come. Without t, a list or tuple of tuples is such an iterable, and
        any other tuple is several inputs; with t, a tuple always is.
    t : array (rows, ...), optional
        Targets, for arrays.
    weight : array (rows,), optional
        Sample weights, for arrays.
    batch_size : int, default 32
        Rows a batch; the last one of an epoch may be smaller.
    shuffle : bool or function, default True
        Whether each epoch takes the rows in a new order, drawn on the host from `seed`, or a
        function from the number of the epoch to an array of row numbers. Arrays are shuffled
        whole; blocks are put in a random order and their rows shuffled in a `window`.
    seed : int, default 0
        The same seed gives the same batches on every device.
    window : int, optional
        For blocks: how many rows are shuffled together and, twice, in memory; by default as
        many as 64 MiB of samples hold.
    device : str or Device, optional
        Where the batches go. By default to the model's device in `fit` and its like, else as
        "auto" says.
    dtype : str, optional
        Of the samples, and of targets that are not whole numbers. By default the model's in
        `fit` and its like, else "float32".
    inputs : int, tuple, InputSpec, or tuple or dict of them, optional
        What the samples must be, as `bp.Model` takes it: so that indices stay integers in a loop
        of your own. By default what the model takes in `fit` and its like, else numbers.

    Raises
    ------
    InputError
        At once for settings that do not fit, at the first batch for data that does not.

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
        self._kind = _kind(x, t)
        given = {"t": t, "weight": weight, "batch_size": batch_size, "shuffle": shuffle}
        _check_settings(self._kind, given | {"window": window})
        self.x, self.t, self.weight = x, t, weight
        self.batch_size = BATCH_SIZE if batch_size is None else batch_size
        self.shuffle: bool | Order = True if shuffle is None else shuffle
        self.seed, self.window = seed, window
        self.device = None if device is None else find_device(device)
        self.dtype = dtype
        self.inputs: Inputs | None = None if inputs is None else as_inputs(inputs, "inputs")
        self._epoch = 0
        self._own_feed: Feed | None = None

    def feed(self, spec: BatchSpec, *, what: str = "") -> Feed:
        """The data, checked against a specification; `what` names it in messages.

        Raises
        ------
        InputError, DeviceMismatchError
            If the data, the device or the dtype do not suit the specification.
        """
        if self.device not in (None, spec.device):
            raise DeviceMismatchError(
                f"{what}batches go to device {str(self.device)!r}, but the model is on "
                f"{str(spec.device)!r}: leave device= out, then they go to the model's"
            )
        if self.dtype not in (None, spec.dtype):
            raise InputError(
                f"{what}batches are of dtype {self.dtype!r}, but the model's is {spec.dtype!r}: "
                "leave dtype= out, then they become the model's"
            )
        if self.inputs is not None and spec.inputs not in (None, self.inputs):
            raise InputError(
                f"{what}batches have the inputs {self.inputs!r}, but the model takes "
                f"{spec.inputs!r}: do not pass inputs=, then they are the model's"
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
        """x alone, batch by batch, as the rows lie: what `Model.predict` asks for."""
        batches = self.feed(spec).epoch(self.batch_size, None)
        return (batch.x for batch in batches)

    def __len__(self) -> int:
        """How many batches an epoch has; TypeError where nobody knows."""
        steps = self._feed().steps(self.batch_size)
        if steps is None:
            raise TypeError("the number of these batches is not known before they were counted")
        return steps

    def _feed(self) -> Feed:
        if self._own_feed is None:
            device = find_device("auto") if self.device is None else self.device
            self._own_feed = self.feed(BatchSpec(device, self.dtype or "float32", self.inputs))
        return self._own_feed


def _kind(x: Any, t: Any) -> type[Feed]:
    """How this data is fed."""
    if isinstance(x, Blocks):
        return BlockFeed
    listed = t is None and isinstance(x, (list, tuple))  # a tuple with t is several inputs
    are_batches = listed and all(isinstance(item, tuple) for item in x[:1])
    return ReadyFeed if are_batches or is_iterable_of_batches(x) else RowFeed


def _check_settings(kind: type[Feed], given: dict[str, Any]) -> None:
    """Raise InputError for settings that are none, or that this kind of data does not take."""
    for name in ("batch_size", "window"):
        value = given[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and value >= 1):
            raise InputError(f"{name}: expected an integer of 1 or more, got {value!r}")
    shuffle = given["shuffle"]
    if not (isinstance(shuffle, (bool, np.bool_, NoneType)) or callable(shuffle)):
        raise InputError(
            "shuffle: expected True, False, or a function from the number of the epoch to an "
            f"order of the rows, got {shuffle!r:.60}"
        )
    for name, value in given.items():
        if value is not None and name in REFUSED[kind]:
            raise InputError(f"{name}: leave it out, {REFUSED[kind][name]}")
    if kind is RowFeed and given["weight"] is not None and given["t"] is None:
        raise InputError("weight: expected targets t beside it")


def _unpacked(batch: Batch) -> Any:
    x, t, weight = batch
    if t is None:
        return x
    return (x, t) if weight is None else (x, t, weight)


def as_batches(x: Any, t: Any = None, weight: Any = None, **settings: Any) -> Batches:
    """Batches as they are; anything else as Batches with these settings.

    Raises
    ------
    InputError
        For settings, targets or weights beside Batches, which have their own.
    """
    if not isinstance(x, Batches):
        return Batches(x, t, weight, **settings)
    for name, value in {"t": t, "sample_weight": weight, **settings}.items():
        if value is not None and name != "seed":
            raise InputError(f"{name}: leave it out, bp.data.Batches have their own")
    return x
