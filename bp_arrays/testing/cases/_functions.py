"""Cases of the array API functions that the library calls, one component each: "xp.exp".

They are the first rows of the report: where a function is wrong, so is all that uses it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.testing._case import DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.witnesses._functions import elementwise_witness, witness_name
from bp_arrays.testing.witnesses._witness import FORMULA, Witness
from bp_arrays.typing import Array

PREFIX = "xp."
"""Begins the component of a function, so that `xp.tanh` is not the layer `Tanh`."""

LIMIT = 8.0
"""In eps, for each element: OpenCL and CUDA allow up to 5 units in the last place."""

INF, NAN = math.inf, math.nan
GRID = [-9.0, -2.5, -1.0, -0.375, -1e-3, 1e-3, 0.25, 0.5, 1.0, 1.75, 3.0, 7.5]
POSITIVE = [1e-3, 0.25, 0.5, 0.875, 1.0, 1.125, 3.0, 7.5, 100.0, 6e4]
MATRIX = [[3.0, -1.0, 2.0], [0.5, 4.0, -2.5]]
INTEGERS = [[3, 0, 2], [1, 5, 4]]
TRUTH = [[True, False, True], [False, False, True]]


Compute = Callable[[Placement, dict[str, Array]], Any]
Expected = Callable[[HostArrays], Any]


@dataclass(frozen=True)
class Function:
    """One function: what it is applied to, and the right result in plain Python."""

    inputs: dict[str, Any]
    compute: Compute
    expected: Expected
    limit: float = LIMIT
    witness: str = FORMULA
    dtypes: tuple[str, ...] = field(default=DTYPES_WITH_HALF)


def _elementwise(name: str, values: list[float], limit: float = LIMIT) -> Function:
    return Function(
        {"x": values},
        lambda placement, arrays: getattr(placement.xp, name)(arrays["x"]),
        lambda inputs: elementwise_witness(name, inputs["x"]),
        limit,
        witness_name(),
    )


def _pairs(name: str, x: list[Any], y: list[Any], of: Callable[[Any, Any], Any]) -> Function:
    return Function(
        {"x": x, "y": y},
        lambda placement, arrays: getattr(placement.xp, name)(arrays["x"], arrays["y"]),
        lambda inputs: [of(a, b) for a, b in zip(inputs["x"], inputs["y"], strict=True)],
    )


def _of(
    inputs: dict[str, Any],
    compute: Callable[[Any, dict[str, Array]], Any],
    expected: Any,
    **options: Any,
) -> Function:
    """Return a function with its right result as nested lists."""
    return Function(
        inputs,
        lambda placement, arrays: compute(placement.xp, arrays),
        lambda _: expected,
        **options,
    )


def _created(compute: Compute, expected: Any) -> Function:
    """Return a function that creates an array on the device, from no input."""
    return Function({}, compute, lambda _: expected)


def _float(placement: Placement) -> dict[str, Any]:
    return {"dtype": placement.device.dtype(placement.dtype), "device": placement.native}


def _bool(placement: Placement, value: Any) -> Array:
    """Return a Python bool as an array, so that it is compared like any other result."""
    return placement.xp.asarray(bool(value), device=placement.native)


X = {"x": MATRIX}
FUNCTIONS: dict[str, Function] = {
    "abs": _elementwise("abs", [*GRID, INF, -INF, NAN, 0.0]),
    "all": _of({"x": TRUTH}, lambda xp, a: xp.all(a["x"], axis=0), [False, False, True]),
    "any": _of({"x": TRUTH}, lambda xp, a: xp.any(a["x"], axis=0), [True, False, True]),
    "arange": _created(
        lambda p, _: p.xp.arange(3, dtype=p.xp.int32, device=p.native), np.arange(3, dtype="int32")
    ),
    "argmax": _of(X, lambda xp, a: xp.astype(xp.argmax(a["x"], axis=1), xp.int64), [0, 1]),
    "argsort": _of(X, lambda xp, a: xp.astype(xp.argsort(a["x"], axis=1), xp.int64),
                   [[1, 2, 0], [2, 0, 1]]),
    "asarray": _created(lambda p, _: p.xp.asarray(MATRIX, **_float(p)), MATRIX),
    "astype": Function(
        {"x": INTEGERS},
        lambda p, a: p.xp.astype(a["x"], p.device.dtype(p.dtype)),
        lambda _: [[float(value) for value in row] for row in INTEGERS],
    ),
    "broadcast_to": _of({"x": [1.0, 2.0]}, lambda xp, a: xp.broadcast_to(a["x"], (2, 2)),
                        [[1.0, 2.0], [1.0, 2.0]]),
    "concat": _of(X, lambda xp, a: xp.concat([a["x"], a["x"][:1, :]], axis=0),
                  [*MATRIX, MATRIX[0]]),
    "cos": _elementwise("cos", [-3.0, -1.0, -1e-3, 0.0, 0.25, 1.0, 2.0, 3.0, 6.0]),
    "empty": _created(lambda p, _: p.xp.zeros_like(p.xp.empty((2, 3), **_float(p))),
                      [[0.0] * 3] * 2),
    "exp": _elementwise("exp", [*GRID, 0.0, INF, -INF, NAN]),
    "expand_dims": _of(X, lambda xp, a: xp.expand_dims(a["x"], axis=1), [[row] for row in MATRIX]),
    "expm1": _elementwise("expm1", [*GRID, 0.0, INF, -INF]),
    "finfo": Function(
        {"x": [1.0]},
        lambda p, a: a["x"] * float(p.xp.finfo(a["x"].dtype).eps) / _eps(p),
        lambda _: [1.0],
    ),
    "flip": _of(X, lambda xp, a: xp.flip(a["x"], axis=1), [row[::-1] for row in MATRIX]),
    "floor": _elementwise("floor", [*GRID, 0.0]),
    "full": _created(lambda p, _: p.xp.full((2, 2), 0.5, **_float(p)), [[0.5, 0.5]] * 2),
    "full_like": _of(X, lambda xp, a: xp.full_like(a["x"], 0.5), [[0.5] * 3] * 2),
    "isdtype": Function(
        {"x": [1.0]},
        lambda p, a: _bool(p, p.xp.isdtype(a["x"].dtype, "real floating")),
        lambda _: True,
    ),
    "isfinite": _of({"x": [1.0, INF, -INF, NAN]}, lambda xp, a: xp.isfinite(a["x"]),
                    [True, False, False, False]),
    "isnan": _of({"x": [1.0, INF, -INF, NAN]}, lambda xp, a: xp.isnan(a["x"]),
                 [False, False, False, True]),
    "log": _elementwise("log", [*POSITIVE, INF]),
    "log1p": _elementwise("log1p", [-0.875, -0.5, -1e-3, 0.0, *POSITIVE, INF]),
    "logaddexp": _pairs("logaddexp", [1.0, -3.0, 2.0, 0.5], [2.0, 4.0, 2.0, -9.0],
                        lambda a, b: max(a, b) + math.log1p(math.exp(-abs(a - b)))),
    "logical_and": _of({"x": TRUTH}, lambda xp, a: xp.logical_and(a["x"][0, :], a["x"][1, :]),
                       [False, False, True]),
    "logical_not": _of({"x": TRUTH}, lambda xp, a: xp.logical_not(a["x"][0, :]),
                       [False, True, False]),
    "logical_or": _of({"x": TRUTH}, lambda xp, a: xp.logical_or(a["x"][0, :], a["x"][1, :]),
                      [True, False, True]),
    "matrix_transpose": _of(X, lambda xp, a: xp.matrix_transpose(a["x"]),
                            [list(row) for row in zip(*MATRIX, strict=True)]),
    "max": _of(X, lambda xp, a: xp.max(a["x"], axis=1), [3.0, 4.0]),
    "maximum": _pairs("maximum", [1.0, -3.0, 2.0], [2.0, -4.0, 2.0], max),
    "mean": _of(X, lambda xp, a: xp.mean(a["x"], axis=1, keepdims=True), [[4 / 3], [2 / 3]]),
    "minimum": _pairs("minimum", [1.0, -3.0, 2.0], [2.0, -4.0, 2.0], min),
    "moveaxis": _of({"x": [MATRIX]}, lambda xp, a: xp.moveaxis(a["x"], 0, 2),
                    [[[value] for value in row] for row in MATRIX]),
    "ones": _created(lambda p, _: p.xp.ones((2, 3), **_float(p)), [[1.0] * 3] * 2),
    "permute_dims": _of(X, lambda xp, a: xp.permute_dims(a["x"], (1, 0)),
                        [list(row) for row in zip(*MATRIX, strict=True)]),
    "reshape": _of(X, lambda xp, a: xp.reshape(a["x"], (3, 2)),
                   [[3.0, -1.0], [2.0, 0.5], [4.0, -2.5]]),
    "result_type": Function(
        {"x": [1.0]},
        lambda p, a: p.xp.zeros(1, dtype=p.xp.result_type(a["x"], p.xp.float32), device=p.native)
        * a["x"],
        lambda _: [0.0],
        dtypes=("float32", "float64"),
    ),
    "searchsorted": _of({"x": [1.0, 2.0, 4.0], "y": [0.0, 2.0, 3.0, 9.0]},
                        lambda xp, a: xp.astype(xp.searchsorted(a["x"], a["y"]), xp.int64),
                        [0, 1, 2, 3],
                        dtypes=("float32", "float64")),
    "sign": _elementwise("sign", [*GRID, 0.0]),
    "sin": _elementwise("sin", [-3.0, -1.0, -1e-3, 0.0, 0.25, 1.0, 2.0, 3.0, 6.0]),
    "sqrt": _elementwise("sqrt", [0.0, *POSITIVE, INF]),
    "squeeze": _of({"x": [MATRIX]}, lambda xp, a: xp.squeeze(a["x"], axis=0), MATRIX),
    "stack": _of(X, lambda xp, a: xp.stack([a["x"], a["x"]], axis=1), [[r, r] for r in MATRIX]),
    "sum": _of(X, lambda xp, a: xp.sum(a["x"], axis=0), [3.5, 3.0, -0.5]),
    "take": _of({**X, "i": [2, 0]}, lambda xp, a: xp.take(a["x"], a["i"], axis=1),
                [[2.0, 3.0], [-2.5, 0.5]]),
    "tanh": _elementwise("tanh", [*GRID, 0.0, INF, -INF]),
    "where": _of({**X, "c": TRUTH}, lambda xp, a: xp.where(a["c"], a["x"], -a["x"]),
                 [[3.0, 1.0, 2.0], [-0.5, -4.0, -2.5]]),
    "zeros": _created(lambda p, _: p.xp.zeros((2, 3), **_float(p)), [[0.0] * 3] * 2),
    "zeros_like": _of(X, lambda xp, a: xp.zeros_like(a["x"]), [[0.0] * 3] * 2),
}  # fmt: skip
"""Every function of the namespace that layers, losses, optimizers and random numbers call."""


def _eps(placement: Placement) -> float:
    return {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[
        placement.dtype
    ]


OPERATORS: dict[str, Function] = {
    "matrix product (@)": Function(
        {"x": MATRIX, "y": [[1.0, 2.0], [-0.5, 0.25], [3.0, -1.0]]},
        lambda p, a: a["x"] @ a["y"],
        lambda _: [[9.5, 3.75], [-9.0, 4.5]],
    ),
    "row times matrix (@)": Function(
        {"x": [MATRIX[0]], "y": [[1.0, 2.0], [-0.5, 0.25], [3.0, -1.0]]},
        lambda p, a: a["x"] @ a["y"],
        lambda _: [[9.5, 3.75]],
    ),
    "arithmetic (+ - * / **)": Function(
        {"x": MATRIX, "y": [4.0, 0.5, 2.0]},
        lambda p, a: (a["x"] * a["y"] - a["y"]) / a["y"] + 1.0 - a["x"] ** 2,
        lambda _: [[value - value**2 for value in row] for row in MATRIX],
    ),
    "comparisons (< == >=)": Function(
        {"x": [1.0, 2.0, 3.0]},
        lambda p, a: (a["x"] < 2.0) | (a["x"] == 3.0) & (a["x"] >= 3.0),
        lambda _: [True, False, True],
    ),
    "integers (<< >> ^ & |)": Function(
        {"x": [1, 6, 12]},
        lambda p, a: ((a["x"] << 2) ^ (a["x"] >> 1)) & 31 | 1,
        lambda _: [((v << 2) ^ (v >> 1)) & 31 | 1 for v in (1, 6, 12)],
    ),
    "slices (x[1:, None, ::2])": Function(
        {"x": MATRIX},
        lambda p, a: a["x"][1:, None, ::2],
        lambda _: [[row[::2]] for row in MATRIX[1:]],
    ),
}
"""What the library does with arrays besides calling functions."""


def function_cases() -> Iterator[Case]:
    """Yield a case of every function, then of the operators."""
    for name, function in itertools.chain(
        ((PREFIX + name, function) for name, function in FUNCTIONS.items()), OPERATORS.items()
    ):
        yield Case(
            name,
            "function" if name.startswith(PREFIX) else "operators",
            "function",
            partial(_host_inputs, function),
            partial(_results, function),
            limit=function.limit,
            witnesses=(Witness(function.witness, partial(_expected, function)),),
            dtypes=function.dtypes,
            traceable=False,  # a compilation for each would take longer than all other cases
            elementwise=True,
        )


def _host_inputs(function: Function) -> HostArrays:
    return {name: np.asarray(value) for name, value in function.inputs.items()}


def _results(function: Function, placement: Placement, arrays: dict[str, Array]) -> dict[str, Any]:
    return {"result": function.compute(placement, arrays)}


def _expected(function: Function, inputs: HostArrays, results: HostArrays) -> HostArrays:
    return {"result": np.asarray(function.expected(inputs))}
