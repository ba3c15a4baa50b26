"""Covers: CUDA's rules of memory, streams, events and capture, which the emulator enforces."""

from __future__ import annotations

import cupy as cp
import numpy as np
import pytest


def test_fresh_memory_is_not_zero():
    memory = cp.cuda.MemoryPool().malloc(64)  # CuPy's own pool may have used it before
    assert (cp.ndarray(64, "u1", memory).get() == 0xCD).all()


def test_the_host_cannot_read_device_memory(python):
    for before in ("", "import cupy; cupy.arange(3).sum();"):
        done = python(
            f"{before} import cupy, ctypes; a = cupy.zeros(4); a += 1; print('on', flush=True);"
            "ctypes.string_at(a.data.ptr, 8)"
        )
        assert done.stdout == "on\n" and done.returncode < 0


def test_reading_beyond_memory(python):
    done = python(
        """
        import cupy as cp
        cp.cuda.set_allocator(None)
        k = cp.RawKernel('extern "C" __global__ void f(int* x, int n) { x[0] = x[n]; }', "f")
        a = cp.zeros(1024, "i")
        k((1,), (1,), (a, 1023))
        cp.cuda.Device().synchronize()
        try:
            k((1,), (1,), (a, 1024))
            cp.cuda.Device().synchronize()
        except Exception as e:
            print(e)
        try:
            cp.zeros(3)
        except Exception as e:
            print(e)
        """
    )
    assert done.stdout.count("an illegal memory access was encountered") == 2, done.stderr


def test_barrier_that_not_all_reach(python):
    done = python(
        """
        import cupy as cp
        code = '''extern "C" __global__ void f(int* x) {
            if (threadIdx.x < 3) __syncwarp(0xf);
            else { __syncthreads(); __syncwarp(0xf); } }'''
        try:
            cp.RawKernel(code, "f")((1,), (4,), (cp.zeros(1, "i"),))
            cp.cuda.Device().synchronize()
        except Exception as e:
            print(e)
        """
    )
    assert "unspecified launch failure" in done.stdout, done.stderr


def test_assertion(python):
    done = python(
        """
        import cupy as cp
        kernel = cp.RawKernel('extern "C" __global__ void f() { assert(threadIdx.x < 3); }', "f")
        try:
            kernel((1,), (4,), ())
            cp.cuda.Device().synchronize()
        except Exception as e:
            print(e)
        """
    )
    assert "assert" in done.stdout, done.stderr


def test_printf(python):
    done = python(
        """
        import cupy as cp
        code = 'extern "C" __global__ void f() { printf("%d %s\\\\n", threadIdx.x, "x"); }'
        cp.RawKernel(code, "f")((1,), (2,), ())
        cp.cuda.Device().synchronize()
        """
    )
    assert done.stdout == "0 x\n1 x\n", done.stderr


LATE = """
import cupy as cp
a, b = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)
x = cp.zeros(4); cp.cuda.Device().synchronize()
with a:
    x += 1
with b:
    {wait}
    y = x * 10
b.synchronize()
with b:
    print(y.get()[0])
"""


def test_late_streams(python):
    missing = python(LATE.format(wait=""), CUDA_ON_CPU_LAZY="1")
    present = python(LATE.format(wait="b.wait_event(a.record())"), CUDA_ON_CPU_LAZY="1")
    assert (missing.stdout, present.stdout) == ("0.0\n", "10.0\n"), missing.stderr + present.stderr


def test_two_devices(python):
    done = python(
        """
        import cupy as cp
        print(cp.cuda.runtime.getDeviceCount())
        with cp.cuda.Device(1):
            a = cp.arange(4)
            print(int(a.sum()), a.device.id)
        with cp.cuda.Device(0):
            try:
                a + 1
            except Exception as e:
                print(type(e).__name__)
        """,
        CUDA_ON_CPU_DEVICES="2",
    )
    assert done.stdout == "2\n6 1\nValueError\n", done.stderr + done.stdout


def test_graph():
    stream = cp.cuda.Stream(non_blocking=True)
    a, out = cp.arange(10.0), cp.empty(10)
    with stream:
        cp.add(a, 1, out=out)
        stream.begin_capture()
        cp.add(a, 1, out=out)
        graph = stream.end_capture()
        a += 5
        assert out.get()[0] == 1
        graph.launch(stream)
    stream.synchronize()
    np.testing.assert_array_equal(out.get(), np.arange(10.0) + 6)


def test_what_capture_forbids():
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCapture"):
            stream.synchronize()
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCapture"):
            stream.end_capture()


def test_a_destroyed_stream():
    stream = cp.cuda.Stream(non_blocking=True)
    a = cp.arange(3)
    other = cp.cuda.Stream.from_external(Borrowed(stream.ptr))
    cp.cuda.runtime.streamDestroy(stream.ptr)
    with other, pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="InvalidResourceHandle"):
        other.synchronize()
    with other, pytest.raises(cp.cuda.driver.CUDADriverError, match="INVALID_HANDLE"):
        a + 1
    stream.ptr = 0  # it ends only once


class Borrowed:
    """A stream of another library."""

    def __init__(self, pointer):
        self.pointer = pointer

    def __cuda_stream__(self):
        return 0, self.pointer


def test_events_and_pool():
    stream, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    with stream:
        a = cp.arange(10) * 2
        event.record(stream)
    event.synchronize()
    np.testing.assert_array_equal(a.get(), np.arange(10) * 2)
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    b = cp.empty(1 << 20)
    assert pool.used_bytes() - before == 8 << 20
    del b
    assert pool.used_bytes() == before


def test_no_library_of_nvidia(python):
    done = python(
        """
        import cupy as cp
        (cp.ones((3, 3)) @ cp.ones((3, 3))).sum(); cp.random.random(3)
        names = {l.split()[-1] for l in open("/proc/self/maps") if "/lib" in l and ".so" in l}
        names = [n for n in names if any(x in n.rsplit("/", 1)[-1] for x in ("libcu", "libnv"))]
        print([n for n in names if "cuda_on_cpu" not in n])
        """
    )
    assert done.stdout == "[]\n", done.stderr


def test_nvcc(python):
    module = cp.RawModule(
        code='extern "C" __global__ void f(int* x) { x[0] = OP; }',
        backend="nvcc",
        options=("-DOP=7",),
    )
    x = cp.zeros(1, "i")
    module.get_function("f")((1,), (1,), (x,))
    assert int(x[0]) == 7


def test_forked_child(python):
    done = python(
        """
        import os, cupy as cp
        cp.arange(3)
        child = os.fork()
        if not child:
            try:
                cp.zeros(3) + 1
            except Exception as e:
                os.write(1, str(e).encode())
            os._exit(0)
        os.waitpid(child, 0)
        print("", int(cp.arange(3).sum()))
        """
    )
    assert "initialization error" in done.stdout and done.stdout.endswith(" 3\n"), done.stderr


@pytest.mark.parametrize("short", [0, 1, 2])
def test_a_batch_of_products_beyond_memory(short):
    from cupy_backends.cuda.libs import cublas

    sizes = [4096 * (2 - (k == short)) for k in range(3)]
    a, b, c = (cp.cuda.Memory(size) for size in sizes)  # not of a pool, which has more behind it
    one = np.ones(1, "f").ctypes.data
    handle = cp.cuda.device.get_cublas_handle()

    def product(count):
        shape = (0, 0, 32, 32, 32)
        cublas.sgemmStridedBatched(
            handle, *shape, one, a.ptr, 32, 1024, b.ptr, 32, 1024, one, c.ptr, 32, 1024, count
        )

    product(1)
    with pytest.raises(cublas.CUBLASError, match="EXECUTION_FAILED"):
        product(2)


def test_kernels_are_cached_apart_from_those_of_a_gpu(python, tmp_path):
    done = python(
        "import os, cupy as cp; cp.arange(3) + 1; print(os.environ['CUPY_CACHE_DIR'])",
        HOME=str(tmp_path),
        XDG_CACHE_HOME="",
        CUPY_CACHE_DIR="",
        CUDA_ON_CPU_CACHE="",
    )
    assert "cuda_on_cpu/kernels-" in done.stdout, done.stderr + done.stdout
    assert not (tmp_path / ".cupy").exists()
    [kernels] = (tmp_path / ".cache" / "bp_arrays" / "cuda_on_cpu").glob("kernels-*")
    assert {path.name for path in kernels.iterdir()} == {"compiled", "cupy"}


def test_threads_that_end_leave_nothing_behind(python):
    """Each had stacks of its own for the threads of kernels, until no memory could be mapped."""
    done = python(
        """
        import threading
        import cupy

        code = 'extern "C" __global__ void f(int* x) { __syncthreads(); x[threadIdx.x] = 1; }'
        kernel, x = cupy.RawKernel(code, "f"), cupy.zeros(512, "i")

        def compute():
            kernel((1,), (512,), (x,))

        def mappings_after(threads):
            for _ in range(threads):
                thread = threading.Thread(target=compute)
                thread.start()
                thread.join()
            with open("/proc/self/maps") as maps:
                return sum(1 for _ in maps)

        print(mappings_after(30) - mappings_after(5))
        """
    )
    assert abs(int(done.stdout)) < 20, done.stderr
