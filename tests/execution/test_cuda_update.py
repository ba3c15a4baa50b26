"""The kernel of an update: as C++ on this machine to the last bit, as PTX without merged roundings.

The operation that CuPy would wrap in a CUDA kernel is wrapped in a loop and compiled by a C++
compiler; where NVIDIA's compiler is installed, it compiles the kernel too and its PTX is read.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.execution import fused_update, update_kernel
from bp_arrays.execution._formula import traced
from bp_arrays.execution.cuda._update_kernel import kernel_of
from bp_arrays.optimizers import OPTIMIZERS, Optimizer


class Swaps(Optimizer):
    """Results that are inputs: nothing may be written before all of it is read."""

    def init(self, theta, xp):
        return xp.zeros_like(theta), xp.ones_like(theta)

    def update(self, theta, g, state, scalars, xp):
        first, second = state
        return second, (theta, first - g)


KINDS = {name: kind(0.1) for name, kind in OPTIMIZERS.items()} | {
    "SGD, Nesterov": bp.SGD(0.1, momentum=0.9, nesterov=True),
    "RMSProp, momentum": bp.RMSProp(0.1, momentum=0.9),
    "Chain": bp.Chain(bp.WeightDecay(0.1), bp.AdamW(0.1, weight_decay=0.3)),
    "Swaps": Swaps(0.1),
}
C_TYPES = {"float32": "float", "float64": "double"}


def kernel(optimizer, dtype):
    state = optimizer.init(np.zeros(1, dtype), np)
    return kernel_of(traced(optimizer.update, len(state), len(optimizer.scalars(1, 0.1)))), state


def names(parameters):
    return [parameter.split()[-1] for parameter in parameters.split(", ")]


def wrapped(made, dtype, *, cuda):
    """The kernel as CuPy makes it: constants refer to memory, results to the same memory."""
    inputs, outputs = names(made.inputs)[:-1], names(made.outputs)
    pointers = ", ".join(f"T* p_{name}" for name in inputs)
    bound = [f"const T &{name} = p_{name}[i];" for name in inputs]
    bound += [f"T &{name} = p_{name.removeprefix('new_')}_i[i];" for name in outputs]
    body = "\n".join([*bound, made.operation])
    head = f"{'' if cuda else '#include <cmath>'}\nusing std::sqrt;\ntypedef {C_TYPES[dtype]} T;\n"
    if cuda:
        return (
            f'{head.replace("using std::sqrt;", "")}extern "C" __global__ void update'
            f"({pointers}, const double* numbers, long n) "
            f"{{ long i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) {{ {body} }} }}"
        )
    return (
        f'{head}extern "C" void update({pointers}, const double* numbers, long n) '
        f"{{ for (long i = 0; i < n; i++) {{ {body} }} }}"
    )


@pytest.mark.parametrize("name", KINDS)
def test_the_same_bits_as_the_array_operations(name, dtype, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler is installed")
    optimizer, size = KINDS[name], 257
    made, _ = kernel(optimizer, dtype)
    source, library = tmp_path / "update.cpp", tmp_path / "update.so"
    source.write_text(wrapped(made, dtype, cuda=False))
    options = ["-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(["g++", *options, str(source), "-o", str(library)], check=True)
    run = ctypes.CDLL(str(library)).update
    rng = np.random.default_rng(0)
    theta = rng.normal(size=size).astype(dtype)
    vectors = [np.array(v) for v in optimizer.init(theta, np)]
    expected, expected_state = theta.copy(), optimizer.init(theta, np)
    for step in range(1, 5):
        g = rng.normal(size=size).astype(dtype)
        scalars = optimizer.scalars(step, 0.1)
        expected, expected_state = optimizer.update(expected, g, expected_state, scalars, np)
        arrays = [theta, g, *vectors, np.asarray(scalars, np.float64)]
        run(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), ctypes.c_long(size))
        np.testing.assert_array_equal(theta, expected)
        for one, other in zip(vectors, expected_state, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["Adam", "Chain", "RMSProp, momentum"])
def test_nvidias_compiler_rounds_every_operation(name, dtype, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("NVIDIA's compiler is not installed")
    made, _ = kernel(KINDS[name], dtype)
    source, ptx = tmp_path / "update.cu", tmp_path / "update.ptx"
    source.write_text(wrapped(made, dtype, cuda=True))
    subprocess.run(["nvcc", "-ptx", "--fmad=false", str(source), "-o", str(ptx)], check=True)
    operations = set(
        re.findall(r"\b(fma|mad|div|sqrt|rcp|rsqrt)\.(\S+)\.f(?:32|64)", ptx.read_text())
    )
    assert {("div", "rn"), ("sqrt", "rn")} <= operations
    assert not {kind for kind, _ in operations} & {"fma", "mad", "rcp", "rsqrt"}
    assert all(rounding == "rn" for _, rounding in operations)


def test_what_is_no_arithmetic_of_elements_has_no_kernel():
    clipped = bp.Chain(bp.ClipByGlobalNorm(1.0), bp.SGD(0.1))
    assert update_kernel(clipped.update, 0, 1, "float32", elementwise=False) is None
    assert update_kernel(clipped.update, 0, 1, "float32", elementwise=True) is None
    assert update_kernel(bp.SGD(0.1).update, 0, 1, "float16", elementwise=True) is None


def test_cupy_is_given_the_kernel_and_writes_over_what_it_reads(monkeypatch):
    import sys
    import types

    given = {}

    def elementwise_kernel(inputs, outputs, operation, name, options):
        given.update(inputs=inputs, outputs=outputs, options=options)
        return lambda *arrays: given.update(arrays=arrays)

    fake = types.SimpleNamespace(ElementwiseKernel=elementwise_kernel)
    monkeypatch.setitem(sys.modules, "cupy", fake)
    run = update_kernel(bp.Adam().update, 2, 3, "float32", elementwise=True)
    assert run is not None
    run("theta", "g", ("m", "v"), "numbers")
    assert given["arrays"] == ("theta", "g", "m", "v", "numbers", "theta", "m", "v")
    assert given["inputs"] == "T theta_i, T g_i, T s0_i, T s1_i, raw float64 numbers"
    assert given["outputs"] == "T new_theta, T new_s0, T new_s1"
    assert "--fmad=false" in given["options"]


def test_cupy_itself_understands_the_parameters():
    pytest.importorskip("cupy", reason="CuPy is not installed")
    assert update_kernel(bp.AdamW().update, 2, 3, "float64", elementwise=True) is not None


@pytest.mark.parametrize("name", KINDS)
def test_on_the_device_both_kernels_give_the_bits_of_the_array_operations(name, dtype):
    """One kernel writes over its vectors, as a captured step does; one makes new ones."""
    cuda = bp.device("cuda")
    if not cuda.availability().usable:
        pytest.skip(cuda.availability().reason)
    optimizer, xp, rng = KINDS[name], cuda.xp, np.random.default_rng(0)
    theta = cuda.asarray(rng.normal(size=257), dtype)
    vectors = optimizer.init(theta, xp)
    sizes = len(vectors), len(optimizer.scalars(1, 0.1))
    in_place = update_kernel(optimizer.update, *sizes, dtype, elementwise=True)
    fused = fused_update(optimizer.update, *sizes, dtype, elementwise=True)
    written = xp.asarray(theta, copy=True), tuple(xp.asarray(v, copy=True) for v in vectors)
    made = theta, vectors
    for step in range(1, 5):
        g = cuda.asarray(rng.normal(size=257), dtype)
        scalars = optimizer.scalars(step, 0.1)
        theta, vectors = optimizer.update(theta, g, vectors, scalars, xp)
        before = [cuda.to_numpy(a) for a in (made[0], *made[1])]
        new = fused(made[0], g, made[1], scalars, xp)
        for array, values in zip((made[0], *made[1]), before, strict=True):
            np.testing.assert_array_equal(cuda.to_numpy(array), values)
        made = new
        in_place(written[0], g, written[1], cuda.asarray(np.asarray(scalars), "float64"))
        for one, other, third in zip(
            (theta, *vectors), (made[0], *made[1]), (written[0], *written[1]), strict=True
        ):
            np.testing.assert_array_equal(cuda.to_numpy(one), cuda.to_numpy(other))
            np.testing.assert_array_equal(cuda.to_numpy(one), cuda.to_numpy(third))
