"""`IndexShape`: the shape of an input of indices."""

from __future__ import annotations

from collections.abc import Iterable

from bp_arrays.typing import Shape


class IndexShape(tuple[int, ...]):
    """The shape of one sample of an input of indices, as `Layer.init` receives it from a model.

    It is a tuple like any other shape. Layers that look up rows, such as `Embedding`, require it:
    numbers cannot select a row. A layer that passes indices on unchanged returns it unchanged.

    Attributes
    ----------
    size : int or None
        The size of the `InputSpec`: the indices are below it.

    Examples
    --------
    >>> IndexShape((8,), size=100) == (8,)
    True
    """

    size: int | None

    def __new__(cls, shape: Iterable[int], size: int | None = None) -> IndexShape:
        created = super().__new__(cls, shape)
        created.size = size
        return created

    def __getnewargs__(self) -> tuple[Shape, int | None]:
        """Return the arguments for pickle."""
        return tuple(self), self.size
