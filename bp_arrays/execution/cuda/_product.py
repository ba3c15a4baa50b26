"""Matrix products that can be captured in a CUDA graph.

CuPy refuses to call cuBLAS while its stream is capturing. Here cuBLAS is called through
nvmath-python instead, with a handle, a stream and a workspace of one's own: without the
workspace cuBLAS might ask for memory during a capture.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bp_arrays.typing import Array

WORKSPACE_BYTES = 2**25
"""What NVIDIA recommends for its Hopper cards, and more than enough for older ones."""

ONE_AND_ZERO = {
    name: (np.ones(1, computed), np.zeros(1, computed))
    for name, computed in (("float16", "float32"), ("float32", "float32"), ("float64", "float64"))
}
"""α and β of α a b + β c, in the dtype that products of each dtype are added up in."""


class Product:
    """`a @ b` on one stream, for matrices of float16, float32 and float64.

    float32 is computed in full unless CUPY_TF32=1 says otherwise, as in CuPy.

    Parameters
    ----------
    stream : cupy.cuda.Stream
    """

    def __init__(self, stream: Any) -> None:
        import cupy
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
        cublas.set_stream(self._handle, stream.ptr)  # which would forget a workspace set before
        self._workspace = cupy.cuda.alloc(WORKSPACE_BYTES)
        cublas.set_workspace(self._handle, self._workspace.ptr, WORKSPACE_BYTES)

    def __call__(self, a: Array, b: Array) -> Array:
        """a b, for what `takes` accepts."""
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
        # cuBLAS stores matrices by columns: to it, what lies here is cᵀ = bᵀ aᵀ.
        self._cublas.gemm_ex(
            self._handle, order_b, order_a, n, m, k,
            one.ctypes.data, b.data.ptr, kind, stride_b, a.data.ptr, kind, stride_a,
            zero.ctypes.data, c.data.ptr, kind, n, computed, self._cublas.GemmAlgo.DEFAULT,
        )  # fmt: skip
        return c

    def takes(self, a: Any, b: Any) -> bool:
        """Whether these are two matrices that fit each other, of one dtype that is known here."""
        import cupy

        return (
            isinstance(a, cupy.ndarray)
            and isinstance(b, cupy.ndarray)
            and a.ndim == b.ndim == 2
            and a.shape[1] == b.shape[0]
            and a.dtype == b.dtype
            and a.dtype.name in self._types
        )

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """While entered, CuPy's own `@` is this product wherever this stream is the current one.

        Layers write `x @ w`, an operator of CuPy's class; the maths stays free of this.
        """
        import cupy

        cupys = cupy.ndarray.__matmul__

        def matmul(a: Any, b: Any) -> Any:
            if cupy.cuda.get_current_stream() == self.stream and self.takes(a, b):
                return self(a, b)
            return cupys(a, b)

        own = vars(cupy.ndarray).get("__matmul__")  # another one in charge, in another thread
        cupy.ndarray.__matmul__ = matmul
        try:
            yield
        finally:
            if own is None:
                del cupy.ndarray.__matmul__
            else:
                cupy.ndarray.__matmul__ = own


def _as_stored(x: Array) -> tuple[Array, int, int]:
    """The matrix, the operation by which cuBLAS reads its transpose, and the leading dimension.

    A transposed matrix is read as it lies; only one with gaps is copied.
    """
    import cupy

    plain, transposed = 0, 1
    if x.flags.c_contiguous:
        return x, plain, x.shape[1]
    if x.flags.f_contiguous:
        return x, transposed, x.shape[0]
    return cupy.ascontiguousarray(x), plain, x.shape[1]


def _float32_computed(cublas: Any) -> Any:
    allowed = os.environ.get("CUPY_TF32", "0") not in ("", "0")
    kinds = cublas.ComputeType
    return kinds.COMPUTE_32F_FAST_TF32 if allowed else kinds.COMPUTE_32F
