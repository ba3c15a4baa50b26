"""Comparison of a model with the same computation by PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import bp_arrays as bp


@dataclass(frozen=True)
class Pick(bp.Layer):
    """The array "x" of the dict of a sequence."""

    def init(self, input_shape):
        return {}, input_shape["x"]

    def forward(self, params, x, ctx):
        return x["x"], lambda delta: ({**dict.fromkeys(x), "x": delta}, {})


def float64_model(net, inputs, seed=0):
    return bp.Model(net, inputs, device="cpu", dtype="float64", seed=seed)


def tensors(model):
    """Every parameter as a tensor with a gradient."""
    return {
        name.removeprefix("0."): torch.from_numpy(value.copy()).requires_grad_()
        for name, value in model.host_parameters().items()
    }


def check_gradients(model, x, y, parameters, x_tensor=None):
    """Compare the output of a model, and its derivatives for a random error, with PyTorch's."""
    ours, backward = model.forward(x)
    np.testing.assert_allclose(ours, y.detach().numpy(), rtol=0, atol=1e-13)
    delta = np.random.default_rng(5).normal(size=ours.shape)
    y.backward(torch.from_numpy(delta))
    dx, gradients = backward(delta)
    if x_tensor is not None:
        dx = dx["x"] if isinstance(dx, dict) else dx
        np.testing.assert_allclose(dx, x_tensor.grad.numpy(), rtol=0, atol=1e-12)
    for name, gradient in gradients.items():
        expected = parameters[name.removeprefix("0.")].grad.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12, err_msg=name)
