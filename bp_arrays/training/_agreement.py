"""Agreement of the processes that train one model: the same settings, data and parameters."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import numpy as np

from bp_arrays.devices import name_of_dtype
from bp_arrays.distributed import ProcessGroup
from bp_arrays.errors import InputError
from bp_arrays.model import Model
from bp_arrays.training._described import described, has_code
from bp_arrays.typing import HostArray

TOLERANCE = 1e-4
"""How far parameters may be apart, relative to the largest: rounding on other processors, which is
then undone, not another seed or file."""


def agree_on_model(group: ProcessGroup, model: Model, **settings: Any) -> None:
    """Raise InputError in all processes unless they train the same model in the same way.

    Where initial parameters differ by rounding, those of process 0 are used.
    """
    from bp_arrays import __version__

    entries = (*model.layout.trainable, *model.layout.fixed)
    state = model.training_state
    group.require_same(
        version_of_bp_arrays=__version__,
        version_of_numpy=np.__version__,
        model=f"{model.parameter_count} parameters {_checksum(map(str, entries)):08x}",
        dtype=model.described_dtype,
        library=model.device.backend,
        **{name: as_text(value) for name, value in settings.items()},
        updates_so_far=state.step,
        epochs_so_far=state.epoch,
    )
    share_parameters(group, model)


def share_parameters(group: ProcessGroup, model: Model, *, only_parameters: bool = False) -> None:
    """Give every process the parameters and the optimizer's state of process 0, to the bit.

    Nothing is sent but a checksum if they are the same already: of all, or of the parameters only.

    Raises
    ------
    InputError
        If they are not the same but for rounding.
    """
    vectors = _vectors(model)
    compared = vectors[:2] if only_parameters else vectors
    checksums = group.gather(_checksum([vector.tobytes() for vector in compared]))
    if len(set(checksums)) == 1:
        return
    firsts = [_of_first(group, vector) for vector in vectors]
    near = [_is_near(own, first) for own, first in zip(vectors, firsts, strict=True)]
    together = group.gather(all(near))
    if not all(together):
        raise InputError(
            f"fit(distributed=): expected the same parameters in all processes, those of process "
            f"{together.index(False)} differ from those of process 0; make the model with the "
            "same seed or from the same file everywhere, and change it everywhere alike"
        )
    theta, state, *of_optimizer = firsts
    device, training_state = model.device, model.training_state
    with device.activate():
        model.set_vectors(device.asarray(theta, model.dtype), device.asarray(state, model.dtype))
        shared = tuple(
            device.asarray(first, name_of_dtype(vector.dtype))
            for vector, first in zip(training_state.arrays, of_optimizer, strict=True)
        )
    model.training_state = training_state.after(shared, training_state.step)


def as_text(value: Any) -> str:
    """Return a setting as text that is equal for equal settings, in all processes."""
    text, description = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)), described(value)
    if text == repr(value) and not has_code(description):
        return text
    return f"{text} {_checksum([json.dumps(description)]):08x}"


def _vectors(model: Model) -> list[HostArray]:
    to_numpy = model.device.to_numpy
    return [to_numpy(v) for v in (*model.current_vectors(), *model.training_state.arrays)]


def _of_first(group: ProcessGroup, vector: HostArray) -> HostArray:
    """Return the vector of process 0: the sum of it and of zeros."""
    sent = vector.astype(np.result_type(vector.dtype, np.float32))
    if group.rank > 0:
        sent[...] = 0.0
    received = np.empty_like(sent)
    group.sum_into(sent, received)
    return received.astype(vector.dtype)


def _is_near(own: HostArray, first: HostArray) -> bool:
    if not own.size:
        return True
    largest = np.max(np.abs(first.astype(np.float64)), initial=0.0)
    difference = np.max(np.abs(own.astype(np.float64) - first.astype(np.float64)))
    return bool(difference <= TOLERANCE * largest)


def _checksum(parts: Any) -> int:
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part if isinstance(part, bytes) else part.encode(), checksum)
    return checksum
