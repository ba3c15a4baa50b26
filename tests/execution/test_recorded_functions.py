"""How each function of the namespace is recorded, and that it is replayed with other numbers.

Covers: operations written straight into planned memory, views, copied results, refusals, native
forms of kernels.
"""

from __future__ import annotations

import numpy as np
import pytest

from bp_arrays import kernels
from bp_arrays.devices import device
from bp_arrays.execution import Arena, Program, Recorded, StepRecorder, fast_numpy as xp
from bp_arrays.trees import leaves

F, I, B = np.float32, np.int64, np.bool_  # noqa: E741
X2, X3, X4 = ((6, 8), F), ((4, 6, 8), F), ((2, 4, 6, 8), F)
IDS, IDS2, MASK = ((5,), I), ((2, 3), I), ((4, 6, 8), B)
BIG = ((12, 4, 20, 20), F)

OUT = {
    "product": (lambda a, b: a @ b.T, X2, X2),
    "product of 3 dimensions": (lambda a, b: a @ b.mT, X3, X3),
    "product of 4 dimensions": (lambda a, b: a @ xp.matrix_transpose(b), X4, X4),
    "batched times one matrix": (lambda a, b: a @ b, X3, ((8, 5), F)),
    "matmul of integers": (lambda a: xp.matmul(a[:, None], a[None, :]), IDS),
    "product with a vector": (lambda a, b: a @ b, X3, ((8,), F)),
    "vecdot": (lambda a, b: xp.vecdot(a, b), X3, X3),
    "vecdot over an axis": (lambda a, b: xp.vecdot(a, b, axis=0), X3, X3),
    "reshape of permuted": (lambda a: xp.reshape(xp.permute_dims(a, (0, 2, 1, 3)), (48, 8)), X4),
    "reshape of flipped": (lambda a: xp.reshape(xp.flip(a, axis=1), (24, 8)), X3),
    "mean": (lambda a: xp.mean(a, axis=-1, keepdims=True), X3),
    "mean over two axes": (lambda a: xp.mean(a, axis=(0, 1)), X3),
    "mean of all": (lambda a: xp.mean(a), X3),
    "numpy's mean": (lambda a: np.mean(a, axis=0), X3),
    "mean of halves": (lambda a: xp.mean(a, axis=-1), ((4, 6), np.float16)),
    "var": (lambda a: xp.var(a, axis=-1, correction=1.0), X3),
    "std": (lambda a: xp.std(a, axis=0, keepdims=True), X3),
    "min": (lambda a: xp.min(a, axis=-1), X3),
    "max over axes": (lambda a: xp.max(a, axis=(2, 3)), X4),
    "prod": (lambda a: xp.prod(a, axis=-1), X3),
    "any": (lambda a: xp.any(a, axis=-1), MASK),
    "all": (lambda a: xp.all(a > -1.0, axis=(0, 1), keepdims=True), X3),
    "concat": (lambda a, b: xp.concat([a, b, a], axis=-1), X2, X2),
    "concat of all": (lambda a, b: xp.concat([a, b], axis=None), X2, X3),
    "concat of two dtypes": (lambda a, b: xp.concat([a, b], axis=0), X2, ((3, 8), np.float64)),
    "padding": (lambda a: xp.concat([xp.zeros((4, 1, 8), dtype=F), a], axis=1), X3),
    "stack": (lambda a, b: xp.stack([a, b], axis=1), X2, X2),
    "stack at the end": (lambda a, b: xp.stack([a, b * 2.0, b], axis=-1), X2, X2),
    "take": (lambda a, i: xp.take(a, i, axis=0), X2, IDS),
    "take of columns": (lambda a, i: xp.take(a, i, axis=-1), X3, IDS),
    "take with a constant": (lambda a: xp.take(a, np.array([3, 0, 3]), axis=0), X2),
    "take from a constant": (lambda i: xp.take(np.arange(9.0), i), IDS2),
    "where": (lambda a, b: xp.where(a > b, a, b), X3, X3),
    "where with a number": (lambda a: xp.where(a > 0.0, a, float("-inf")), X3),
    "where with a causal mask": (lambda a: xp.where(np.tri(20, dtype=bool), a, -np.inf), BIG),
    "where of many numbers": (lambda a, b: xp.where(a > b, a, b), BIG, BIG),
    "one number or many": (
        lambda a, b: xp.where(a > b, 1.0, a) - xp.where(a > b, b, 2.0),
        BIG,
        BIG,
    ),
    "where with a mask of rows": (lambda a, m: xp.where(m, a, 0.0), X3, ((6, 1), B)),
    "where of integers": (lambda i: xp.where(i > 2, i, -1), IDS),
    "where of two dtypes": (lambda a, b: xp.where(a > 0.0, a, b), X2, ((6, 8), np.float64)),
    "argmax": (lambda a: xp.argmax(a, axis=-1), X3),
    "argmin": (lambda a: xp.argmin(a, axis=1, keepdims=True), X3),
    "clip": (lambda a: xp.clip(a, -0.5, 0.5), X3),
    "clip without bounds": (lambda a: xp.clip(a), X3),
    "clip from above": (lambda a: xp.clip(a, max=0.25), X3),
    "clip by arrays": (lambda a, b: xp.clip(a, b, b + 1.0), X3, X2),
    "clip of integers": (lambda i: xp.clip(i, 1, 2**70), IDS),
    "numpy's clip": (lambda a: np.clip(a, -0.5, 0.5), X3),
    "cumulative_sum": (lambda a: xp.cumulative_sum(a, axis=1), X3),
    "cumulative_sum from 0": (lambda a: xp.cumulative_sum(a, axis=0, include_initial=True), X2),
    "cumulative_sum of a mask": (lambda m: xp.cumulative_sum(m, axis=1), MASK),
    "cumulative_sum in a dtype": (lambda i: xp.cumulative_sum(i, dtype=xp.float32), IDS),
    "cumulative_prod": (lambda a: xp.cumulative_prod(a, axis=-1), X3),
    "roll": (lambda a: xp.roll(a, 2, axis=1), X3),
    "tile": (lambda a: xp.tile(a, (2, 1, 3)), X2),
    "tril": (lambda a: xp.tril(a, k=-1), X3),
    "triu": (lambda a: xp.triu(a), X3),
    "a dtype for the result": (lambda a, b: np.add(a, b, dtype=np.float64), X2, X2),
    "elementwise": (lambda a: xp.tanh(a) + xp.log1p(xp.square(a)), X3),
    "astype": (lambda a: xp.astype(a > 0.0, F), X3),
}
VIEW = {
    "permute_dims": (lambda a: xp.permute_dims(a, (0, 2, 1, 3)), X4),
    "moveaxis": (lambda a: xp.moveaxis(a, 1, -1), X4),
    "swapaxes": (lambda a: np.swapaxes(a, 1, 2), X4),
    "matrix_transpose": (lambda a: xp.matrix_transpose(a), X4),
    "mT": (lambda a: a.mT, X4),
    "flip": (lambda a: xp.flip(a, axis=(0, 2)), X3),
    "expand_dims": (lambda a: xp.expand_dims(a, axis=1), X2),
    "squeeze": (lambda a: xp.squeeze(a, axis=0), ((1, 4), F)),
    "broadcast_to": (lambda a: xp.broadcast_to(a, (4, 6, 8)), X2),
    "broadcast_arrays": (lambda a, b: xp.broadcast_arrays(a, b)[1], X3, X2),
    "reshape": (lambda a: xp.reshape(a, (8, -1)), X4),
    "reshape of rows": (lambda a: xp.reshape(a[1:3, ...], (2, 48)), X3),
    "heads of columns": (lambda a: xp.reshape(a[:, :4], (3, 2, 2, 2)), X2),
    "part": (lambda a: a[:, 1:3, ::2, :], X4),
    "one number": (lambda a: a[1, 2], X2),
    "unstack": (lambda a: xp.unstack(a, axis=1)[2], X3),
    "split": (lambda a: np.split(a, 3, axis=1)[1], X3),
    "split in uneven parts": (lambda a: np.array_split(a, 3, axis=0)[0], X3),
    "split by a NumPy integer": (lambda a: np.split(a, np.int64(3), axis=1)[1], X3),
    "split at places": (lambda a: np.split(a, [1, 4], axis=-1)[2], X3),
    "new axis": (lambda a: a[None, ..., None], X2),
}
COPIED = {
    "take_along_axis": (lambda a, i: xp.take_along_axis(a, i, axis=-1), ((2, 8), F), IDS2),
    "indices": (lambda a, i: a[i], X2, IDS),
    "sort": (lambda a: xp.sort(a, axis=0), X2),
    "argsort": (lambda a: xp.argsort(a, axis=-1), X2),
    "searchsorted": (lambda a: xp.searchsorted(np.array([-1.0, 0.0, 1.0]), a), ((7,), F)),
    "count_nonzero": (lambda m: xp.count_nonzero(m, axis=-1), MASK),
    "tensordot": (lambda a, b: xp.tensordot(a, b, axes=((1, 2), (1, 2))), X3, X3),
    "repeat": (lambda a: xp.repeat(a, 2, axis=1), X3),
    "mean of integers": (lambda i: xp.mean(i), IDS),
    "zeros_like": (lambda a: xp.zeros_like(a), X3),
}


def set_part(a):
    y = xp.zeros((4, 8, 8), dtype=F)
    y[:, 1:7, :] = a
    return y


def add_to_part(a):
    y = a + 0.0
    y[:, 1:3, :] += a[:, 1:3, :]
    return y


REFUSED = {
    "an assignment to a part": (set_part, X3),
    "an addition to a part": (add_to_part, X3),
    "nonzero": (lambda a: xp.nonzero(a), X3),
    "a boolean mask": (lambda a: a[a > 0.0], X3),
    "repeats in an array": (lambda a, i: xp.repeat(a, i, axis=0), ((5, 2), F), IDS),
    "add.at": (lambda a, i: np.add.at(a, i, 1.0), X2, IDS),
    "add.reduceat": (lambda a: np.add.reduceat(a, [0, 2], axis=0), X2),
    "a number": (lambda a: float(a[0, 0, 0]), X3),
    "two results": (lambda a: np.modf(a), X3),
    "histogram": (lambda a: np.histogram(a), X3),
}


def recorded(function, *specs, arguments=False):
    """Record a function of arrays; return its result, the operations and the operands."""
    recorder = StepRecorder()
    make = recorder.argument if arguments else recorder.memory
    operands = [make(shape, dtype) for shape, dtype in specs]
    return function(*operands), recorder.instructions, operands


def replayed(result, instructions, operands, arrays):
    """Run the operations on arrays; return a copy of the result."""
    arguments = [o.slot for o in operands if o.slot.kind == "argument"]
    bound = [o.slot for o in operands if o.slot.kind == "memory"]
    program = Program(
        instructions, [], arguments=arguments, bound=bound, results=[result.slot], written=[],
        arena=Arena(),
    )  # fmt: skip
    program.bind({slot.name: array for slot, array in zip(bound, arrays, strict=False)})
    program.forward(*arrays[: len(arguments)])
    return np.array(program.array(result.slot), order="C")


def drawn(rng, shape, dtype):
    if np.dtype(dtype) == I:
        return rng.integers(0, 5, shape)
    if np.dtype(dtype) == B:
        return rng.random(shape) < 0.5
    return rng.normal(size=shape).astype(dtype)


RECORDED = OUT | VIEW | COPIED


@pytest.mark.parametrize("arguments", [False, True])
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_function_gives_the_same_bits_with_other_numbers(name, arguments):
    function, *specs = RECORDED[name]
    result, instructions, operands = recorded(function, *specs, arguments=arguments)
    rng = np.random.default_rng(0)
    for _ in range(2):
        arrays = [drawn(rng, *spec) for spec in specs]
        copies = [array.copy() for array in arrays]
        expected = np.asarray(function(*arrays))
        values = replayed(result, instructions, operands, arrays)
        assert values.dtype == expected.dtype and values.shape == expected.shape
        np.testing.assert_array_equal(values, expected)
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", OUT)
def test_written_straight_into_planned_memory(name):
    _, instructions, _ = recorded(*OUT[name])
    # a copy to another dtype, or in order, needs no new memory either
    assert [i for i in instructions if i.copied and i.function.__name__ != "copied"] == []
    assert instructions


@pytest.mark.parametrize("name", VIEW)
def test_a_view_is_no_operation(name):
    _, instructions, _ = recorded(*VIEW[name])
    assert instructions == []


@pytest.mark.parametrize("name", COPIED)
def test_other_functions_are_called_and_copied(name):
    _, instructions, _ = recorded(*COPIED[name])
    assert any(i.copied for i in instructions)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    with pytest.raises(Exception):  # noqa: B017 - the runner falls back on any of them
        recorded(*REFUSED[name])


NOT_OF_ARRAYS = {"save", "savez", "savez_compressed", "savetxt", "info", "test", "show_config",
                 "show_runtime", "bmat", "run_native"}  # fmt: skip
CALLS = (
    ((X2,), {}), ((X2, X2), {}), ((X2,), {"axis": -1}), ((X2,), {"axis": (0, 1)}),
    ((((4, 4), I),), {}), ((((4, 4), B),), {}), ((X2, IDS), {"axis": 0}), ((X2, -1.0, 1.0), {}),
    ((X2, 0.5), {}), ((((6, 8), B), X2, X2), {}), ((((6, 8), B), X2, -np.inf), {}),
    ((X2,), {"axis": 0, "keepdims": True}), ((X2, (48,)), {}), ((X2, (1, 0)), {}), ((X2, 2), {}),
)  # fmt: skip


def is_array_spec(value):
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple)


def test_no_function_of_the_namespace_freezes_the_numbers_of_the_recording():
    rng, wrong, compared = np.random.default_rng(0), [], 0
    names = [n for n in vars(xp) if not n.startswith("_") and n not in NOT_OF_ARRAYS]
    functions = [(n, f) for n in names if callable(f := getattr(xp, n)) and type(f) is not type]
    for name, function in functions:
        for arguments, options in CALLS:
            if name.startswith(("empty", "zeros", "ones", "full", "arange", "eye", "linspace")):
                continue
            specs = [a for a in arguments if is_array_spec(a)]
            arrays = [drawn(rng, *spec) for spec in specs]

            def call(*operands, function=function, arguments=arguments, options=options):
                rest = iter(operands)
                return function(*(next(rest) if is_array_spec(a) else a for a in arguments),
                                **options)  # fmt: skip

            try:
                with np.errstate(all="ignore"):
                    expected = call(*arrays)
                    result, *recording = recorded(call, *specs)
            except Exception:
                continue
            if not all(isinstance(part, Recorded) for part in leaves(result)):
                if any(isinstance(part, np.ndarray) for part in leaves(expected)):
                    wrong.append((name, arguments, options, type(result)))
            elif isinstance(expected, (np.ndarray, np.generic)):
                with np.errstate(all="ignore"):
                    values = replayed(result, *recording, arrays)
                same = values.dtype == expected.dtype and values.shape == expected.shape
                if not same or not np.allclose(values, expected, rtol=1e-6, equal_nan=True):
                    wrong.append((name, arguments, options, values.dtype, values.shape))
                compared += 1
    assert wrong == []
    assert compared


@pytest.mark.parametrize("wrong", [5, -6, 2**40])
def test_a_wrong_index_is_an_error_in_a_replayed_step_too(wrong):
    recording = recorded(lambda a, i: xp.take(a, i, axis=0), ((5, 3), F), IDS)
    x, ids = np.arange(15, dtype=F).reshape(5, 3), np.array([0, 1, -5, -1, 2])
    np.testing.assert_array_equal(replayed(*recording, [x, ids]), x[ids])
    for others in (ids, abs(ids) // 2):
        others[3] = wrong
        with pytest.raises(IndexError, match="out of bounds"):
            replayed(*recording, [x, others])


def test_the_mean_is_numpys():
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float32, np.float64):
        x = rng.normal(3.0, size=(7, 33, 5)).astype(dtype)
        for axis in (None, 0, 1, -1, (0, 2)):
            expected = np.mean(x, axis=axis, keepdims=True)
            means = xp.mean(x, axis=axis, keepdims=True)
            assert means.dtype == expected.dtype
            np.testing.assert_array_equal(means, expected)


# -- native forms of kernels -------------------------------------------------------------------


@kernels.Kernel
def doubled(x, *, xp):
    return x * 2.0


@doubled.native("numpy")
def _(x, *, xp):
    assert type(x) is np.ndarray  # a native form gets NumPy's arrays, also while it is recorded
    return x + x


@kernels.Kernel
def row_sums(ids, x, rows, *, xp):
    raise AssertionError("NumPy has a form of its own")


@row_sums.native("numpy")
def _(ids, x, rows, *, xp, out=None):
    out = xp.zeros((rows, x.shape[1]), dtype=x.dtype) if out is None else out
    out[...] = 0.0
    np.add.at(out, ids, x)
    return out


@kernels.Kernel
def sum_and_difference(pair, *, xp):
    raise AssertionError("NumPy has a form of its own")


@sum_and_difference.native("numpy")
def _(pair, *, xp):
    x, y = pair
    return x + y, x - y


@kernels.Kernel
def quotient_and_rest(x, *, by, xp):
    raise AssertionError("NumPy has a form of its own")


@quotient_and_rest.native("numpy")
def _(x, *, by, xp, out=(None, None)):
    return np.divmod(x, by, out=out)


NATIVE = {
    "a new array": (lambda a: doubled(a, xp=xp) + 1.0, [X2], "copyto"),
    "written into memory": (lambda a, i: row_sums(i, a, 7, xp=xp) * 2.0, [((5, 3), F), IDS], ""),
    "two new arrays": (
        lambda a, b: np.multiply(*sum_and_difference((a, b * 2.0), xp=xp)), [X2, X2], "copyto"
    ),
    "two arrays written": (
        lambda a, b: np.subtract(*quotient_and_rest(a, by=abs(b) + 1.0, xp=xp)), [X2, X2], ""
    ),
    "one of two arrays": (
        lambda a, b: quotient_and_rest(a, by=abs(b) + 1.0, xp=xp)[1] * 2.0, [X2, X2], ""
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NATIVE)
def test_the_native_form_of_a_kernel_is_one_operation(name):
    device("cpu").xp  # noqa: B018 - the namespace is that of NumPy's device
    function, specs, copies = NATIVE[name]
    result, instructions, operands = recorded(function, *specs)
    assert any(i.copied for i in instructions) == bool(copies)
    rng = np.random.default_rng(0)
    for _ in range(2):
        arrays = [drawn(rng, *spec) for spec in specs]
        values = replayed(result, instructions, operands, arrays)
        np.testing.assert_array_equal(values, function(*arrays))


def test_the_standard_form_is_recorded_where_it_is_asked_for():
    with kernels.standard_forms():
        _, instructions, _ = recorded(lambda a: doubled(a, xp=xp), X2)
    assert [i.function for i in instructions] == [np.multiply]
