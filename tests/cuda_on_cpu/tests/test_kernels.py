"""Covers: what kernels in CUDA C++ may use, and their results."""

from __future__ import annotations

import cupy as cp
import numpy as np
import pytest


def equal(actual, expected, tolerance=0.0):
    actual, expected = cp.asnumpy(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", list("bBiIqQefdFD?"))
def test_arrays(dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.random((7, 5)) * 10).astype(dtype), (rng.random(5) * 10 + 1).astype(dtype)
    x, y = cp.asarray(a), cp.asarray(b)
    tolerance = 1e-2 if dtype == "e" else 1e-5
    equal(x + y, a + b)
    equal(x.sum(0), a.sum(0), tolerance)
    equal(x.sum(1, keepdims=True), a.sum(1, keepdims=True), tolerance)
    equal(x.sum(), a.sum(), tolerance)
    equal(cp.where(x != y, x, y), np.where(a != b, a, b))
    equal(x[cp.asarray([0, 2])][:, 1:], a[[0, 2]][:, 1:])
    equal(cp.concatenate([x, x], 1), np.concatenate([a, a], 1))
    equal(x.take(cp.asarray([1, 0, 3]), axis=1), a.take([1, 0, 3], axis=1))
    equal(x[x == y], a[a == b])
    if dtype not in "FD":
        equal(cp.sort(x, 1), np.sort(a, 1))
        equal(x.argmax(1), a.argmax(1))


@pytest.mark.parametrize("dtype", list("efdFD"))
def test_products(dtype):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 33, 17)).astype(dtype)
    b = rng.standard_normal((17, 9)).astype(dtype)
    tolerance = 3e-2 if dtype == "e" else 1e-4
    equal(cp.asarray(a) @ cp.asarray(b), a @ b, tolerance)
    equal(cp.asarray(a[0]) @ cp.asarray(b), a[0] @ b, tolerance)


def test_elementwise_reduction_fuse():
    x = np.random.default_rng(0).random((100, 7))
    product = cp.ElementwiseKernel("T x, raw T y", "T z", "z = x * y[i % 3]", "product")
    equal(product(cp.asarray(x[:, 0]), cp.asarray(x[0])), x[:, 0] * x[0][np.arange(100) % 3])
    norm = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "norm")
    equal(norm(cp.asarray(x), axis=0), np.sqrt((x * x).sum(0)), 1e-12)

    @cp.fuse()
    def fused(a, b):
        return cp.sum(cp.sqrt(a * b) + 1, axis=1)

    equal(fused(cp.asarray(x), cp.asarray(x)), (x + 1).sum(1), 1e-12)


def test_shared_memory_and_barriers():
    kernel = cp.RawKernel(
        r"""
extern "C" __global__ void __launch_bounds__(128) reversed(const float* x, float* y) {
    extern __shared__ float s[];
    __shared__ float t[4];
    const int i = threadIdx.x;
    if (i < 4) t[i] = i;
    s[i] = x[blockIdx.x * blockDim.x + i];
    __syncthreads();
    y[blockIdx.x * blockDim.x + i] = s[blockDim.x - 1 - i] + t[i % 4];
}""",
        "reversed",
    )
    x = cp.arange(256, dtype="f")
    y = cp.empty_like(x)
    kernel((2,), (128,), (x, y), shared_mem=512)
    expected = np.arange(256, dtype="f").reshape(2, 128)[:, ::-1] + np.arange(128, dtype="f") % 4
    equal(y, expected.ravel())
    assert kernel.max_threads_per_block == 128


def test_warps():
    kernel = cp.RawKernel(
        r"""
extern "C" __global__ void warps(const int* x, int* y) {
    int v = x[threadIdx.x];
    for (int o = 16; o; o /= 2) v += __shfl_down_sync(0xffffffff, v, o);
    const unsigned odd = __ballot_sync(0xffffffff, threadIdx.x % 2);
    const int few = __syncthreads_count(threadIdx.x < 10);
    const int neighbor = __shfl_xor_sync(0xffffffff, (int)threadIdx.x, 1);
    if (threadIdx.x % 32 == 0) {
        int* z = y + threadIdx.x / 32 * 4;
        z[0] = v; z[1] = odd; z[2] = few; z[3] = neighbor;
    }
}""",
        "warps",
    )
    y = cp.zeros(8, "i")
    kernel((1,), (64,), (cp.arange(64, dtype="i"), y))
    odd = np.array(0xAAAAAAAA, "u4").view("i4")
    equal(y, np.array([496, odd, 10, 1, 1520, odd, 10, 33], "i"))


def test_module():
    module = cp.RawModule(
        code=r"""
template <typename T> __global__ void add(T* x, T v) { x[threadIdx.x] += v; }
__constant__ float c[4];
__device__ int counter;
namespace inner { __global__ void twice(int* x) { x[threadIdx.x] *= 2; } }
#define DEFINED(name) extern "C" __global__ void name(int* x) { x[threadIdx.x] = 7; }
DEFINED(of_a_macro)
#if 0
__global__ void left_out() {}
#endif
extern "C" {
__global__ void fill(float* x) { x[threadIdx.x] = c[threadIdx.x]; atomicAdd(&counter, 1); }
}""",
        name_expressions=["add<float>", "add<int>", "inner::twice"],
    )
    x = cp.zeros(4, "f")
    module.get_function("add<float>")((1,), (4,), (x, np.float32(2)))
    equal(x, np.full(4, 2, "f"))
    cp.ndarray(4, "f", module.get_global("c"))[...] = cp.arange(4, dtype="f")
    module.get_function("fill")((1,), (4,), (x,))
    equal(x, np.arange(4, dtype="f"))
    equal(cp.ndarray(1, "i", module.get_global("counter")), np.array([4], "i"))
    n = cp.arange(4, dtype="i")
    module.get_function("inner::twice")((1,), (4,), (n,))
    equal(n, np.arange(4, dtype="i") * 2)
    module.get_function("of_a_macro")((1,), (4,), (n,))
    equal(n, np.full(4, 7, "i"))
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="NOT_FOUND"):
        module.get_function("left_out")


def test_compile_error():
    kernel = cp.RawKernel('extern "C" __global__ void f() { int x = nowhere; }', "f")
    with pytest.raises(cp.cuda.compiler.CompileException, match=r"error: .*nowhere"):
        kernel.compile()


def test_grid_barrier():
    kernel = cp.RawKernel(
        r"""
#include <cooperative_groups.h>
extern "C" __global__ void all(int* x, int* y) {
    __shared__ int mine;
    if (threadIdx.x == 0) mine = blockIdx.x;
    x[blockIdx.x * blockDim.x + threadIdx.x] = blockIdx.x;
    cooperative_groups::this_grid().sync();
    const int next = (blockIdx.x + 1) % gridDim.x;
    y[blockIdx.x * blockDim.x + threadIdx.x] = x[next * blockDim.x] * 100 + mine;
}""",
        "all",
        enable_cooperative_groups=True,
    )
    y = cp.zeros(12, "i")
    kernel((3,), (4,), (cp.zeros(12, "i"), y))
    equal(y, np.repeat(np.array([100, 201, 2], "i"), 4))


def test_subnormals():
    """As with CuPy's -ftz=true, float32 loses them in kernels without double; the others do not."""
    equal(cp.asarray([1e-40], "f") * np.float32(0.5), np.zeros(1, "f"))
    equal(cp.asarray([1e-310]) * 0.5, np.array([1e-310]) * 0.5)
    equal(cp.asarray([1e-7], "e") * np.float16(0.5), np.array([1e-7], "e") * np.float16(0.5))


def test_fused_multiply_add():
    kernel = cp.ElementwiseKernel(
        "float64 a, float64 b, float64 c", "float64 d", "d = a * b + c", "fma_"
    )
    a = cp.asarray(1 + 2.0**-30)
    assert float(kernel(a, a, -(1 + 2.0**-29))) == 2.0**-60


def test_integers_by_zero():
    kernel = cp.ElementwiseKernel("T a, T b", "T c, T d", "c = a / b; d = a % b", "division")
    c, d = kernel(cp.asarray([7, -(2**31), 9], "i"), cp.asarray([0, -1, 2], "i"))
    equal(c, np.array([-1, -(2**31), 4], "i"))
    equal(d, np.array([7, 0, 1], "i"))


def test_directed_rounding_and_conversions():
    kernel = cp.RawKernel(
        r"""
extern "C" __global__ void f(float* y, int* n) {
    y[0] = __fadd_ru(1.0f, 1e-10f); y[1] = __fadd_rd(1.0f, 1e-10f); y[2] = __fmul_rn(3.0f, 0.5f);
    n[0] = __float2int_rn(2.5f); n[1] = __float2int_rz(-2.7f); n[2] = __float2int_rn(1e20f);
    n[3] = __clz(1); n[4] = __popc(255); n[5] = __mulhi(1 << 30, 16);
}""",
        "f",
    )
    y, n = cp.zeros(3, "f"), cp.zeros(6, "i")
    kernel((1,), (1,), (y, n))
    equal(y, np.array([np.nextafter(np.float32(1), np.float32(2)), 1, 1.5], "f"))
    equal(n, np.array([2, -2, 2**31 - 1, 31, 8, 4], "i"))


def test_pointer_in_memory():
    """A kernel reads a device pointer from device memory, and follows it."""
    kernel = cp.RawKernel(
        'extern "C" __global__ void f(float** p, float* y) { y[threadIdx.x] = p[0][threadIdx.x]; }',
        "f",
    )
    x, y = cp.arange(4, dtype="f"), cp.zeros(4, "f")
    kernel((1,), (4,), (cp.asarray([x.data.ptr], "u8"), y))
    equal(y, np.arange(4, dtype="f"))


def test_half_precision_and_functions():
    kernel = cp.RawKernel(
        r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void f(const half* a, half* b, __nv_bfloat16* c, float* d) {
    const int i = threadIdx.x;
    const half2 v = __floats2half2_rn(1.0f, 2.0f);
    b[i] = __hadd(a[i], __float2half(0.5f)) * v.y;
    c[i] = __float2bfloat16(1.0f / 3);
    d[i] = rsqrtf(4.0f) + normcdff(0.0f) + sinpif(0.5f) + __fdividef(1.0f, 2.0f) + max(1, 2);
}""",
        "f",
    )
    a = cp.arange(4, dtype="e")
    b, c, d = cp.zeros(4, "e"), cp.zeros(4, "u2"), cp.zeros(4, "f")
    kernel((1,), (4,), (a, b, c, d))
    equal(b, np.array([1, 3, 5, 7], "e"))
    equal(c, np.full(4, 0x3EAB, "u2"))
    equal(d, np.full(4, 4.5, "f"))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_jit():
    from cupyx import jit

    @jit.rawkernel()
    def backwards(x, y):
        i = jit.grid(1)
        shared = jit.shared_memory(cp.float32, 128)
        shared[jit.threadIdx.x] = x[i]
        jit.syncthreads()
        y[i] = shared[127 - jit.threadIdx.x]

    x, y = cp.arange(256, dtype="f"), cp.zeros(256, "f")
    backwards[2, 128](x, y)
    equal(y, np.arange(256, dtype="f").reshape(2, 128)[:, ::-1].ravel())


def test_kernel_named_as_another_function():
    equal(cp.arange(3, dtype="i2").byteswap(), np.arange(3, dtype="i2").byteswap())
