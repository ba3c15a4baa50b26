"""Weights of the recurrent layers from and to PyTorch's."""

from __future__ import annotations

import numpy as np

PARAMETERS = {"input_weight": "weight_ih", "recurrent_weight": "weight_hh", "bias": "bias_ih"}


def suffixes(layer):
    """The suffix of each layer and direction: ours, and PyTorch's."""
    for k in range(layer.layers):
        for direction in ("", "_reverse")[: 1 + layer.bidirectional]:
            yield (f"_{k}" if layer.layers > 1 else "") + direction, f"_l{k}{direction}"


def from_torch(module, layer):
    """The parameters of `layer` by name, from a module of the same sizes."""
    arrays = {name: p.detach().double().numpy() for name, p in module.named_parameters()}
    parameters = {}
    n = layer.features
    for ours, theirs in suffixes(layer):
        parameters["input_weight" + ours] = arrays["weight_ih" + theirs].T.copy()
        parameters["recurrent_weight" + ours] = arrays["weight_hh" + theirs].T.copy()
        recurrent = arrays["bias_hh" + theirs].copy()
        if type(layer).__name__ == "GRU":
            parameters["recurrent_bias" + ours] = recurrent[2 * n :].copy()
            recurrent[2 * n :] = 0.0
        parameters["bias" + ours] = arrays["bias_ih" + theirs] + recurrent
    return parameters


def to_torch(parameters, layer, module):
    """Set the parameters of `module` to those of `layer`, by name."""
    import torch

    n = layer.features
    with torch.no_grad():
        for ours, theirs in suffixes(layer):
            for name, their_name in PARAMETERS.items():
                values = torch.tensor(np.ascontiguousarray(parameters[name + ours].T))
                getattr(module, their_name + theirs).copy_(values)
            recurrent = getattr(module, "bias_hh" + theirs)
            recurrent.zero_()
            if type(layer).__name__ == "GRU":
                recurrent[2 * n :] = torch.tensor(parameters["recurrent_bias" + ours])


def gradients_from_torch(module, layer):
    """The gradients of the parameters of `layer`, from those of the module."""
    gradients = {}
    n = layer.features
    for ours, theirs in suffixes(layer):
        for name, their_name in PARAMETERS.items():
            gradients[name + ours] = getattr(module, their_name + theirs).grad.numpy().T
        if type(layer).__name__ == "GRU":
            gradients["recurrent_bias" + ours] = getattr(module, "bias_hh" + theirs).grad.numpy()[
                2 * n :
            ]
    return gradients
