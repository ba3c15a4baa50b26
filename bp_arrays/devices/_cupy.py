"""The CuPy backend: NVIDIA GPUs.

CuPy computes on its *current* device, and array-api-compat ignores `device=` in every creation
function but asarray: so all work on "cuda:1" is done inside `activate`. CuPy can be imported, and
even constructs device objects, without a driver: only a computation shows that it works.
"""

from __future__ import annotations

import functools
import sys
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported, probed
from bp_arrays.devices._namespaces import MARK
from bp_arrays.typing import Array, HostArray, Namespace

INSTALL = 'pip install "bp_arrays[cuda12]" or "bp_arrays[cuda13]", as your driver supports'


class CuPyBackend(Backend):
    name = "cupy"
    kinds = ("cuda",)
    numbered_kinds = frozenset({"cuda"})
    asynchronous_kinds = frozenset({"cuda"})
    runs_as = "cuda graph"

    def stem(self, kind: str) -> str:
        return kind

    def namespace(self) -> Namespace:
        import array_api_compat.cupy as standard
        import cupy

        return _namespace(cupy, standard)

    def availability(self, kind: str, index: int) -> Availability:
        status = imported("cupy", "CuPy", INSTALL)
        if not status.usable:
            return status
        import cupy

        try:
            driver = cupy.cuda.runtime.driverGetVersion()
        except Exception:
            driver = 0
        if driver == 0:
            return Availability(
                False,
                f"CuPy {cupy.__version__} found no NVIDIA driver",
                "install an NVIDIA driver, or use device='cpu'",
            )
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except Exception as error:
            return Availability(
                False,
                f"CuPy {cupy.__version__} cannot use the driver (CUDA {driver // 1000}."
                f"{driver % 1000 // 10}): {' '.join(str(error).split())}",
                "update the driver, or install the CuPy build for it: " + INSTALL,
            )
        if index >= count:
            return Availability(
                False, f"CuPy sees {count} CUDA device(s), numbered from 0", "use a lower number"
            )

        def compute() -> float:
            # not on the caller's stream: that may be broken, and the answer is kept
            with cupy.cuda.Device(index), cupy.cuda.Stream.null:
                return float((cupy.ones(1) + cupy.full(1, 2.0)).get()[0])

        return probed(compute, f"cuda:{index}")

    def native(self, kind: str, index: int) -> Any:
        import cupy

        return cupy.cuda.Device(index)

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        import cupy

        with cupy.cuda.Device(index):
            return cupy.array(host, dtype=dtype)

    def to_host(self, array: Array) -> HostArray:
        with array.device:
            return np.array(array.get())

    def locate(self, array: Any) -> tuple[str, int] | None:
        if type(array).__module__.partition(".")[0] != "cupy" or not hasattr(array, "device"):
            return None
        return "cuda", int(array.device.id)

    def activate(self, kind: str, index: int) -> AbstractContextManager[Any]:
        import cupy

        context: AbstractContextManager[Any] = cupy.cuda.Device(index)
        return context

    def synchronize(self, kind: str, index: int) -> None:
        import cupy

        cupy.cuda.Device(index).synchronize()

    def is_emulated(self, kind: str, index: int) -> bool:
        # by the name of the device, or by what stands in for the driver
        return "emulated" in _card(index).lower() or "cuda_on_cpu" in sys.modules

    def description(self, kind: str, index: int) -> str:
        import cupy

        runtime = cupy.cuda.runtime
        versions = [
            f"{v // 1000}.{v % 1000 // 10}"
            for v in (runtime.driverGetVersion(), runtime.runtimeGetVersion())
        ]
        return (
            f"CuPy {cupy.__version__} on {_card(index)}, driver for CUDA {versions[0]}, "
            f"runtime {versions[1]}"
        )


def _card(index: int) -> str:
    import cupy

    name: str = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return name


@functools.cache
def _namespace(cupy: Any, standard: Namespace) -> Namespace:
    """Return array-api-compat's namespace with a `sign` and a `clip` that do not read the host.

    Its own assign through masks, of which CuPy counts the True elements on the host: that waits
    at every call, and is forbidden while a CUDA graph is captured.
    """

    def clip(x: Array, /, min: Any = None, max: Any = None) -> Array:
        if x.dtype.kind in "iu":  # a Python int outside the dtype's range has no effect
            limits = cupy.iinfo(x.dtype)
            min = None if isinstance(min, int) and min <= limits.min else min
            max = None if isinstance(max, int) and max >= limits.max else max
        bounded = cupy.positive(x) if min is None else cupy.maximum(x, min)
        bounded = bounded if max is None else cupy.minimum(bounded, max)
        return bounded.astype(x.dtype, copy=False)

    xp = ModuleType("bp_arrays.devices.cupy_namespace", standard.__doc__)
    vars(xp).update({name: getattr(standard, name) for name in dir(standard)})
    vars(xp).update({"sign": cupy.sign, "clip": clip, MARK: "cupy"})
    return xp
