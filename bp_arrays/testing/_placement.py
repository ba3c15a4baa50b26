"""`Placement`: the device and the dtype in which a case runs."""

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
class Placement:
    """A device and a dtype in which a case runs.

    Parameters
    ----------
    device : Device
    dtype : str
        "float32", "float64", "float16" or "bfloat16"; integers and booleans keep their dtype.
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
        """The device argument of creation functions."""
        return None if self.traced else self.device.native

    def context(self, seed: int = 0, step: int = 0) -> Context:
        """Return the context of a training pass."""
        random = Stream(self.xp, self.native, seed, step)
        return Context(self.xp, self.native, training=True, random=random)

    def array(self, host: np.ndarray[Any, Any]) -> Array:
        """Copy a host array to the device, floats in the dtype of the placement.

        A copy to a device is contiguous: for a non-contiguous array, strides are made there.
        """
        dtype = self.dtype if host.dtype.kind == "f" else None
        if host.flags.c_contiguous:
            return self.device.asarray(host, dtype)
        repeated = self.device.asarray(np.repeat(host.T, 2, axis=0), dtype)
        transposed = self.xp.permute_dims(repeated, tuple(reversed(range(host.ndim))))
        return transposed[..., ::2]

    def arrays(self, inputs: HostArrays) -> dict[str, Array]:
        """Copy each host array to the device."""
        return {name: self.array(host) for name, host in inputs.items()}


@dataclass(frozen=True)
class MetaPlacement(Placement):
    """PyTorch's "meta" device: arrays with a shape and a dtype, but no numbers.

    Reading a number on the host, as in `float(a)` or `if a > 0`, raises an error.
    """

    @property
    def native(self) -> Any:
        import torch

        return torch.device("meta")

    def array(self, host: np.ndarray[Any, Any]) -> Array:
        return super().array(host).to(self.native)


def rounded(inputs: HostArrays, placement: Placement) -> HostArrays:
    """Round the inputs to the placement's dtype and back to float64, as input of the reference.

    The reference and the device then start from equal numbers: only their arithmetic differs.
    """

    def round_trip(host: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if host.dtype.kind != "f":
            return host
        return placement.device.to_numpy(placement.array(host)).astype(np.float64)

    return {name: round_trip(host) for name, host in inputs.items()}
