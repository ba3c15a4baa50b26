"""Covers: normalization and new activations against the test cases of the ONNX standard.

The onnx package computes them with the formulas of its operators, in float32, channels first.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import bp_arrays as bp

onnx = pytest.importorskip("onnx", reason="witness ONNX is not installed")

OPERATORS = {
    "LayerNormalization": ("layernormalization", 19),
    "RMSNormalization": ("rmsnormalization", 19),
    "BatchNormalization": ("batch_normalization", 4),
    "GroupNormalization": ("groupnormalization", 2),
    "PRelu": ("prelu", 2),
    "Mish": ("mish", 1),
    "HardSwish": ("hardswish", 1),
}
"""The operators, the module with the cases of each, and how many it has at least."""


def node_cases(operator):
    """Yield (name, attributes, inputs, outputs) of every case of an operator.

    `load_model_tests` would compute those of all operators, 1,900, for a minute.
    """
    module, _ = OPERATORS[operator]
    importlib.import_module(f"onnx.backend.test.case.node.{module}")
    for case in onnx.backend.test.case.node._NodeTestCases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == operator:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in nodes[0].attribute}
            inputs, outputs = case.data_sets[0]
            yield case.name, attributes, as_arrays(inputs), as_arrays(outputs)


def as_arrays(values):
    return [
        v if isinstance(v, (np.ndarray, np.generic)) else onnx.numpy_helper.to_array(v)
        for v in values
    ]


def channels_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def output(layer, params, x, training=False):
    """y, and the new state in training."""
    updates = {}
    ctx = bp.Context(np, training=training, state_updates=updates)
    y, _ = layer.forward(params, x, ctx)
    return y, {path[-1]: value for path, value in updates.items()}


def over_last_axes(layer, attributes, x, params):
    """The layers have one last axis, the operators all axes from `axis` on."""
    axis = attributes.get("axis", -1) % x.ndim
    flat = np.reshape(x, (*x.shape[:axis], -1))
    y, _ = output(layer, {name: np.ravel(p) for name, p in params.items()}, flat)
    return [np.reshape(y, x.shape)]


def layer_normalization(attributes, x, scale, bias=None):
    params = {"scale": scale} if bias is None else {"scale": scale, "bias": bias}
    layer = bp.LayerNorm(attributes.get("epsilon", 1e-5), bias=bias is not None)
    return over_last_axes(layer, attributes, x, params)


def rms_normalization(attributes, x, scale):
    layer = bp.RMSNorm(attributes.get("epsilon", 1e-5))
    scale = np.broadcast_to(scale, x.shape[attributes.get("axis", -1) % x.ndim :])
    return over_last_axes(layer, attributes, x, {"scale": scale})


def batch_normalization(attributes, x, scale, bias, mean, variance):
    """ONNX's momentum is ours from 1, and its running variance is biased."""
    keep = np.float32(attributes.get("momentum", 0.9))
    layer = bp.BatchNorm(1.0 - keep, attributes.get("epsilon", 1e-5))
    training = bool(attributes.get("training_mode"))
    params = {"scale": scale, "bias": bias, "mean": mean, "variance": variance}
    y, state = output(layer, params, channels_last(x), training)
    y = np.moveaxis(y, -1, 1)
    if not training:
        return [y]
    size = x.size // x.shape[1]
    unbiased = state["variance"] - keep * variance
    return [y, state["mean"], keep * variance + unbiased * (size - 1) / size]


def group_normalization(attributes, x, scale, bias):
    layer = bp.GroupNorm(attributes["num_groups"], attributes.get("epsilon", 1e-5))
    y, _ = output(layer, {"scale": scale, "bias": bias}, channels_last(x))
    return [np.moveaxis(y, -1, 1)]


def prelu(attributes, x, slope):
    """A slope per number is one per channel of a single row."""
    rows = x if slope.ndim == 1 else np.reshape(x, (1, -1))
    y, _ = output(bp.PReLU(per_channel=True), {"slope": np.ravel(slope)}, rows)
    return [np.reshape(y, x.shape)]


COMPUTED = {
    "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization,
    "BatchNormalization": batch_normalization,
    "GroupNormalization": group_normalization,
    "PRelu": prelu,
    "Mish": lambda attributes, x: [output(bp.Mish(), {}, x)[0]],
    "HardSwish": lambda attributes, x: [output(bp.Hardswish(), {}, x)[0]],
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_cases_of_the_standard(operator):
    cases = list(node_cases(operator))
    assert len(cases) >= OPERATORS[operator][1]
    for name, attributes, inputs, outputs in cases:
        results = COMPUTED[operator](attributes, *inputs)
        for result, expected in zip(results, outputs, strict=False):
            assert result.dtype == expected.dtype, name
            np.testing.assert_allclose(result, expected, rtol=2e-5, atol=2e-6, err_msg=name)
