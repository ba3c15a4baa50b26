"""Compiled loops of kernels in recorded steps: the same bits as the native form.

Covers: what the loop computes, from which memory, what is left to NumPy, its use in training.
"""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import Arena, FusedSteps, Program, StepRecorder, fast_numpy as xp
from bp_arrays.execution._kernel_loops import KernelLoop, has_loop
from bp_arrays.kernels import Kernel, add_rows
from bp_arrays.training.runners._reuse import recordings

pytest.importorskip("numba", reason="Numba is not installed")

NATIVE_FORM = add_rows.form(bp.device("cpu").xp)
SPECIAL = [np.nan, np.inf, -np.inf, -0.0, 0.0]


def programs(kind, n, size, features, dtype, ids_dtype="int64"):
    """Return the plain program of add_rows and that with its loop, and the result."""
    recorder = StepRecorder()
    array = recorder.argument if kind == "argument" else recorder.memory
    ids, rows = array((n, 1), np.dtype(ids_dtype)), array((n, features), np.dtype(dtype))
    flat = xp.reshape(ids, (n,))
    result = add_rows(flat, rows, size, device=None, xp=xp).slot
    slots = {
        "arguments": [ids.slot, rows.slot] if kind == "argument" else [],
        "bound": [] if kind == "argument" else [ids.slot, rows.slot],
        "results": [result],
        "written": [],
        "arena": Arena(),
    }
    fused = FusedSteps(recorder.instructions, [], [result])
    fused.wait()
    assert fused.steps is not None
    plain, looped = Program(recorder.instructions, [], **slots), Program(*fused.steps, **slots)
    assert [bool(step.into) for step in looped.steps][-1]
    return plain, looped, result


def run(program, result, kind, ids, rows):
    if kind == "argument":
        program.bind({})
        program.forward(ids, rows)
    else:
        bound = program._bound
        program.bind({slot.name: a for slot, a in zip(bound, (ids, rows), strict=True)})
        program.forward()
    return program.array(result).copy()


@pytest.mark.parametrize(
    ("n", "size", "features"), [(1, 1, 1), (40, 6, 1), (700, 9, 64), (90, 700, 5), (0, 3, 2)]
)
def test_the_loop_computes_the_same_bits(n, size, features, dtype):
    plain, looped, result = programs("memory", n, size, features, dtype)
    generator = np.random.default_rng(n)
    for special in ([], SPECIAL):
        ids = generator.integers(0, size, (n, 1))
        rows = generator.normal(size=(n, features)).astype(dtype)
        rows.flat[: len(special)] = special[: rows.size]
        with np.errstate(invalid="ignore"):
            expected, actual = (run(p, result, "memory", ids, rows) for p in (plain, looped))
        np.testing.assert_array_equal(actual, expected)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


def test_arguments_may_be_read_only_and_parts_of_other_arrays():
    plain, looped, result = programs("argument", 6, 4, 3, "float32", "int32")
    wide = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    unaligned = np.frombuffer(b"0" + wide.tobytes(), np.uint8)[1:].view(np.float32).reshape(6, 6)
    classes = np.arange(12, dtype=np.int32)[::2].reshape(6, 1) % 4
    classes.flags.writeable = False
    for ids in (classes, classes.copy()):
        for rows in (wide[:, :3].copy(), wide[:, ::2], wide[::-1, 3:], unaligned[:, :3]):
            expected = run(plain, result, "argument", ids, rows)
            np.testing.assert_array_equal(run(looped, result, "argument", ids, rows), expected)


@pytest.mark.parametrize("outside", [-1, 4, 2**40])
def test_an_index_outside_the_table_writes_nowhere(outside):
    _, looped, result = programs("memory", 3, 4, 2, "float32")
    ids, rows = np.array([[0], [outside], [1]]), np.ones((3, 2), np.float32)
    with pytest.raises(IndexError, match="outside the table"):
        run(looped, result, "memory", ids, rows)


LEFT_TO_NUMPY = {
    "half precision": ("float16", "int64", lambda rows: rows),
    "uint64": ("float32", "uint64", lambda rows: rows),
    "rows in other memory": ("float32", "int64", lambda rows: rows[:, ::2]),
}


@pytest.mark.parametrize("name", LEFT_TO_NUMPY)
def test_left_to_numpy(name):
    dtype, ids_dtype, part = LEFT_TO_NUMPY[name]
    recorder = StepRecorder()
    ids, rows = recorder.memory((6,), np.dtype(ids_dtype)), recorder.memory((6, 4), np.dtype(dtype))
    result = add_rows(ids, part(rows), 300, device=None, xp=xp).slot
    fused = FusedSteps(recorder.instructions, [], [result])
    fused.wait()
    assert fused.steps is None


def source_of(loop):
    """Return the source that calls the loop of a kernel, for a vector of four numbers."""

    @Kernel
    def scaled(x, *, xp):
        return x * 2.0

    scaled.native("numpy")(lambda x, *, xp: x * 2.0)
    scaled.loop("numpy")(loop)
    recorder = StepRecorder()
    scaled(recorder.memory((4,), np.dtype(np.float32)), xp=xp)
    [step] = recorder.instructions
    assert has_loop(step)
    return KernelLoop(step).text


def test_a_loop_that_changed_is_another_source():
    def first(out, x):
        out[:] = x * 2.0

    def second(out, x):
        out[:] = x * 3.0

    second.__name__ = first.__name__
    assert source_of(first) != source_of(second)
    assert source_of(first) == source_of(first)


def trained(loops, **settings):
    """Return the parameters after three steps, the second and third of them with loops."""
    recordings.clear()  # other tests may have compiled this step
    generator = np.random.default_rng(0)
    x, t = generator.integers(0, 50, (16, 6)), generator.integers(0, 50, (16, 6))
    net = bp.Sequential(bp.Embedding(50, 8, padding_index=3), bp.Linear(50))
    model = bp.Model(net, bp.InputSpec((6,), "index"), device="cpu", seed=3)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), **settings)
    for number in range(3):
        trainer.step(x, t)
        if loops and number == 0:
            [recorded] = trainer.runner.recorded.values()
            assert NATIVE_FORM in [step.function for step in recorded.program.steps]
            recorded.fused.wait()
    if loops:
        [recorded] = trainer.runner.recorded.values()
        assert NATIVE_FORM not in [step.function for step in recorded.program.steps]
    return model.vector


def test_training_with_the_loop_gives_the_same_bits():
    with_loop = trained(True)
    np.testing.assert_array_equal(with_loop, trained(False))
    np.testing.assert_array_equal(with_loop, trained(False, compiled=False))
