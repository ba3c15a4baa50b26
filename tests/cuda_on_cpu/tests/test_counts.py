"""What the emulator counts: work of streams and of graphs, copies, waits, allocations."""

from __future__ import annotations

from dataclasses import asdict

import cuda_on_cpu
import cupy as cp
import numpy as np


def non_zero(counts):
    return {name: number for name, number in asdict(counts).items() if number}


def test_kernels_products_copies_and_waits():
    a = cp.arange(12.0, dtype="float32").reshape(3, 4)
    b = cp.empty_like(a)
    (a @ a.T + 1.0).get()
    with cuda_on_cpu.counted() as counts:
        a + 1.0
        a @ a.T
    assert non_zero(counts) == {"kernels": 1, "products": 1, "calls": 2}
    with cuda_on_cpu.counted() as counts:
        b.data.copy_from_device(a.data, a.nbytes)
        a.get()
        cp.asarray(np.ones(3))
    assert (counts.on_device, counts.to_host, counts.to_device) == (1, 1, 1)
    assert counts.kernels == counts.products == 0 and counts.synchronizations >= 1
    with cuda_on_cpu.counted() as counts:
        cp.cuda.get_current_stream().synchronize()
    assert non_zero(counts) == {"synchronizations": 1, "calls": 1}


def test_memory_is_counted_where_it_comes_from_cuda():
    pool = cp.cuda.MemoryPool()
    with cp.cuda.using_allocator(pool.malloc):
        with cuda_on_cpu.counted() as counts:
            a = cp.empty(1000)
        assert counts.allocations == 1
        del a
        with cuda_on_cpu.counted() as counts:
            cp.empty(1000)
        assert counts.allocations == 0


def test_a_captured_graph_counts_when_it_is_launched():
    stream = cp.cuda.Stream(non_blocking=True)
    a = cp.arange(10.0)
    with stream:
        a += 1
        with cuda_on_cpu.counted() as counts:
            stream.begin_capture()
            a += 1
            a *= 2
            graph = stream.end_capture()
        assert non_zero(counts) == {}
        with cuda_on_cpu.counted() as counts:
            graph.launch(stream)
            graph.launch(stream)
        assert non_zero(counts) == {"kernels": 4, "graph_launches": 2, "calls": 2}
    stream.synchronize()


def test_late_streams_count_when_they_are_told(python):
    done = python(
        """
        import cuda_on_cpu, cupy as cp
        a = cp.arange(3); a + 1
        cp.cuda.Device().synchronize()
        with cuda_on_cpu.counted() as counts:
            a + 1
        print(counts.kernels, counts.calls)
        """,
        CUDA_ON_CPU_LAZY="1",
    )
    assert done.stdout == "1 1\n", done.stderr
