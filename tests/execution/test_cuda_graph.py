"""Covers: execution/cuda: products, captured arrays, graphs. Runs with the real CuPy, on a GPU or
on the emulated device of tests/cuda_on_cpu."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import StepGraph, path_of, why_no_graph
from bp_arrays.execution.cuda._captured_array import CapturedNamespace, unwrapped, wrapped
from bp_arrays.execution.cuda._product import WORKSPACE_BYTES, MatrixProduct

CUDA = bp.device("cuda")
needs_cuda = pytest.mark.skipif(
    bool(why_no_graph(CUDA)) or not CUDA.availability().usable,
    reason="needs CuPy with nvmath-python on a CUDA device",
)


@pytest.fixture
def cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    yield cupy
    assert "__matmul__" not in vars(cupy.ndarray), "CuPy was left changed"
    assert cupy.cuda.get_current_stream() == cupy.cuda.Stream.null


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def product(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    return MatrixProduct(stream)


# -- products --------------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("left", ["as it is", "transposed", "with gaps"])
@pytest.mark.parametrize("right", ["as it is", "transposed", "with gaps"])
def test_products_of_matrices_however_they_are_stored(cupy, kind, left, right):
    def stored(how, rows, columns, seed):
        if how == "transposed":
            return cupy.asarray(numbers((columns, rows), kind, seed)).T
        if how == "with gaps":
            return cupy.asarray(numbers((rows, 2 * columns), kind, seed))[:, ::2]
        return cupy.asarray(numbers((rows, columns), kind, seed))

    multiply = product(cupy)
    for m, k, n in ((2, 3, 5), (1, 4, 3), (4, 1, 3), (3, 4, 1), (1, 1, 1)):
        a, b = stored(left, m, k, 1), stored(right, k, n, 2)
        multiply.stream.wait_event(cupy.cuda.get_current_stream().record())
        with multiply.stream:
            c = multiply(a, b)
        multiply.stream.synchronize()
        assert c.dtype == kind and c.flags.c_contiguous
        np.testing.assert_array_equal(c.get(), a.get() @ b.get())


SHAPES = [
    ((4,), (4,)), ((4,), (4, 3)), ((2, 4), (4,)), ((5, 2, 4), (4, 3)), ((5, 2, 4), (5, 4, 3)),
    ((2, 1, 3, 4), (5, 4, 2)), ((3, 4), (5, 4, 2)), ((6, 1, 3, 4), (1, 2, 4, 5)), ((0, 4), (4, 3)),
    ((3, 0), (0, 2)), ((2, 0, 4), (2, 4, 3)),
]  # fmt: skip


@needs_cuda
@pytest.mark.parametrize(("left", "right"), SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_products_of_any_rank_are_those_of_numpy(cupy, left, right, kind):
    a, b = numbers(left, kind, 1), numbers(right, kind, 2)
    multiply = product(cupy)
    with multiply.stream:
        c = multiply(cupy.asarray(a), cupy.asarray(b))
    multiply.stream.synchronize()
    expected = np.matmul(a, b)
    assert c.shape == expected.shape and c.dtype == expected.dtype
    np.testing.assert_array_equal(c.get(), expected)


@needs_cuda
def test_float32_is_full_precision_unless_cupy_is_told_otherwise(cupy, monkeypatch):
    from nvmath.bindings.cublas import ComputeType

    def computed():
        return product(cupy)._types["float32"][1]

    monkeypatch.delenv("CUPY_TF32", raising=False)
    assert computed() == int(ComputeType.COMPUTE_32F)
    monkeypatch.setenv("CUPY_TF32", "0")
    assert computed() == int(ComputeType.COMPUTE_32F)
    monkeypatch.setenv("CUPY_TF32", "1")
    assert computed() == int(ComputeType.COMPUTE_32F_FAST_TF32)


@needs_cuda
def test_the_workspace_ends_with_the_graph(cupy):
    gc.collect()
    free, _ = cupy.cuda.runtime.memGetInfo()
    graphs = [StepGraph(CUDA) for _ in range(3)]
    with_graphs, _ = cupy.cuda.runtime.memGetInfo()
    assert free - with_graphs >= 3 * WORKSPACE_BYTES
    del graphs
    gc.collect()
    assert cupy.cuda.runtime.memGetInfo()[0] >= free


# -- captured arrays -------------------------------------------------------------------------------

OPERATIONS = {
    "arithmetic": lambda xp, x, y: (2.0 * x - y / 4.0 + (-x) ** 2.0) % 3.0 + abs(y),
    "numbers on the left": lambda xp, x, y: np.float64(2.0) - x + 1.0 / (y * y + 1.0),
    "comparisons": lambda xp, x, y: xp.where((x > y) & ~(x == 0.0) | (y != 1.0), x, y),
    "products": lambda xp, x, y: (x @ y.T) @ x + xp.matmul(x.T, y).T[:1, ...].sum(),
    "reductions": lambda xp, x, y: xp.sum(x, axis=0) + xp.max(y, axis=0, keepdims=True),
    "views": lambda xp, x, y: xp.reshape(x, (-1,))[1::2] + xp.permute_dims(y, (1, 0))[0, 0],
    "joined": lambda xp, x, y: xp.concat([x, y] * 9, axis=1) + xp.stack([x[0, 0]] * 3)[0],
    "stacked": lambda xp, x, y: xp.stack([x, y, x], axis=-1),
    "taken": lambda xp, x, y: xp.take(x, xp.asarray([1, 0, 0]), axis=0) + y[0, ...],
    "tensordot": lambda xp, x, y: (
        xp.tensordot(x, y, axes=([0, 1], [0, 1])) + xp.tensordot(x, y.T, axes=1)
    ),
    "functions": lambda xp, x, y: xp.exp(xp.tanh(x)) + xp.astype(y > 0.0, x.dtype),
    "written into": lambda xp, x, y: written(xp, x, y),
    "changed in place": lambda xp, x, y: changed(x * 1.0, y),
    "iterated": lambda xp, x, y: sum(row for row in x) + float(len(y)),
}


def written(xp, x, y):
    h = xp.zeros_like(x)
    h[:, 0] = y[:, 1]
    h[1, ...] += 2.0
    return h


def changed(h, y):
    part = h[:, :1]
    part *= 3.0
    h += y
    return h


@needs_cuda
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_captured_array_computes_what_the_array_does(cupy, name):
    x, y = (numbers((2, 3), "float64", seed) for seed in (1, 2))
    multiply = product(cupy)
    xp = CapturedNamespace(CUDA.xp, multiply)
    with multiply.stream:
        result = OPERATIONS[name](xp, *wrapped((cupy.asarray(x), cupy.asarray(y)), multiply))
    multiply.stream.synchronize()
    import array_api_compat.numpy as plain

    np.testing.assert_allclose(unwrapped(result).get(), OPERATIONS[name](plain, x, y), rtol=1e-15)
    assert xp.float32 is CUDA.xp.float32 and type(result).__name__ == "CapturedArray"


@needs_cuda
def test_captured_arrays_convert_and_say_what_they_are(cupy):
    one = wrapped(cupy.asarray(1.5), product(cupy))
    assert float(one) == 1.5 and bool(one) and one.shape == () and one.dtype == np.float64
    assert wrapped([None, (one.array, "text")], one.product)[1][1] == "text"


# -- graphs ----------------------------------------------------------------------------------------


@needs_cuda
def test_a_body_runs_twice_is_captured_and_then_launched(cupy):
    a, b = (cupy.asarray(numbers((3, 3), "float32", seed)) for seed in (1, 2))
    total = cupy.zeros((3, 3), "float32")
    calls = []
    graph = StepGraph(CUDA)

    def body():
        calls.append(graph.stream.is_capturing())
        x, y = graph.wrapped((a, b))
        total[...] = total + graph.unwrapped(x @ y)

    with graph.on_stream():
        for _ in range(5):
            graph(body)
        assert cupy.cuda.get_current_stream() == graph.stream
        with graph.on_default_stream():
            assert cupy.cuda.get_current_stream() == cupy.cuda.Stream.null
    assert calls == [False, False, True] and graph.is_captured and graph.refused == ""
    np.testing.assert_array_equal(total.get(), 5 * (a.get() @ b.get()))


@needs_cuda
def test_what_cannot_be_captured_runs_as_it_stands_and_says_why(cupy, caplog):
    x = cupy.zeros(2, "float32")
    calls = []

    def body():
        calls.append(1)
        x[...] = x + 1.0
        x.get()

    graph = StepGraph(CUDA)
    with graph.on_stream():
        for _ in range(6):
            graph(body)
    assert len(calls) == 7 and x.get().tolist() == [6.0, 6.0]
    assert not graph.is_captured and not graph.stream.is_capturing()
    [line] = caplog.messages
    assert line == f"cuda:0: {graph.refused}"
    assert "cannot be captured as a CUDA graph" in line and "D2H transfers" in line


@needs_cuda
def test_ctrl_c_during_the_capture_ends_it(cupy):
    graph = StepGraph(CUDA)

    def body():
        if graph.stream.is_capturing():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), graph.on_stream():
        for _ in range(3):
            graph(body)
    assert not graph.stream.is_capturing()


@needs_cuda
def test_an_error_of_the_body_is_not_hidden(cupy):
    def body():
        raise ValueError("a layer's own mistake")

    graph = StepGraph(CUDA)
    with pytest.raises(ValueError, match="own mistake"), graph.on_stream():
        graph(body)


@needs_cuda
def test_two_graphs_are_captured_in_two_threads_at_once(cupy):
    both, results, errors = threading.Barrier(2), {}, []

    def work(name):
        try:
            a = cupy.asarray(numbers((4, 4), "float32", name))
            out = cupy.zeros((4, 4), "float32")
            graph = StepGraph(CUDA)

            def body():
                x = graph.wrapped(a)
                if graph.stream.is_capturing():
                    both.wait(10)  # each captures while the other does
                out[...] = graph.unwrapped(x @ x)
                if graph.stream.is_capturing():
                    both.wait(10)

            with graph.on_stream():
                for _ in range(4):
                    graph(body)
            results[name] = graph.refused, np.array_equal(out.get(), a.get() @ a.get())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and results == {1: ("", True), 2: ("", True)}


def test_why_there_is_no_graph_and_what_the_devices_say(monkeypatch):
    from bp_arrays.execution.cuda import _graph

    assert "CuPy" in why_no_graph(bp.device("cpu"))
    monkeypatch.setattr(_graph.importlib.util, "find_spec", lambda name: None)
    assert "pip install nvmath-python" in why_no_graph(bp.device("cuda"))
    assert path_of(bp.device("cuda")).startswith("plain, operation by operation: CUDA graphs need")
    monkeypatch.setattr(_graph.importlib.util, "find_spec", lambda name: object())
    assert why_no_graph(bp.device("cuda")) == ""
    assert path_of(bp.device("cuda")) == "whole steps as CUDA graphs"
