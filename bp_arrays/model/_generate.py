"""`generate`: continue a sequence of indices, each drawn from the output of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bp_arrays.checks import argument_error, as_integer, as_number
from bp_arrays.errors import InputError
from bp_arrays.inputs import InputSpec, only_output
from bp_arrays.model._model import Model
from bp_arrays.random import host_generator
from bp_arrays.typing import HostArray


def generate(
    model: Model,
    start: Sequence[int] | HostArray,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> HostArray:
    """Continue a sequence of indices, such as the characters of a text, by a language model.

    Each index is drawn from softmax(y / temperature), with y the outputs of the model, logits, at
    the last position; the model sees as many of the indices before as it takes.

    Parameters
    ----------
    model : Model
        Its input is `InputSpec(time, "index")`, its output (time, classes), of which a position
        may depend on itself and those before it only, as with `TransformerBlock(causal=True)`.
    start : sequence of int
        At least one index; longer sequences than the model's are cut at the front.
    length : int
        The number of indices to draw.
    temperature : float, default 1.0
        Below 1, likely indices become likelier; at 0, the likeliest is always taken.
    top_k : int, optional
        Draw from the `top_k` likeliest only.
    seed : int, default 0
        The random numbers are the same on every device.

    Returns
    -------
    int64 array (length,), on the host

    Raises
    ------
    InputError
        If the model's input or output is of another kind, or an argument is out of range.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.Sequential(bp.Embedding(5, 4), bp.TransformerBlock(2, causal=True), bp.Linear(5))
    >>> model = bp.Model(net, bp.InputSpec(8, "index"), device="cpu", seed=0)
    >>> bp.generate(model, [0, 3], length=4, seed=1).shape
    (4,)
    """
    time, classes = _shape(model)
    length = as_integer("generate", "length", length, at_least=0)
    temperature = as_number("generate", "temperature", temperature, at_least=0.0)
    kept = classes if top_k is None else as_integer("generate", "top_k", top_k, at_least=1)
    indices = np.asarray(start)
    if indices.ndim != 1 or not indices.size or indices.dtype.kind not in "iu":
        raise argument_error("generate", "start", start, "a sequence of at least one index")
    generator = host_generator(seed, "generate")
    sequence = indices.tolist()
    for _ in range(length):
        window = sequence[-time:]
        x = np.zeros((1, time), dtype=np.int64)  # what follows is not seen, whatever it is
        x[0, : len(window)] = window
        logits = np.asarray(model.predict(x))[0, len(window) - 1].astype(np.float64)
        sequence.append(_drawn(logits, temperature, kept, generator))
    return np.array(sequence[len(indices) :], dtype=np.int64)


def _drawn(logits: HostArray, temperature: float, kept: int, generator: Any) -> int:
    """Return an index drawn from the softmax of the largest logits."""
    if not np.isfinite(logits).all():
        raise InputError("generate: expected finite outputs of the model, got NaN or infinity")
    best = np.argsort(-logits, kind="stable")[:kept]
    uniform = generator.random()  # drawn even if it is not used: the sequence does not shift
    if temperature == 0.0:
        return int(best[0])
    with np.errstate(over="ignore"):  # −∞, for temperatures near 0
        powers = np.exp((logits[best] - logits[best[0]]) / temperature)
    total = np.cumsum(powers)
    return int(best[np.searchsorted(total, uniform * total[-1], side="right")])


def _shape(model: Model) -> tuple[int, int]:
    """Return (time, classes) of a model that continues sequences."""
    inputs, output = model.inputs, only_output(model.output_shape, "generate")
    is_sequence = isinstance(inputs, InputSpec) and inputs.is_index and len(inputs.shape) == 1
    if not is_sequence or len(output) != 2 or output[0] != inputs.shape[0]:
        raise InputError(
            "generate(model=): expected a model of one input of indices (time,) and outputs (time, "
            f"classes), got one of {inputs!r} and {output}"
        )
    return output[0], output[1]
