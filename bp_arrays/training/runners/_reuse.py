"""What one training run leaves to the next: recordings, passes with their memory, compiled steps.

Recording a step, planning its memory and compiling it cost more than a short training run. They
depend on everything in a `step_key`, but on no parameters and no data, so the next run of an equal
step uses them again. Recordings and compiled steps are kept for the process, a bounded number of
them, and serve new models too, such as those of a cross-validation. Passes are kept with their
model. Nothing kept refers to a model, its parameters or a batch.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections import OrderedDict
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from bp_arrays.execution import Arena
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.optimizers import Optimizer
from bp_arrays.training._penalty import L2Penalty
from bp_arrays.training.runners._replayed_pass import Recording, ReplayedPass

RECORDINGS, COMPILED, STEPS_PER_MODEL = 64, 16, 2
"""How many are kept of each; the one that was not used for the longest time is dropped first."""

CONSTANT_BYTES, ARENA_BYTES = 2**22, 2**26
"""Memory of one recording and of one model's passes up to which they are kept: with more, a step
takes longer than what is saved."""

KNOWN = {__name__.partition(".")[0], "builtins", "numpy"}
"""Packages whose classes and functions are not defined again."""

V = TypeVar("V")


def step_key(
    model: Model, loss: Loss, metrics: Any, penalty: L2Penalty | None, seed: int
) -> bytes | None:
    """Return all that a gradient depends on besides arrays; None if that cannot be written down.

    By value: an object changed since is another key. Anything custom has no key, as a class or a
    function is written down by its name, and may have been defined again.
    """
    place = str(model.device), model.dtype, model.compute_dtype, model.inputs
    return _pickled((model.net, loss, metrics, penalty, seed, place))


def parts_key(key: bytes | None) -> bytes | None:
    """Return the key of the same step in parts, which has more arguments."""
    return None if key is None else b"parts " + key


def update_key(optimizer: Optimizer) -> bytes | None:
    """Return all that an update depends on besides arrays; None for a custom optimizer.

    The learning rate is an argument of the update, and may be a schedule with a state.
    """
    return _pickled((type(optimizer), {**vars(optimizer), "learning_rate": None}))


class _LibraryPickler(pickle.Pickler):
    """A pickler that refuses classes and functions of the user."""

    def reducer_override(self, value: Any) -> Any:
        named = value if hasattr(value, "__qualname__") else type(value)
        if str(named.__module__).partition(".")[0] not in KNOWN:
            raise pickle.PicklingError(f"{named!r} is custom")
        return NotImplemented


def _pickled(parts: Any) -> bytes | None:
    key = io.BytesIO()
    try:
        _LibraryPickler(key).dump(parts)
    except Exception:  # something custom, or a function defined in a function
        return None
    return key.getvalue()


class Recent(Generic[V]):
    """The values that were used last, by key, for all threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[Any, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def values(self) -> list[V]:
        """Return all values."""
        with self._lock:
            return list(self._values.values())

    def get(self, key: Any) -> V | None:
        """Return the value of a key, None if there is none."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def take(self, key: Any) -> V | None:
        """Return the value of a key and forget it: nobody else receives it."""
        with self._lock:
            return self._values.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()

    def put(self, key: Any, value: V) -> None:
        """Keep a value; forget the oldest if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)


class Passes:
    """The passes of one step for several batch shapes, and their memory: for one run at a time."""

    def __init__(self) -> None:
        self.arena = Arena()
        self.by_shape: dict[Any, ReplayedPass] = {}

    @property
    def bytes(self) -> int:
        """The size of their memory."""
        return sum(chunk.nbytes for chunk in self.arena.chunks)


recordings: Recent[Recording] = Recent(RECORDINGS)
"""By step key and batch shape."""

compiled_steps: Recent[Any] = Recent(COMPILED)
"""Functions compiled by jax.jit, by step key."""

passes_of_models: WeakKeyDictionary[Model, Recent[Passes]] = WeakKeyDictionary()


def take_passes(model: Model, key: bytes | None) -> Passes:
    """Return the passes that the last training run of this step left; else new ones."""
    kept = passes_of_models.get(model)
    return (None if kept is None or key is None else kept.take(key)) or Passes()


def keep_passes(model: Model, key: bytes | None, passes: Passes) -> None:
    """Leave passes to the next training run of the model."""
    for each in passes.by_shape.values():
        each.unbind()
    if key is None or not passes.by_shape or passes.bytes > ARENA_BYTES:
        return
    if any(p.recording.constant_bytes > ARENA_BYTES for p in passes.by_shape.values()):
        return
    passes_of_models.setdefault(model, Recent(STEPS_PER_MODEL)).put(key, passes)


def keep_recording(key: tuple[bytes, Any], recording: Recording) -> None:
    """Leave a recording to the next training run of an equal step."""
    if recording.constant_bytes <= CONSTANT_BYTES:
        recordings.put(key, recording)
