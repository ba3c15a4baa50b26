"""Covers: CuPy's namespace reads nothing on the host; whole steps are captured as CUDA graphs."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.kernels import erfc, random_bits, random_mask

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
if not bp.device("cuda").availability().usable:
    pytest.skip("no CUDA device", allow_module_level=True)

CUDA = bp.device("cuda")
X = np.array([[-np.inf, -2.0, -0.0, 0.5], [3.0, np.inf, np.nan, -1e30]])

FUNCTIONS = {
    "abs": lambda xp, x: xp.abs(x),
    "arange": lambda xp, x: xp.arange(5, dtype=xp.int32, device=CUDA.native),
    "argmax": lambda xp, x: xp.argmax(x, axis=-1),
    "astype": lambda xp, x: xp.astype(x > 0.0, x.dtype),
    "broadcast_to": lambda xp, x: xp.broadcast_to(x[:1], (3, 4)),
    "clip": lambda xp, x: xp.clip(x, -1.0, 1.0),
    "clip, arrays": lambda xp, x: xp.clip(x, x - 1.0, x + 1.0),
    "clip, one side": lambda xp, x: xp.clip(x, max=1.0),
    "concat": lambda xp, x: xp.concat([x, x], axis=0),
    "erfc": lambda xp, x: erfc(x, xp=xp),
    "exp": lambda xp, x: xp.exp(x),
    "expm1": lambda xp, x: xp.expm1(x),
    "floor": lambda xp, x: xp.floor(x),
    "full": lambda xp, x: xp.full((2,), 0.5, dtype=x.dtype, device=CUDA.native),
    "isnan": lambda xp, x: xp.isnan(x),
    "log": lambda xp, x: xp.log(xp.abs(x)),
    "log1p": lambda xp, x: xp.log1p(xp.abs(x)),
    "logical_and": lambda xp, x: xp.logical_and(x > 0.0, x < 1.0),
    "max": lambda xp, x: xp.max(x, axis=-1, keepdims=True),
    "maximum": lambda xp, x: xp.maximum(x, 0.0),
    "mean": lambda xp, x: xp.mean(x, axis=0),
    "minimum": lambda xp, x: xp.minimum(x, 0.0),
    "permute_dims": lambda xp, x: xp.permute_dims(x, (1, 0)),
    "random_bits": lambda xp, x: random_bits((1, 2), 5, STEP, device=None, xp=xp),
    "random_mask": lambda xp, x: random_mask((1, 2), (3, 5), STEP, 9**5, device=None, xp=xp),
    "reshape": lambda xp, x: xp.reshape(x, (4, 2)),
    "sign": lambda xp, x: xp.sign(x),
    "sqrt": lambda xp, x: xp.sqrt(xp.abs(x)),
    "square": lambda xp, x: xp.square(x),
    "stack": lambda xp, x: xp.stack([x, x]),
    "sum": lambda xp, x: xp.sum(x),
    "tanh": lambda xp, x: xp.tanh(x),
    "var": lambda xp, x: xp.var(x, axis=0),
    "where": lambda xp, x: xp.where(x > 0.0, x, 0.0),
    "zeros_like": lambda xp, x: xp.zeros_like(x),
}
"""Every function of the namespace that the maths uses, and some that layers will."""

STEP = cupy.zeros(1, dtype=cupy.int32)


def captured(call, x):
    """The result of a call that is captured; CUDA refuses what needs the host meanwhile."""
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        call(CUDA.xp, x)  # compiles
        stream.begin_capture()
        try:
            y = call(CUDA.xp, x)
        finally:
            graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        return CUDA.to_numpy(y)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_the_maths_calls_reads_the_host(name, dtype):
    call, x = FUNCTIONS[name], CUDA.asarray(X, dtype)
    np.testing.assert_array_equal(captured(call, x), CUDA.to_numpy(call(CUDA.xp, x)))


@pytest.mark.parametrize("loss", [bp.MeanAbsoluteError(), bp.Huber(0.5)])
def test_a_loss_and_its_gradient_are_captured(loss, dtype):
    ctx = bp.Context(CUDA.xp, CUDA.native)
    t = CUDA.asarray(np.nan_to_num(X, posinf=1.0, neginf=-1.0), dtype)

    def gradient(xp, x):
        return loss.forward(x, t, ctx)[1]()

    x = CUDA.asarray(np.ones_like(X), dtype)
    np.testing.assert_array_equal(captured(gradient, x), CUDA.to_numpy(gradient(CUDA.xp, x)))


def test_sign_and_clip_are_those_of_the_standard(dtype):
    import array_api_compat.numpy as reference

    x, xp = CUDA.asarray(X, dtype), CUDA.xp
    host = X.astype(dtype)
    np.testing.assert_array_equal(CUDA.to_numpy(xp.sign(x)), reference.sign(host))
    for bounds in ((-1.0, 1.0), (None, 0.0), (2, None), (None, None), (np.nan, None), (3.0, 1.0)):
        y = xp.clip(x, *bounds)
        assert y.dtype == x.dtype and y is not x
        np.testing.assert_array_equal(CUDA.to_numpy(y), reference.clip(host, *bounds))
    whole = np.array([-300, 0, 7, 300], np.int16)
    for bounds in ((-5, 5), (0, 2**40), (-(2**40), 3), (None, 0)):
        y = xp.clip(CUDA.asarray(whole), *bounds)
        assert y.dtype == np.int16
        np.testing.assert_array_equal(CUDA.to_numpy(y), reference.clip(whole, *bounds))


def test_a_dropout_is_few_kernels_of_a_captured_step():
    """Its mask one, its product one, one more to bring the step to int32."""
    net = bp.Dropout(0.5)
    stream = bp.random.Stream(CUDA.xp, CUDA.native, 0, STEP)
    x = CUDA.asarray(np.ones((8, 9)), "float32")

    def forward(xp, x):
        stream.restart(STEP)
        ctx = bp.Context(xp, CUDA.native, training=True, random=stream)
        return net.forward({}, x, ctx)[0]

    y = captured(forward, x)
    np.testing.assert_array_equal(y, CUDA.to_numpy(forward(CUDA.xp, x)))
    queue = cupy.cuda.Stream(non_blocking=True)
    with queue, cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        queue.begin_capture()
        forward(CUDA.xp, x)
        graph = queue.end_capture()
    if hasattr(graph, "debug_dot_str"):  # 149 in standard forms
        assert 0 < graph.debug_dot_str().count("label=") <= 5
