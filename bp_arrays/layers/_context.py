"""What a forward pass is told about the world it runs in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bp_arrays.random import Stream
    from bp_arrays.typing import Namespace


@dataclass(frozen=True)
class Context:
    """The surroundings of one forward pass, the same for every layer in it.

    Parameters
    ----------
    xp : namespace
        The array functions, looked up once a pass and handed down.
    device : object, default None
        The namespace's own device object, for creation functions (`device=ctx.device`).
    training : bool, default False
        Whether layers such as Dropout act as in training.
    needs_input_gradient : bool, default True
        False where nobody will use the derivative by this layer's input: a layer with
        parameters may then return None for it, which saves the first layer of a network
        one matrix product in three.
    random : Stream or None, default None
        Where a layer draws its random numbers; None where the pass has none to give.
    """

    xp: Namespace
    device: Any = None
    training: bool = False
    needs_input_gradient: bool = True
    random: Stream | None = None

    @cached_property
    def with_input_gradient(self) -> Context:
        """The same surroundings for a layer whose input gradient somebody needs."""
        return self if self.needs_input_gradient else replace(self, needs_input_gradient=True)
