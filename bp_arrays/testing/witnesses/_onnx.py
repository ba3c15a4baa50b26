"""ONNX's reference evaluator: the operators as the ONNX project computes them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.testing.witnesses._witness import HostArrays, Witness
from bp_arrays.typing import HostArray

ONNX_REFERENCE = "ONNX reference"
OPSET = 20

Operator = tuple[str, dict[str, Any]]
"""The name of an operator, and its attributes."""

ACTIVATIONS: dict[str, Operator] = {
    "Identity": ("Identity", {}),
    "Sigmoid": ("Sigmoid", {}),
    "Tanh": ("Tanh", {}),
    "ReLU": ("Relu", {}),
    "Softplus": ("Softplus", {}),
    "Softmax": ("Softmax", {"axis": -1}),
}
"""By the name of the component: the operators that compute in the dtype of their input.

Not LeakyReLU and ELU, whose settings are float32 numbers there; nor Gelu and LogSoftmax, which the
evaluator computes less accurately than the cases demand.
"""


def activation_witness(name: str) -> tuple[Witness, ...]:
    """Return the witness of an activation; () if there is no operator, or ONNX not installed."""
    if name not in ACTIVATIONS or importlib.util.find_spec("onnx") is None:
        return ()

    def values(inputs: HostArrays, results: HostArrays) -> HostArrays:
        return {"y": evaluated(ACTIVATIONS[name], [inputs["x"]])}

    return (Witness(ONNX_REFERENCE, values),)


def cross_entropy_witness(name: str, reduction: str) -> tuple[Witness, ...]:
    """Return the witness of CrossEntropy with classes as targets."""
    weights = {"CrossEntropy": None, "CrossEntropy, class weights": (0.5, 1.0, 2.0)}
    if name not in weights or importlib.util.find_spec("onnx") is None:
        return ()
    operator = ("SoftmaxCrossEntropyLoss", {"reduction": reduction})

    def values(inputs: HostArrays, results: HostArrays) -> HostArrays:
        y = np.moveaxis(inputs["y"], -1, 1)  # classes on the second axis
        arrays = [y, inputs["t"].astype(np.int64)]
        arrays += [] if weights[name] is None else [np.array(weights[name])]
        return {"value": evaluated(operator, arrays)}

    return (Witness(ONNX_REFERENCE, values),)


def evaluated(operator: Operator, arrays: list[HostArray]) -> HostArray:
    """Return the first output of an operator for float64 or integer arrays."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    name, attributes = operator
    names = [f"input_{k}" for k in range(len(arrays))]
    types = [
        TensorProto.DOUBLE if array.dtype.kind == "f" else TensorProto.INT64 for array in arrays
    ]
    value: Callable[..., Any] = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(name, names, ["output"], **attributes)],
        name,
        [value(n, kind, a.shape) for n, kind, a in zip(names, types, arrays, strict=True)],
        [value("output", TensorProto.DOUBLE, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    run: Callable[..., Any] = partial(ReferenceEvaluator(model).run, None)
    with np.errstate(all="ignore"):
        return np.asarray(run(dict(zip(names, arrays, strict=True)))[0])
