"""Compiled loops in place of a step's operations: the same bits, in fewer operations.

Covers: which operations share a loop, what the loop computes, its use in training.
"""

from __future__ import annotations

import ctypes
import io
import logging
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import bp_arrays as bp
from bp_arrays.execution import (
    Arena,
    FusedSteps,
    Program,
    StepRecorder,
    _background,
    copied,
    fast_numpy as xp,
)
from bp_arrays.execution._background import numba_module
from bp_arrays.execution._fused_loops import LoopGroup, LoopSource
from bp_arrays.execution._instructions import Instruction
from bp_arrays.execution._loop_groups import groups_of
from bp_arrays.training.runners._reuse import recordings

pytest.importorskip("numba", reason="Numba is not installed")

F = np.float32


def mean(values):
    return xp.sum(values, axis=-1, keepdims=True) / values.shape[-1]


def layer_norm(x, g, b):
    d = x - mean(x)
    r = 1.0 / xp.sqrt(mean(d * d) + 1e-5)
    n = d * r
    return n * g + b, n


def layer_norm_backward(delta, n, g):
    dn = delta * g
    return dn - mean(dn) - n * mean(dn * n), xp.sum(delta * n, axis=0), xp.sum(delta, axis=0)


def softmax(s):
    keep = np.tri(s.shape[-1], dtype=bool)
    s = xp.where(keep, s * 0.5, -np.inf)
    e = xp.exp(s - xp.max(s, axis=-1, keepdims=True))
    return e / xp.sum(e, axis=-1, keepdims=True)


def gates(a):
    i, f, o = a[:, :64], a[:, 64:128], a[:, 128:]
    c = (f * (1.0 - f)) * i + o
    return c, xp.concat([c * i, c * f], axis=1)


def stacked(x, y):
    lines = [xp.stack([x * k + y, x - k * y], axis=3) for k in (2.0, 3.0)]
    return xp.reshape(xp.stack(lines, axis=2), (3, 8, 10, 6))


def joined_and_read(x, y):
    a, b = x + y * 2.0, x - y * 2.0
    return xp.concat([a, b], axis=0), xp.concat([b * 0.5 + 1.0, x + 1.0], axis=1), xp.exp(b)


def logistic(a):
    e = xp.exp(-xp.abs(a))
    return xp.where(a >= 0.0, 1.0, e) / (1.0 + e)


def choices(a, b):
    both = xp.logical_and(a > b, xp.logical_not(b > 1.0))
    either = xp.logical_or(both, a == b)
    return xp.astype(either, a.dtype) * a + xp.minimum(xp.maximum(a, b), 1.0), either


def shared(x):
    y = x * 2.0 + 1.0
    z = y * y - x
    return xp.matrix_transpose(z) @ y, xp.sum(z, axis=-1)


def many(a, b, c, d, e, f):
    x, y, z = a * b + c, d * e - f, a * f
    u = x + y
    v = u * z + x
    w = v - y * u
    return x, y, z, u, v, w


def unrelated(a, b):
    return a[::2, ...] + 1.0, xp.reshape((b * 2.0 + 1.0) * b, (64, 96)) * 0.5, (b - 1.0) * 2.0


def pooled(x, delta):
    parts = [x[:, i::2, j::2, :] for i in (0, 1) for j in (0, 1)]
    y = xp.maximum(xp.maximum(xp.maximum(parts[0], parts[1]), parts[2]), parts[3])
    hit = parts[1] == y
    first = xp.logical_and(hit, xp.logical_not(parts[0] == y))
    return y, xp.where(first, delta, 0.0)


def mean_of_sums(x):
    return xp.sum(xp.sum(x * x, axis=-1)) * 0.5


def classes(x):
    t = xp.astype(xp.asarray(np.arange(5)[:, None] % 3 == np.arange(9)), x.dtype)
    terms = t * xp.where(t != 0.0, x, 0.0)
    return t - x, -xp.sum(terms, axis=-1)


def after_a_product(x, w):
    y = xp.where(x > 0.0, x * 2.0, 0.0)
    return y @ w, xp.sum(y, axis=0), xp.sum(y, axis=1)


def around_products(delta, n, g):
    column = xp.reshape(g, (-1, 1))
    dn = delta * g
    mean_dn = delta @ column / g.shape[0]
    product = delta * n
    mean_dn_n = product @ column / g.shape[0]
    return dn - mean_dn - n * mean_dn_n, xp.sum(product, axis=0)


def masked(s, keys):
    return xp.where((keys > 0.0)[:, None, None, :], s * 0.5, -np.inf) - 1.0


CASES = {
    "pooled quarters": (pooled, 1, 1, (3, 8, 24, 32), (3, 4, 12, 32)),
    "a mask for each sample": (masked, 2, 2, (3, 2, 8, 64), (3, 64)),
    "layer norm": (layer_norm, 5, 1, (5, 12, 83), (83,), (83,)),
    "layer norm of long rows": (layer_norm, 5, 1, (9, 700), (700,), (700,)),
    "its backward": (layer_norm_backward, 5, 1, (96, 64), (96, 64), (64,)),
    "softmax with a mask": (softmax, 5, 3, (3, 4, 24, 24)),
    "gates in columns": (gates, 2, 1, (40, 192)),
    "stacked twice": (stacked, 5, 2, (3, 4, 5, 6), (3, 4, 5, 6)),
    "joined and read": (joined_and_read, 4, 4, (7, 5), (7, 5)),
    "logistic": (logistic, 3, 3, (40, 65)),
    "choices": (choices, 2, 1, (40, 65), (40, 65)),
    "read by a product": (shared, 2, 3, (50, 60)),
    "many arrays": (many, 6, 1, *[(40, 64)] * 6),
    "two shapes": (unrelated, 3, 4, (80, 64), (96, 64)),
    "sums": (lambda x: (xp.sum(x, axis=-1), xp.max(x, axis=-1)), 1, 1, (9, 9)),
    "a sum": (lambda x: xp.sum(x, axis=-1, keepdims=True), 1, 1, (3, 2)),
    "a mean of sums": (mean_of_sums, 1, 1, (140, 3)),
    "a loss of classes": (classes, 1, 1, (5, 9)),
    "sums after a product": (after_a_product, 2, 2, (33, 10), (10, 4)),
    "around products": (around_products, 4, 4, (20, 8), (20, 8), (8,)),
    "choices of zeros": (lambda a, b: 1.0 / xp.maximum(a, b) + 1.0 / xp.minimum(b, a), 1, 1,
                         (6, 7), (6, 7)),
}  # fmt: skip


def programs(function, shapes, dtype):
    """Return the plain and the fused program of a function, its results, and the plan."""
    recorder = StepRecorder()
    operands = [recorder.memory(shape, dtype) for shape in shapes]
    results = function(*operands)
    results = [r.slot for r in (results if isinstance(results, tuple) else (results,))]
    bound = [operand.slot for operand in operands]

    def program(instructions):
        return Program(
            instructions, [], arguments=[], bound=bound, results=results, written=[], arena=Arena()
        )

    plain = program(recorder.instructions)
    fused = FusedSteps(plain.steps, [], results)
    fused.wait()
    assert fused.steps is not None
    return plain, program(fused.steps[0]), results, bound


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float32") for name in CASES), ("layer norm", "float64")]
)
def test_a_loop_computes_the_same_bits(name, precision):
    function, _, most, *shapes = CASES[name]
    plain, fused, results, bound = programs(function, shapes, precision)
    assert len(fused.steps) <= most <= len(plain.steps)
    assert any(step.into for step in fused.steps)
    rng = np.random.default_rng(0)
    for special in ([], [np.nan], [-0.0] * 9, [np.inf, -np.inf, 0.0, -0.0, np.nan]):
        arrays = [rng.normal(size=shape).astype(precision) for shape in shapes]
        for k, array in enumerate(arrays):  # each meets others in the next array
            array.flat[: 7 * len(special)] = np.roll(special, k).tolist() * 7
        for program in (plain, fused):
            program.bind({s.name: array for s, array in zip(bound, arrays, strict=True)})
            with np.errstate(all="ignore"):
                program.forward()
        for slot in results:
            actual, expected = fused.array(slot), plain.array(slot)
            np.testing.assert_array_equal(actual, expected)
            numbers = ~np.isnan(expected)
            signs = np.signbit(actual[numbers]), np.signbit(expected[numbers])
            np.testing.assert_array_equal(*signs)


def test_operations_move_past_products_to_share_a_loop():
    _, fused, _, _ = programs(around_products, ((20, 8), (20, 8), (8,)), "float32")
    kinds = ["loop" if step.into else step.function for step in fused.steps]
    assert kinds == [np.dot, "loop", np.dot, "loop"]
    sizes = [array.nbytes for array in arrays_of(fused) if array.size > 20]
    assert sizes == [20 * 8 * 4] * 2  # the product and the result: delta * g stays in a register


def arrays_of(program):
    names = {step.result.name for step in program.steps if step.result.base is None}
    return [program._globals[name] for name in names]


def test_nothing_moves_past_an_instruction_that_overwrites_memory():
    recorder = StepRecorder()
    x, state = recorder.memory((6, 4), F), recorder.memory((6, 4), F)
    old = xp.exp(x) * state
    new = recorder.result(copied, (old + 1.0,), (6, 4), F, copied=True)
    new.slot.lies_in(state.slot, lambda whole: whole)
    late = (old * 2.0 + state) * 2.0  # the new state
    *before, last, more = groups_of(recorder.instructions, recorder.instructions, moves=True)
    names = [step.result.name for step in recorder.instructions]
    assert isinstance(last, Instruction) and last.result is new.slot
    assert isinstance(more, LoopGroup) and more.steps[-1].result is late.slot
    order = [s for item in (*before, last, more) for s in getattr(item, "steps", [item])]
    assert sorted(step.result.name for step in order) == sorted(names)
    copies = [k for k, step in enumerate(order) if step.result is new.slot]
    reads = [k for k, step in enumerate(order) if state.slot in step.operands]
    assert reads[0] < copies[0] < reads[1]


def test_a_loop_may_compare_integers_only():
    recorder = StepRecorder()
    t, numbers = recorder.argument((6, 1), np.int64), np.arange(3)
    results = [(t == numbers).slot, (t < numbers).slot]
    fused = FusedSteps(recorder.instructions, [], results)
    fused.wait()
    assert fused.steps is not None
    program = Program(
        *fused.steps, arguments=[t.slot], bound=[], results=results, written=[], arena=Arena()
    )
    program.bind({})
    classes = np.array([[0], [1], [2], [2**40], [-1], [2**62]])
    program.forward(classes)
    np.testing.assert_array_equal(program.array(results[0]), classes == numbers)
    np.testing.assert_array_equal(program.array(results[1]), classes < numbers)


def test_arguments_may_be_read_only_and_parts_of_other_arrays():
    recorder = StepRecorder()
    t, x = recorder.argument((6,), np.int32), recorder.argument((6, 4), F)
    is_target = xp.reshape(t, (6, 1)) == xp.asarray(np.arange(4, dtype=np.int32))
    result = (xp.where(is_target, x, 0.0) - 1.0).slot
    fused = FusedSteps(recorder.instructions, [], [result])
    fused.wait()
    assert fused.steps is not None and sum(bool(step.into) for step in fused.steps[0]) == 1
    arguments = [t.slot, x.slot]
    program = Program(
        *fused.steps, arguments=arguments, bound=[], results=[result], written=[], arena=Arena()
    )
    program.bind({})
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6, 8)).astype(F)
    unaligned = np.frombuffer(b"0" + wide.tobytes(), np.uint8)[1:].view(F).reshape(6, 8)
    for numbers in (wide[:, :4].copy(), wide[:, ::2], wide[::-1, 4:], unaligned[:, :4]):
        for classes in (np.arange(12, dtype=np.int32)[::2] % 4, np.arange(6, dtype=np.int32) % 4):
            classes.flags.writeable = False
            program.forward(classes, numbers)
            expected = np.where(classes[:, None] == np.arange(4), numbers, F(0.0)) - F(1.0)
            np.testing.assert_array_equal(program.array(result), expected)


LEFT_TO_NUMPY = {
    "one row": (lambda a: (a + 1.0) * 2.0, (1, 64)),
    "integers": (lambda a: (xp.astype(a, np.int32) + 1) * 2, (64, 64)),
    "one operation": (lambda a: a + 1.0, (64, 64)),
    "two precisions": (lambda a: xp.astype(a + 1.0, np.float64) * 2.0, (64, 64)),
    "functions of their own": (lambda a: xp.tanh(xp.exp(a)), (64, 64)),
    "another order": (lambda a: (a + 1.0).T * a, (64, 64)),
}


@pytest.mark.parametrize("name", LEFT_TO_NUMPY)
def test_left_to_numpy(name):
    function, *shapes = LEFT_TO_NUMPY[name]
    recorder = StepRecorder()
    result = function(*(recorder.memory(shape, F) for shape in shapes))
    fused = FusedSteps(recorder.instructions, [], [result.slot])
    fused.wait()
    assert fused.steps is None


# -- in training -------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(128, 40)), RNG.integers(0, 3, 128)
NET = bp.Sequential(
    bp.Linear(64), bp.GELU(), bp.Residual(bp.Linear(64), bp.Tanh()), bp.Linear(3)
)  # fmt: skip


def trained(loops, dtype="float32", **settings):
    """Return the parameters after three steps, the second and third of them with loops.

    With one BLAS thread: on some processors the bits of a product depend on their number.
    """
    with threadpool_limits(1, user_api="blas"):
        return _trained(loops, dtype, **settings)


def _trained(loops, dtype, **settings):
    recordings.clear()  # other tests may have compiled this step
    model = bp.Model(NET, 40, device="cpu", dtype=dtype, seed=3)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01), **settings)
    for number in range(3):
        trainer.step(X, CLASSES)
        if loops and number == 0:
            [recorded] = trainer.runner.recorded.values()
            recorded.fused.wait()
            assert recorded.fused.steps is not None
    if loops:
        [recorded] = trainer.runner.recorded.values()
        assert recorded.fused is None
        assert any(step.into for step in recorded.program.steps)
    return model.vector


def test_training_with_loops_gives_the_same_bits(dtype):
    np.testing.assert_array_equal(trained(True, dtype), trained(False, dtype))
    np.testing.assert_array_equal(trained(True, dtype), trained(False, dtype, compiled=False))


def test_loops_that_differ_are_not_used(monkeypatch, caplog):
    instructions = LoopSource.instructions

    def wrong(self, loop, numbers):
        def shifted(table, *arguments):
            loop(table, *arguments)
            address = int(table[-2])  # of the last result
            ctypes.c_float.from_address(address).value += 1.0

        return instructions(self, shifted, numbers)

    monkeypatch.setattr(LoopSource, "instructions", wrong)
    with pytest.raises(AssertionError):
        trained(True)
    assert "differ from NumPy" in caplog.text
    recordings.clear()  # the loops that differ


def test_loops_that_fail_are_not_used(monkeypatch, caplog):
    instructions = LoopSource.instructions

    def wrong(self, loop, numbers):
        def fails(*arguments):
            loop(*arguments)
            raise MemoryError("no memory left")

        return instructions(self, fails, numbers)

    usual = trained(False)
    recordings.clear()
    monkeypatch.setattr(LoopSource, "instructions", wrong)
    model = bp.Model(NET, 40, device="cpu", dtype="float32", seed=3)
    trainer = bp.Trainer(model, loss=bp.CrossEntropy(), optimizer=bp.Adam(0.01))
    trainer.step(X, CLASSES)
    [recorded] = trainer.runner.recorded.values()
    recorded.fused.wait()
    for _ in range(2):
        trainer.step(X, CLASSES)
    np.testing.assert_array_equal(model.vector, usual)
    assert recorded.fused is None and "no memory left" in caplog.text
    recordings.clear()  # the loops that fail
    assert not any(step.into for step in recorded.program.steps)


def test_without_a_thread_numpy_continues(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "bp_arrays")

    def fails(thread):
        raise RuntimeError("can't start new thread")

    recorder = StepRecorder()
    result = (recorder.memory((64, 64), F) + 1.0) * 2.0
    fused = FusedSteps(recorder.instructions, [], [result.slot])
    with monkeypatch.context() as patched:
        patched.setattr("threading.Thread.start", fails)
        for _ in range(2):
            fused.spend(1e6)
    fused.wait()
    assert fused.steps is None and caplog.text.count("can't start new thread") == 1
    assert not _background.running_threads


def test_without_a_compiler_numpy_continues(monkeypatch):
    monkeypatch.setattr("bp_arrays.execution._fused_steps.has_compiler", lambda: False)
    fused = FusedSteps([], [], [])
    fused.spend(1e6)
    fused.wait()
    assert fused.steps is None


def test_a_failure_of_the_compiler_is_logged(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "bp_arrays")

    def fails(source):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr("bp_arrays.execution._fused_steps.compiled_loop", fails)
    recorder = StepRecorder()
    result = (recorder.memory((64, 64), F) + 1.0) * 2.0
    fused = FusedSteps(recorder.instructions, [], [result.slot])
    fused.wait()
    assert fused.steps is None and "no such instruction" in caplog.text


def test_loops_are_compiled_when_the_steps_have_cost_as_much():
    recorder = StepRecorder()
    x = recorder.memory((64, 64), F)
    result = (x + 1.0) * x
    fused = FusedSteps(recorder.instructions, [], [result.slot])
    fused.spend(0.05)
    assert fused.steps is None and fused._thread is None
    for _ in range(200):
        fused.spend(0.5)
        if fused._thread is not None:
            fused._thread.join()
        if fused.steps is not None:
            break
    assert fused.steps is not None


def test_output_is_not_replaced_while_numba_compiles(monkeypatch):
    errors = pytest.importorskip("numba.core.errors")
    if not hasattr(errors, "ColorShell"):
        pytest.skip("colorama is not installed")
    numba = numba_module()
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stdout", replaced)
    with pytest.raises(numba.core.errors.TypingError):
        numba.njit("void(int64)")(lambda number: number.nothing)
    assert sys.stdout is replaced
