"""The order in which CUDA is told things, and what cuBLAS is told, on a stand-in for both."""

from __future__ import annotations

import contextlib
import gc
import sys

import numpy as np
import pytest
from execution import stand_in_cupy as machine

import bp_arrays as bp
from bp_arrays.execution import StepGraph, capturable, path_of, why_no_graph
from bp_arrays.execution.cuda import _graph as cuda_graph
from bp_arrays.execution.cuda._product import Product

CUDA = machine.CUDA


class Place:
    """A device that exists only here."""

    def activate(self):
        return contextlib.nullcontext()

    def __str__(self):
        return "cuda:0"


@pytest.fixture
def cupy(monkeypatch):
    for name, module in machine.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield sys.modules["cupy"]
    assert "__matmul__" not in vars(machine.Ndarray), "CuPy was left patched"
    assert CUDA.current is machine.Stream.null


def matrix(shape, dtype, seed=0):
    values = np.random.default_rng(seed).integers(-4, 5, shape)
    return values.astype(dtype).view(machine.Ndarray)


def product(cupy):
    with cupy.cuda.Stream(non_blocking=True) as stream:
        return Product(stream)


# -- the product -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("m, k, n", [(2, 3, 5), (1, 4, 3), (4, 1, 3), (3, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("left", ["as it is", "transposed", "with gaps"])
@pytest.mark.parametrize("right", ["as it is", "transposed", "with gaps"])
def test_products_of_matrices_however_they_lie(cupy, kind, m, k, n, left, right):
    def lying(how, rows, columns, seed):
        if how == "transposed":
            return matrix((columns, rows), kind, seed).T
        if how == "with gaps":
            return matrix((rows, 2 * columns), kind, seed)[:, ::2]
        return matrix((rows, columns), kind, seed)

    a, b = lying(left, m, k, 1), lying(right, k, n, 2)
    c = product(cupy)(a, b)
    assert c.dtype == kind and c.flags.c_contiguous
    np.testing.assert_array_equal(c, np.asarray(a) @ np.asarray(b))


def test_a_view_of_the_parameters_vector_is_read_where_it_lies(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "ascontiguousarray", lambda x: pytest.fail("copied"))
    theta = matrix((40,), "float32")
    w = theta[7 : 7 + 12].reshape(3, 4)
    a, delta = matrix((5, 3), "float32", 1), matrix((5, 4), "float32", 2)
    multiply = product(cupy)
    np.testing.assert_array_equal(multiply(a, w), np.asarray(a) @ np.asarray(w))
    np.testing.assert_array_equal(multiply(delta, w.T), np.asarray(delta) @ np.asarray(w).T)
    np.testing.assert_array_equal(multiply(a.T, delta), np.asarray(a).T @ np.asarray(delta))


def test_sums_over_nothing_are_zero(cupy):
    multiply = product(cupy)
    assert multiply(matrix((2, 0), "float32"), matrix((0, 3), "float32")).tolist() == [[0] * 3] * 2
    assert multiply(matrix((0, 2), "float32"), matrix((2, 3), "float32")).shape == (0, 3)


def test_float32_is_full_precision_unless_cupy_is_told_otherwise(cupy, monkeypatch):
    def computed():
        return product(cupy)._types["float32"][1]

    monkeypatch.delenv("CUPY_TF32", raising=False)
    assert computed() == machine.CuBLAS.ComputeType.COMPUTE_32F
    monkeypatch.setenv("CUPY_TF32", "0")
    assert computed() == machine.CuBLAS.ComputeType.COMPUTE_32F
    monkeypatch.setenv("CUPY_TF32", "1")
    assert computed() == machine.CuBLAS.ComputeType.COMPUTE_32F_FAST_TF32


def test_the_handle_goes_with_the_product(cupy):
    multiply = product(cupy)
    assert len(CUDA.handles) == 1
    del multiply
    gc.collect()
    assert CUDA.handles == []


def test_in_charge_only_on_its_stream_and_for_what_it_knows(cupy):
    multiply = product(cupy)
    a, b = matrix((2, 3), "float32"), matrix((3, 2), "float32")
    with multiply.in_charge():
        _ = a @ b
        with multiply.stream:
            _ = a @ b
            _ = matrix((2, 3), "int32") @ matrix((3, 2), "int32")
            with multiply.in_charge():
                _ = a @ b
            _ = a @ b
    _ = a @ b
    cupys, ours = "CuPy's product", "cuBLAS"
    assert CUDA.events == [cupys, ours, cupys, ours, ours, cupys]


# -- the graph -------------------------------------------------------------------------------


def test_warmed_up_captured_and_launched_in_this_order(cupy):
    a, b = matrix((2, 3), "float32"), matrix((3, 2), "float32")
    allocators = []

    def body():
        allocators.append(CUDA.allocator)
        _ = a @ b

    graph = StepGraph(Place())
    assert graph.stream.non_blocking
    CUDA.events.clear()
    with graph.entered():
        assert CUDA.current is graph.stream
        for _ in range(5):
            graph(body)
            assert CUDA.allocator is None, "only the body is given memory of the graph's pool"
    first = ["wait for an event of the default stream", "cuBLAS", "cuBLAS"]
    captured = ["begin", "cuBLAS", "end", "launch"]
    assert CUDA.events == [*first, *captured, "launch", "launch", "synchronize"]
    assert graph.is_captured
    assert all(allocator == graph._pool.malloc for allocator in allocators)


def test_nothing_runs_twice_when_it_is_captured(cupy):
    calls = []
    graph = StepGraph(Place())
    with graph.entered():
        for _ in range(4):
            graph(lambda: calls.append(CUDA.current.capturing))
    assert calls == [False, False, True]


@pytest.mark.parametrize("invalidated", [False, True])
def test_what_cannot_be_captured_goes_on_as_it_stands_with_one_line(cupy, caplog, invalidated):
    CUDA.invalidated = invalidated
    x = matrix((2, 2), "float32")
    calls = []

    def body():
        calls.append(CUDA.current.capturing)
        x.get()

    graph = StepGraph(Place())
    with graph.entered():
        for _ in range(6):
            graph(body)
    assert calls == [False, False, True, False, False, False, False]
    assert not graph.is_captured and not graph.stream.capturing
    [line] = caplog.messages
    assert line.startswith("cuda:0: a step cannot be captured as a CUDA graph")
    assert "D2H transfers are refused" in line
    assert "launch" not in CUDA.events and CUDA.events[-2:] == ["end", "synchronize"]


def test_ctrl_c_during_the_capture_ends_it(cupy):
    def body():
        if CUDA.current.capturing:
            raise KeyboardInterrupt

    graph = StepGraph(Place())
    with pytest.raises(KeyboardInterrupt), graph.entered():
        for _ in range(3):
            graph(body)
    assert not graph.stream.capturing and CUDA.events[-2:] == ["end", "synchronize"]


def test_an_error_of_the_body_is_not_hidden(cupy):
    def body():
        raise ValueError("a layer's own mistake")

    graph = StepGraph(Place())
    with pytest.raises(ValueError, match="own mistake"), graph.entered():
        graph(body)


def test_what_the_callers_stream_computes_is_waited_for(cupy):
    graph = StepGraph(Place())
    with cupy.cuda.Stream():
        CUDA.events.clear()
        with graph.entered():
            pass
    assert CUDA.events == ["wait for an event of another", "synchronize"]


def test_outside_is_the_default_stream(cupy):
    graph = StepGraph(Place())
    with graph.entered():
        with graph.outside():
            assert CUDA.current is machine.Stream.null
        assert CUDA.current is graph.stream


# -- the namespace, and when there is one ----------------------------------------------------


@pytest.mark.parametrize("count", [1, 8, 9, 64, 65, 200])
def test_joining_many_arrays_never_joins_more_than_cupy_copies_one_by_one(count):
    import array_api_compat.numpy as xp

    class Watched:
        def __getattr__(self, name):
            return getattr(xp, name)

        def __dir__(self):
            return dir(xp)

        def concat(self, arrays, /, *, axis=0):
            assert len(arrays) <= 8
            return xp.concat(arrays, axis=axis)

    found = capturable(Watched())
    parts = [np.full(k % 3 + 1, float(k)) for k in range(count)]
    np.testing.assert_array_equal(found.concat(parts), np.concatenate(parts))
    rows = [np.full((1, 2), float(k)) for k in range(count)]
    np.testing.assert_array_equal(found.concat(rows, axis=1), np.concatenate(rows, axis=1))
    assert found.matmul(np.eye(2), np.ones((2, 1))).tolist() == [[1.0], [1.0]]
    assert found.exp is xp.exp


def test_why_there_is_no_graph_and_what_the_devices_say(monkeypatch):
    assert "CuPy" in why_no_graph(bp.device("cpu"))
    monkeypatch.setattr(cuda_graph.importlib.util, "find_spec", lambda name: None)
    assert "pip install nvmath-python" in why_no_graph(bp.device("cuda"))
    assert path_of(bp.device("cuda")).startswith("plain, operation by operation: CUDA graphs need")
    monkeypatch.setattr(cuda_graph.importlib.util, "find_spec", lambda name: object())
    assert why_no_graph(bp.device("cuda")) == ""
    assert path_of(bp.device("cuda")) == "whole steps as CUDA graphs"
