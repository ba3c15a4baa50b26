"""JAX arrays: on the CPU and on CUDA. Immutable, and computed behind the caller's back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported, probed
from bp_arrays.typing import Array, HostArray, Namespace


class JaxBackend(Backend):
    name = "jax"
    asynchronous_kinds = frozenset({"cpu", "cuda"})

    def namespace(self) -> Namespace:
        import jax.numpy as xp

        return xp

    def availability(self, kind: str, index: int) -> Availability:
        found = imported("jax", "JAX", "pip install jax")
        if not found.usable:
            return found
        import jax

        try:
            devices = jax.devices(kind)
        except RuntimeError as error:
            said = " ".join(str(error).split())
            return Availability(
                False,
                f"JAX {jax.__version__} has no {kind} platform: {said}",
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
        import jax.numpy as jnp

        # device_put may alias the host's memory, jnp.array copies it.
        copied = jnp.array(host, dtype=dtype, copy=True)
        return jax.device_put(copied, self.native(kind, index))

    def to_host(self, array: Array) -> HostArray:
        if str(array.dtype) == "bfloat16":  # which NumPy lacks; float32 holds it exactly
            array = array.astype("float32")
        return np.array(array, copy=True)

    def place_of(self, array: Any) -> tuple[str, int] | None:
        if type(array).__module__.partition(".")[0] not in ("jax", "jaxlib"):
            return None
        devices = getattr(array, "devices", None)
        if devices is None:
            return None
        [found] = devices()
        kind = "cuda" if found.platform == "gpu" else found.platform
        return kind, self._devices_of(kind).index(found)

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        import jax

        context: AbstractContextManager[Any] = jax.default_device(self.native(kind, index))
        return context

    def dtype(self, name: str, kind: str, index: int) -> Any:
        import jax

        if name in ("float64", "int64", "uint64") and not jax.config.jax_enable_x64:
            return None
        return super().dtype(name, kind, index)

    def _devices_of(self, kind: str) -> list[Any]:
        import jax

        return list(jax.devices(kind))

    def description(self, kind: str, index: int) -> str:
        import jax

        where = f" on {self.native(kind, index).device_kind}" if kind == "cuda" else ""
        return f"JAX {jax.__version__}{where}"
