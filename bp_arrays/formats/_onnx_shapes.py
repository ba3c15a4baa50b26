"""Shapes in an ONNX graph, whose number of rows is known only when the graph runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError

Shape = tuple[Any, ...]
"""Integers, and BATCH or a multiple of it for the number of rows."""


@dataclass(frozen=True)
class BatchSize:
    """The number of rows, times a factor: it can be multiplied and divided, not read."""

    factor: int = 1

    def __mul__(self, other: Any) -> Any:
        return BatchSize(self.factor * other) if isinstance(other, int) else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        divisor = other.factor if isinstance(other, BatchSize) else other
        if not isinstance(divisor, int) or self.factor % divisor:
            return NotImplemented
        quotient = self.factor // divisor
        return quotient if isinstance(other, BatchSize) else BatchSize(quotient)

    def __repr__(self) -> str:
        return "batch" if self.factor == 1 else f"{self.factor}·batch"


BATCH = BatchSize()


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape to which arrays of these shapes are broadcast.

    Raises
    ------
    InputError
        If they do not fit each other.
    """
    result: list[Any] = []
    for k in range(-max(map(len, shapes), default=0), 0):
        sizes = [shape[k] for shape in shapes if len(shape) >= -k]
        larger = [size for size in sizes if size != 1]
        if any(size != larger[0] for size in larger):
            raise InputError(f"shapes {', '.join(map(str, shapes))} do not fit each other")
        result.append(larger[0] if larger else 1)
    return tuple(result)


@dataclass(frozen=True)
class Indexed:
    """The parts of `x[key]`: what is cut, which axes are removed, and which are added.

    Parameters
    ----------
    starts : tuple of (start, end, axis, step)
        For the operator Slice.
    removed, added : tuple of int
        Axes, for the operators Squeeze and Unsqueeze.
    cut, squeezed, shape : tuple
        The shapes after each of the three.
    """

    starts: tuple[tuple[int, int, int, int], ...]
    removed: tuple[int, ...]
    added: tuple[int, ...]
    cut: Shape
    squeezed: Shape
    shape: Shape


def indexed(shape: Shape, key: Any) -> Indexed:
    """Return what `x[key]` does to an array of this shape.

    Raises
    ------
    TypeError
        For a key that is not made of integers, slices, None and `...`, or that selects rows.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    missing = len(shape) - sum(each is not None and each is not ... for each in keys)
    ellipses = [k for k, each in enumerate(keys) if each is ...]
    if missing < 0 or len(ellipses) > 1:
        raise TypeError(f"no index {key!r} into shape {shape}")
    place = ellipses[0] if ellipses else len(keys)
    keys[place : place + 1] = [slice(None)] * missing
    starts, removed, added, cut, squeezed, result = [], [], [], [], [], []  # type: ignore[var-annotated]
    for each in keys:
        if each is None:
            added.append(len(result))
            result.append(1)
            continue
        axis = len(cut)
        size = shape[axis]
        if each == slice(None):
            length = size
        elif isinstance(size, BatchSize):
            raise TypeError("an index into the rows of the batch, whose number is not known")
        elif isinstance(each, slice):
            start, stop, step = each.indices(size)
            length = len(range(start, stop, step))
            if stop < 0:  # in ONNX -1 would be the last one
                stop = -size - 1
            starts.append((start, stop, axis, step))
        elif isinstance(each, int) and -size <= each < size:
            start = each % size
            starts.append((start, start + 1, axis, 1))
            removed.append(axis)
            cut.append(1)
            continue
        else:
            raise TypeError(f"an index by {each!r:.60}: use xp.take")
        cut.append(length)
        squeezed.append(length)
        result.append(length)
    return Indexed(
        tuple(starts), tuple(removed), tuple(added), tuple(cut), tuple(squeezed), tuple(result)
    )
