"""What a forward pass is told about the world it runs in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bp_arrays.random import Stream
    from bp_arrays.typing import Array, Namespace, StateUpdates


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
    path : tuple of str, default ()
        The names that lead from the net to this layer, as its parameters bear them.
    state_updates : dict or None, default None
        Where `update_state` puts its values; None where the pass changes no state.
    constants : dict or None, default None
        Where `constant` keeps its arrays from step to step; None where nothing may be kept.
    """

    xp: Namespace
    device: Any = None
    training: bool = False
    needs_input_gradient: bool = True
    random: Stream | None = None
    path: tuple[str, ...] = ()
    state_updates: StateUpdates | None = None
    constants: dict[Any, Array] | None = None

    def update_state(self, **values: Array) -> None:
        """Give parameters of this layer that are not trained new values, for after this step.

        Where the pass changes no state, as in prediction, nothing happens.

        Parameters
        ----------
        **values : arrays
            By the names that `init` gave them, of their shapes.
        """
        if self.state_updates is not None:
            self.state_updates.update({(*self.path, name): v for name, v in values.items()})

    def constant(self, values: tuple[float, ...], dtype: Any) -> Array:
        """Return numbers of the configuration as an array (values,) on the device.

        They are copied there once per training run, not once per step.
        """
        key = values, dtype
        if self.constants is not None and key in self.constants:
            return self.constants[key]
        array = self.xp.asarray(values, dtype=dtype, device=self.device)
        if self.constants is not None:
            self.constants[key] = array
        return array

    @cached_property
    def with_input_gradient(self) -> Context:
        """The same surroundings for a layer whose input gradient somebody needs."""
        return self if self.needs_input_gradient else replace(self, needs_input_gradient=True)
