"""Where a case is computed: a device and a dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.layers import Context
from bp_arrays.random import Stream
from bp_arrays.typing import Array, Namespace

HostArrays = dict[str, np.ndarray[Any, Any]]
"""Inputs or results by name, as NumPy arrays."""


@dataclass(frozen=True)
class Place:
    """A device and a dtype to compute a case in.

    Parameters
    ----------
    device : Device
    dtype : str
        "float32", "float64", "float16" or "bfloat16"; integers and booleans stay what they are.
    traced : bool, default False
        True inside a tracing compiler, where creation functions must not name a device.
    """

    device: Device
    dtype: str
    traced: bool = False

    @property
    def xp(self) -> Namespace:
        return self.device.xp

    @property
    def native(self) -> Any:
        """What creation functions here are told as their device."""
        return None if self.traced else self.device.native

    def context(self, seed: int = 0, step: int = 0) -> Context:
        """The context of a training pass here."""
        random = Stream(self.xp, self.native, seed, step)
        return Context(self.xp, self.native, training=True, random=random)

    def array(self, host: np.ndarray[Any, Any]) -> Array:
        """A copy of a host array here, floats in this place's dtype; not contiguous if it is not.

        What is copied to a device arrives in one piece: strides have to be made there.
        """
        dtype = self.dtype if host.dtype.kind == "f" else None
        if host.flags.c_contiguous:
            return self.device.asarray(host, dtype)
        spread = self.device.asarray(np.repeat(host.T, 2, axis=0), dtype)
        turned = self.xp.permute_dims(spread, tuple(reversed(range(host.ndim))))
        return turned[..., ::2]

    def arrays(self, inputs: HostArrays) -> dict[str, Array]:
        """A copy of each host array here."""
        return {name: self.array(host) for name, host in inputs.items()}


@dataclass(frozen=True)
class NowhereToRead(Place):
    """PyTorch's "meta" device: arrays with a shape and a dtype, but no numbers.

    Whatever needs one number on the host, `float(a)` or `if a > 0`, raises an error here.
    """

    @property
    def native(self) -> Any:
        import torch

        return torch.device("meta")

    def array(self, host: np.ndarray[Any, Any]) -> Array:
        return super().array(host).to(self.native)


def rounded(inputs: HostArrays, place: Place) -> HostArrays:
    """The inputs as the place's dtype holds them, back in float64: what the reference is fed.

    So the reference and the device start from equal numbers and only arithmetic can differ.
    """
    return {
        name: place.device.to_numpy(place.array(host)).astype(np.float64)
        if host.dtype.kind == "f"
        else host
        for name, host in inputs.items()
    }
