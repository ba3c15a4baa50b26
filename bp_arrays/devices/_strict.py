"""The array-api-strict backend: only the standard, with devices that refuse each other's arrays.

Its "device1" replaces a GPU in tests on a machine without one: NumPy cannot read its arrays, and a
constant made on the wrong device raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported
from bp_arrays.typing import Array, HostArray, Namespace

NATIVE = {"cpu": "CPU_DEVICE", "device1": "device1"}


class StrictBackend(Backend):
    name = "strict"
    kinds = ("cpu", "device1")
    is_for_checking = True

    def stem(self, kind: str) -> str:
        return self.name if kind == "cpu" else super().stem(kind)

    def namespace(self) -> Namespace:
        import array_api_strict as xp

        return xp

    def availability(self, kind: str, index: int) -> Availability:
        return imported("array_api_strict", "array-api-strict", "pip install array-api-strict")

    def native(self, kind: str, index: int) -> Any:
        return self.namespace().Device(NATIVE[kind])

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        return self.namespace().asarray(
            host, dtype=dtype, device=self.native(kind, index), copy=True
        )

    def to_host(self, array: Array) -> HostArray:
        xp = self.namespace()
        return np.array(array.to_device(xp.Device(NATIVE["cpu"])), copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        if type(array).__module__.partition(".")[0] != "array_api_strict":
            return None
        for kind, native in NATIVE.items():
            if array.device == self.namespace().Device(native):
                return kind, 0
        return None

    def description(self, kind: str, index: int) -> str:
        return f"array-api-strict {self.namespace().__version__}"
