"""The PyTorch backend: CPU, CUDA and Apple's MPS."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.devices._backend import Availability, Backend, imported, probed
from bp_arrays.typing import Array, HostArray, Namespace


class TorchBackend(Backend):
    name = "torch"
    kinds = ("cpu", "cuda", "mps")
    numbered_kinds = frozenset({"cuda"})
    asynchronous_kinds = frozenset({"cuda", "mps"})

    def namespace(self) -> Namespace:
        import array_api_compat.torch as xp

        return xp

    def availability(self, kind: str, index: int) -> Availability:
        status = imported("torch", "PyTorch", "pip install torch")
        if not status.usable:
            return status
        import torch

        if kind == "cuda" and not torch.cuda.is_available():
            why = "finds no usable CUDA driver" if torch.version.cuda else "is a build without CUDA"
            return Availability(
                False,
                f"PyTorch {torch.__version__} {why}",
                "install an NVIDIA driver and a CUDA build of PyTorch, or use 'torch:cpu'",
            )
        if kind == "cuda" and index >= torch.cuda.device_count():
            return Availability(
                False,
                f"PyTorch sees {torch.cuda.device_count()} CUDA device(s), numbered from 0",
                "use a lower number",
            )
        if kind == "mps" and not torch.backends.mps.is_available():
            return Availability(
                False, "Metal (MPS) exists on Apple computers only", "use 'torch:cpu'"
            )

        def compute() -> float:
            ones = torch.ones(1, device=self.native(kind, index))
            return float((ones + 2.0).cpu()[0])

        return probed(compute, f"torch:{kind}")

    def native(self, kind: str, index: int) -> Any:
        import torch

        return torch.device(kind, index) if kind == "cuda" else torch.device(kind)

    def from_host(self, host: HostArray, dtype: Any, kind: str, index: int) -> Array:
        import torch

        # torch.tensor copies; from_numpy and from_dlpack share memory, and from_dlpack crashes the
        # process for negative strides
        return torch.tensor(host, device=self.native(kind, index), dtype=dtype)

    def to_host(self, array: Array) -> HostArray:
        import torch

        array = array.detach().cpu()
        if array.dtype == torch.bfloat16:  # NumPy lacks it; float32 represents it exactly
            array = array.to(torch.float32)
        return np.array(array.numpy(), copy=True)

    def locate(self, array: Any) -> tuple[str, int] | None:
        if type(array).__module__.partition(".")[0] != "torch" or not hasattr(array, "device"):
            return None
        return str(array.device.type), int(array.device.index or 0)

    def detached(self, array: Array) -> Array:
        return array.detach() if array.requires_grad else array

    def synchronize(self, kind: str, index: int) -> None:
        import torch

        if kind == "cuda":
            torch.cuda.synchronize(index)
        elif kind == "mps":
            torch.mps.synchronize()

    def dtype(self, name: str, kind: str, index: int) -> Any:
        if kind == "mps" and name == "float64":
            return None
        return super().dtype(name, kind, index)

    def description(self, kind: str, index: int) -> str:
        import torch

        card = f" on {torch.cuda.get_device_name(index)}" if kind == "cuda" else ""
        return f"PyTorch {torch.__version__}{card}"
