"""A stand-in for CuPy and nvmath on NumPy's memory, with the rules of a capture.

While a stream captures, CuPy's own matrix product, host copies and kernels that were never run
before are refused, as CuPy refuses them; cuBLAS reads matrices by columns, from addresses.
"""

from __future__ import annotations

import contextlib
import ctypes
import types
from typing import Any

import numpy as np

HALF, SINGLE, DOUBLE = 2, 0, 1
TYPES = {HALF: np.float16, SINGLE: np.float32, DOUBLE: np.float64}


class Array(np.ndarray):
    """cupy.ndarray: memory with an address."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray:
        if CUDA.current.capturing:
            raise RuntimeError("the current stream is capturing, so D2H transfers are refused")
        return np.array(self)

    def fill(self, value: float) -> None:
        np.ndarray.fill(self, value)


def _cupys_matmul(a: Any, b: Any) -> Any:
    if CUDA.current.capturing:
        raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")
    CUDA.events.append("CuPy's product")
    return np.matmul(a.view(np.ndarray), b.view(np.ndarray)).view(Array)


class Base(Array):
    """Where CuPy keeps the operator that its ndarray inherits."""

    def __matmul__(self, other: Any) -> Any:
        return _cupys_matmul(self, other)


class Ndarray(Base):
    pass


class Stream:
    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr, self.capturing, self.non_blocking = id(self), False, non_blocking

    def __enter__(self) -> Stream:
        self.before = CUDA.current
        CUDA.current = self
        return self

    def __exit__(self, *of: Any) -> None:
        CUDA.current = self.before

    def record(self) -> str:
        return "an event of " + ("the default stream" if self is Stream.null else "another")

    def wait_event(self, event: str) -> None:
        CUDA.events.append(f"wait for {event}")

    def synchronize(self) -> None:
        assert not self.capturing
        CUDA.events.append("synchronize")

    def begin_capture(self) -> None:
        assert self is not Stream.null, "cannot capture on the default (legacy) stream"
        assert CUDA.current is self
        self.capturing = True
        CUDA.events.append("begin")

    def end_capture(self) -> Graph:
        self.capturing = False
        CUDA.events.append("end")
        if CUDA.invalidated:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph()

    null: Any = None


class Graph:
    def launch(self, stream: Stream) -> None:
        assert stream is not Stream.null and not stream.capturing
        CUDA.events.append("launch")


class Pool:
    def malloc(self, size: int) -> None: ...


class CUDA:
    """What the fake machine is doing."""

    events: list[str]
    current: Stream
    allocator: Any = None
    invalidated = False
    handles: list[int]
    workspaces: dict[int, tuple[int, int]]


@contextlib.contextmanager
def using_allocator(malloc: Any) -> Any:
    CUDA.allocator, before = malloc, CUDA.allocator
    yield
    CUDA.allocator = before


class CuBLAS:
    """nvmath.bindings.cublas: column-major matrices at addresses."""

    class ComputeType:
        COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70

    class GemmAlgo:
        DEFAULT = -1

    @staticmethod
    def create() -> int:
        CUDA.handles.append(len(CUDA.handles) + 1)
        return CUDA.handles[-1]

    @staticmethod
    def destroy(handle: int) -> None:
        CUDA.handles.remove(handle)

    @staticmethod
    def set_stream(handle: int, stream: int) -> None:
        CUDA.workspaces.pop(handle, None)  # as cuBLAS does

    @staticmethod
    def set_workspace(handle: int, pointer: int, size: int) -> None:
        CUDA.workspaces[handle] = (pointer, size)

    @staticmethod
    def gemm_ex(
        handle, op_a, op_b, m, n, k, alpha, a, type_a, lda, b, type_b, ldb, beta, c, type_c, ldc,
        computed, algorithm,
    ):  # fmt: skip
        assert handle in CUDA.workspaces, "cuBLAS would allocate a workspace"
        scalar = np.float64 if computed == 70 else np.float32
        one, zero = (_vector(p, 1, scalar)[0] for p in (alpha, beta))
        assert (one, zero) == (1.0, 0.0)
        left = _columns(a, *((k, m) if op_a else (m, k)), lda, TYPES[type_a])
        right = _columns(b, *((n, k) if op_b else (k, n)), ldb, TYPES[type_b])
        out = _columns(c, m, n, ldc, TYPES[type_c])
        left, right = (left.T if op_a else left), (right.T if op_b else right)
        out[...] = left.astype(scalar) @ right.astype(scalar)
        CUDA.events.append("cuBLAS")


def _vector(address: int, length: int, dtype: Any) -> np.ndarray:
    size = length * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype)


def _columns(address: int, rows: int, columns: int, leading: int, dtype: Any) -> np.ndarray:
    """The matrix stored by columns, `leading` elements apart."""
    assert leading >= max(1, rows), "cuBLAS refuses such a leading dimension"
    length = leading * (columns - 1) + rows
    size = np.dtype(dtype).itemsize
    return np.lib.stride_tricks.as_strided(
        _vector(address, length, dtype), (rows, columns), (size, leading * size)
    )


def modules() -> dict[str, Any]:
    """What `import cupy` and `import nvmath` are to find, of a machine just started."""
    Stream.null = Stream()
    CUDA.events, CUDA.current, CUDA.handles, CUDA.workspaces = [], Stream.null, [], {}
    CUDA.invalidated, CUDA.allocator = False, None
    cuda = types.SimpleNamespace(
        Stream=Stream, MemoryPool=Pool, using_allocator=using_allocator,
        alloc=lambda size: types.SimpleNamespace(ptr=1, size=size),
        get_current_stream=lambda: CUDA.current,
    )  # fmt: skip
    cupy = types.SimpleNamespace(
        cuda=cuda, ndarray=Ndarray,
        empty=lambda shape, dtype: np.full(shape, np.nan, dtype).view(Ndarray),
        ascontiguousarray=lambda x: np.ascontiguousarray(x).view(Ndarray),
    )  # fmt: skip
    kinds = types.SimpleNamespace(CUDA_R_16F=HALF, CUDA_R_32F=SINGLE, CUDA_R_64F=DOUBLE)
    bindings = types.SimpleNamespace(cublas=CuBLAS)
    nvmath = types.SimpleNamespace(CudaDataType=kinds, bindings=bindings)
    return {"cupy": cupy, "nvmath": nvmath, "nvmath.bindings": bindings}
