"""The JAX backend: CPU and CUDA. Arrays are immutable and computed asynchronously."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported, probed
from bp_arrays.typing import Array, HostArray, Namespace


def ask_for_float64(*, compiled: str | None = None) -> None:
    """Enable float64 in JAX; with a folder `compiled`, it is the cache of compiled functions.

    JAX reads these settings when it is imported: if it already is, nothing changes.
    """
    if "jax" in sys.modules:
        return
    os.environ.setdefault("JAX_ENABLE_X64", "1")
    if compiled is None:
        return
    for name, value in {
        "JAX_COMPILATION_CACHE_DIR": compiled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }.items():
        os.environ.setdefault(name, value)


class JaxBackend(Backend):
    name = "jax"
    kinds = ("cpu", "cuda")
    numbered_kinds = frozenset({"cuda"})
    asynchronous_kinds = frozenset({"cpu", "cuda"})
    runs_as = "jit"

    def namespace(self) -> Namespace:
        import jax.numpy as xp

        return xp

    def availability(self, kind: str, index: int) -> Availability:
        status = imported("jax", "JAX", "pip install jax")
        if not status.usable:
            return status
        import jax

        try:
            devices = jax.devices(kind)
        except RuntimeError as error:
            message = " ".join(str(error).split())
            return Availability(
                False,
                f"JAX {jax.__version__} has no {kind} platform: {message}",
                'pip install "jax[cuda12]"' if kind == "cuda" else "check JAX_PLATFORMS",
            )
        if index >= len(devices):
            return Availability(
                False,
                f"JAX sees {len(devices)} {kind} device(s), numbered from 0",
                "use a lower number",
            )

        def compute() -> float:
            return float(jax.device_put(np.ones(1, np.float32), devices[index])[0] + 2.0)

        return probed(compute, f"jax:{kind}")

    def native(self, kind: str, index: int) -> Any:
        import jax

        return jax.devices(kind)[index]

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        import jax

        # device_put may share the host's memory, so copy first; jnp.array would compile the
        # conversion for every shape
        with np.errstate(over="ignore", invalid="ignore"):
            copied = np.array(host, dtype=dtype, copy=True, order="C")
        return jax.device_put(copied, self.native(kind, index))

    def to_host(self, array: Array) -> HostArray:
        if str(array.dtype) == "bfloat16":  # NumPy lacks it; float32 represents it exactly
            return np.asarray(array).astype("float32")
        return np.array(array, copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        if type(array).__module__.partition(".")[0] not in ("jax", "jaxlib"):
            return None
        devices = getattr(array, "devices", None)
        if devices is None:
            return None
        [native] = devices()
        kind = "cuda" if native.platform == "gpu" else native.platform
        return kind, self._devices_of(kind).index(native)

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        import jax

        context: AbstractContextManager[Any] = jax.default_device(self.native(kind, index))
        return context

    def dtype(self, name: str, kind: str, index: int) -> Any:
        import jax

        if name in ("float64", "int64", "uint64") and not jax.config.jax_enable_x64:
            return None
        return super().dtype(name, kind, index)

    def dtype_advice(self, name: str) -> str:
        if name != "float64":
            return ""
        return 'for float64 on JAX call jax.config.update("jax_enable_x64", True) first'

    def _devices_of(self, kind: str) -> list[Any]:
        import jax

        return list(jax.devices(kind))

    def description(self, kind: str, index: int) -> str:
        import jax

        card = f" on {self.native(kind, index).device_kind}" if kind == "cuda" else ""
        return f"JAX {jax.__version__}{card}"
