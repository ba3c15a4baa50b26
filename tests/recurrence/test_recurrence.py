"""RNN, LSTM and GRU: against PyTorch, with lengths, masks and states."""

from __future__ import annotations

import numpy as np
import pytest

import bp_arrays as bp
from tests.recurrence.torch_weights import from_torch, gradients_from_torch

B, T, F, N = 5, 7, 3, 4
LENGTHS = np.array([7, 3, 5, 1, 6])
KINDS = ("RNN", "LSTM", "GRU")
RELU = {"activation": "relu"}


def both(kind, layers=1, bidirectional=False, last=False, **options):
    """PyTorch's module in float64, our layer, and the module's weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.manual_seed(0)
    theirs = {"nonlinearity": options["activation"]} if options else {}
    module = getattr(torch.nn, kind)(
        F, N, layers, batch_first=True, bidirectional=bidirectional, dtype=torch.float64, **theirs
    )
    layer = getattr(bp, kind)(N, layers, bidirectional, last, **options)
    return module, layer, from_torch(module, layer)


def random(*shape):
    return np.random.default_rng([*shape, 3]).normal(size=shape)


def on(device, values):
    """Arrays on a device in float64, whole numbers and booleans as they are."""
    return device.asarray(values, dtype="float64" if values.dtype == np.float64 else None)


def run(layer, device, parameters, x, delta, training=True):
    """The output, the derivative by x and the gradients of a layer, as NumPy arrays."""
    from bp_arrays.trees import map_tree

    ctx = bp.Context(device.xp, device.native, training=training)
    move = lambda tree: map_tree(lambda values: on(device, values), tree)  # noqa: E731
    y, backward = layer.forward(move(parameters), move(x), ctx)
    dx, gradients = backward(move(delta))
    back = lambda tree: map_tree(device.to_numpy, tree)  # noqa: E731
    return back(y), back(dx), back(gradients)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-13 * max(1.0, np.max(np.abs(other))))


SETTINGS = [
    ("RNN", 1, False, {}), ("RNN", 2, True, RELU),
    ("LSTM", 1, False, {}), ("LSTM", 2, True, {}),
    ("GRU", 1, False, {}), ("GRU", 2, True, {}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "layers", "bidirectional", "options"), SETTINGS)
def test_values_and_gradients_are_pytorchs(device, kind, layers, bidirectional, options):
    if device.backend == "jax":
        pytest.skip("the check does this on JAX")
    import torch

    module, layer, parameters = both(kind, layers, bidirectional, **options)
    x, delta = random(B, T, F), random(B, T, N * (1 + bidirectional))
    y, dx, gradients = run(layer, device, parameters, x, delta)
    tensor = torch.tensor(x, requires_grad=True)
    output, _ = module(tensor)
    output.backward(torch.tensor(delta))
    close(y, output.detach().numpy())
    close(dx, tensor.grad.numpy())
    expected = gradients_from_torch(module, layer)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        close(gradient, expected[name])
