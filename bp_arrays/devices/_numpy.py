"""The NumPy backend: the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend
from bp_arrays.typing import Array, HostArray, Namespace


class NumPyBackend(Backend):
    name = "numpy"
    is_host = True
    is_writable = True
    runs_as = "replay"

    def stem(self, kind: str) -> str:
        return kind

    def namespace(self) -> Namespace:
        import array_api_compat.numpy as xp

        return xp

    def availability(self, kind: str, index: int) -> Availability:
        return Availability(True)

    def native(self, kind: str, index: int) -> Any:
        return "cpu"

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        return np.array(host, dtype=dtype, copy=True)

    def to_host(self, array: Array) -> HostArray:
        return np.array(array, copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        return ("cpu", 0) if isinstance(array, (np.ndarray, np.generic)) else None

    def description(self, kind: str, index: int) -> str:
        return f"NumPy {np.__version__}"
