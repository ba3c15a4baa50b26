"""`MatrixProduct`: matrix products that can be captured in a CUDA graph.

CuPy refuses to call cuBLAS while its stream is capturing. Here cuBLAS is called through
nvmath-python instead, with a handle, a stream and a workspace for each graph: without the
workspace cuBLAS might allocate memory during a capture.
"""

from __future__ import annotations

import math
import os
import weakref
from typing import Any

import numpy as np

from bp_arrays.typing import Array

WORKSPACE_BYTES = 2**25
"""The size that NVIDIA recommends for Hopper GPUs, more than enough for older ones."""

ONE_AND_ZERO = {
    name: (np.ones(1, computed), np.zeros(1, computed))
    for name, computed in (("float16", "float32"), ("float32", "float32"), ("float64", "float64"))
}
"""α and β of α a b + β c, in the dtype in which products of each dtype are summed."""


class MatrixProduct:
    """`a @ b` on one stream, for float16, float32 and float64; any other dtype is left to CuPy.

    float32 is computed in full precision unless CUPY_TF32=1, as in CuPy.

    Parameters
    ----------
    stream : cupy.cuda.Stream
    """

    def __init__(self, stream: Any) -> None:
        from nvmath import CudaDataType
        from nvmath.bindings import cublas

        self.stream = stream
        self._cublas = cublas
        self._types = {
            "float16": (int(CudaDataType.CUDA_R_16F), int(cublas.ComputeType.COMPUTE_32F)),
            "float32": (int(CudaDataType.CUDA_R_32F), int(_float32_computed(cublas))),
            "float64": (int(CudaDataType.CUDA_R_64F), int(cublas.ComputeType.COMPUTE_64F)),
        }
        self._handle = cublas.create()
        weakref.finalize(self, cublas.destroy, self._handle)
        cublas.set_stream(self._handle, stream.ptr)  # before the workspace, which it would reset
        self._workspace = _memory(WORKSPACE_BYTES)
        cublas.set_workspace(self._handle, self._workspace.ptr, WORKSPACE_BYTES)

    def __call__(self, a: Array, b: Array) -> Array:
        """Return a b, with the shapes of `matmul` in the array API."""
        import cupy

        if a.dtype != b.dtype or a.dtype.name not in self._types or 0 in (a.ndim, b.ndim):
            return cupy.matmul(a, b)
        if a.ndim == b.ndim == 1:
            return cupy.sum(a * b)
        if a.ndim == 1:
            return self(a[None, :], b)[..., 0, :]
        if b.ndim == 1:
            return self(a, b[:, None])[..., 0]
        if a.shape[-1] != b.shape[-2]:
            return cupy.matmul(a, b)  # raises CuPy's error
        if b.ndim == 2 and a.ndim > 2:  # the rows of all matrices together
            rows = math.prod(a.shape[:-1])
            return self._matrices(a.reshape(rows, a.shape[-1]), b).reshape(
                *a.shape[:-1], b.shape[1]
            )
        if a.ndim == b.ndim == 2:
            return self._matrices(a, b)
        return self._stacks(a, b)

    def _matrices(self, a: Array, b: Array) -> Array:
        """Return a b of two matrices."""
        import cupy

        (m, k), n = a.shape, b.shape[1]
        c = cupy.empty((m, n), a.dtype)
        if c.size == 0 or k == 0:
            c.fill(0)
            return c
        a, order_a, stride_a = _as_stored(a)
        b, order_b, stride_b = _as_stored(b)
        kind, computed = self._types[a.dtype.name]
        one, zero = ONE_AND_ZERO[a.dtype.name]
        # cuBLAS stores matrices by columns: in its terms this is cᵀ = bᵀ aᵀ
        self._cublas.gemm_ex(
            self._handle, order_b, order_a, n, m, k,
            one.ctypes.data, b.data.ptr, kind, stride_b, a.data.ptr, kind, stride_a,
            zero.ctypes.data, c.data.ptr, kind, n, computed, self._cublas.GemmAlgo.DEFAULT,
        )  # fmt: skip
        return c

    def _stacks(self, a: Array, b: Array) -> Array:
        """Return a b of two stacks of matrices, by one call of cuBLAS."""
        import cupy

        stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        count = math.prod(stack)
        c = cupy.empty((*stack, m, n), a.dtype)
        if c.size == 0 or k == 0:
            c.fill(0)
            return c
        a, b = (
            cupy.ascontiguousarray(cupy.broadcast_to(x, (*stack, *x.shape[-2:]))) for x in (a, b)
        )
        kind, computed = self._types[a.dtype.name]
        one, zero = ONE_AND_ZERO[a.dtype.name]
        plain = 0
        self._cublas.gemm_strided_batched_ex(
            self._handle, plain, plain, n, m, k,
            one.ctypes.data, b.data.ptr, kind, n, k * n, a.data.ptr, kind, k, m * k,
            zero.ctypes.data, c.data.ptr, kind, n, m * n, count, computed,
            self._cublas.GemmAlgo.DEFAULT,
        )  # fmt: skip
        return c


def _as_stored(x: Array) -> tuple[Array, int, int]:
    """Return the matrix, the operation by which cuBLAS reads its transpose, and its stride.

    A transposed matrix is not copied; only one that is not contiguous is.
    """
    import cupy

    plain, transposed = 0, 1
    if x.flags.c_contiguous:
        return x, plain, x.shape[1]
    if x.flags.f_contiguous:
        return x, transposed, x.shape[0]
    return cupy.ascontiguousarray(x), plain, x.shape[1]


def _memory(size: int) -> Any:
    """Allocate memory from CUDA without a pool, so that it is freed with the object returned."""
    import cupy

    try:
        return cupy.cuda.Memory(size)
    except cupy.cuda.runtime.CUDARuntimeError:
        cupy.get_default_memory_pool().free_all_blocks()  # its unused blocks may suffice
        return cupy.cuda.Memory(size)


def _float32_computed(cublas: Any) -> Any:
    allowed = os.environ.get("CUPY_TF32", "0") not in ("", "0")
    kinds = cublas.ComputeType
    return kinds.COMPUTE_32F_FAST_TF32 if allowed else kinds.COMPUTE_32F
