"""Pairs of recurrent layers and their PyTorch modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.formats._gates import suffixes
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect, expect_size
from bp_arrays.layers import Layer
from bp_arrays.recurrence import GRU, LSTM, RNN
from bp_arrays.typing import Shape


def _inner(module: Any) -> Any:
    """Return the recurrent module in an Output, or the module itself."""
    return getattr(module, "layer", module)


def _build(layer: Any, shape: Shape, dtype: Any) -> Any:
    import torch

    from bp_arrays.formats._torch_modules import Output

    settings = {"nonlinearity": layer.activation} if isinstance(layer, RNN) else {}
    inner = getattr(torch.nn, type(layer).__name__)(
        shape[-1],
        layer.features,
        num_layers=layer.layers,
        bidirectional=layer.bidirectional,
        batch_first=True,
        dtype=dtype,
        device="meta",  # without first values, as skip_init does it, which refuses these modules
        **settings,
    )
    return Output(inner.to_empty(device="cpu"), layer.last)


def _to_layer(module: Any, shape: Shape, layout: Layout) -> Layer:
    inner = _inner(module)
    name = type(inner).__name__
    expect(inner, "batch_first", (True,), "the batch on the first axis")
    expect(inner, "bias", (True,), "biases")
    if inner.num_layers > 1:
        expect(inner, "dropout", (0.0,), "no dropout between the layers")
    expect(inner, "proj_size", (0,), "no projection of h")
    expect_size(inner, inner.input_size, shape)
    kind = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}[name]
    settings = {"activation": inner.nonlinearity} if name == "RNN" else {}
    layer: Layer = kind(
        inner.hidden_size,
        layers=inner.num_layers,
        bidirectional=inner.bidirectional,
        last=getattr(module, "last", False),
        **settings,
    )
    return layer


def _names(layer: Any) -> list[tuple[str, str]]:
    """Return the ending of each layer and direction, here and in PyTorch."""
    pairs = []
    for number, suffix in suffixes(layer):
        end = "_reverse" if suffix.endswith("_reverse") else ""
        pairs.append((suffix, f"_l{number}{end}"))
    return pairs


def _to_torch_arrays(layer: Any, arrays: Arrays, prefix: str) -> Arrays:
    """Return the weights of a module: b is its first bias; of the second only b' of a GRU."""
    result: Arrays = {}
    for ours, theirs in _names(layer):
        bias = arrays["bias" + ours]
        second = np.zeros_like(bias)
        if isinstance(layer, GRU):
            second[-layer.features :] = arrays["recurrent_bias" + ours]
        parts = {
            "weight_ih": arrays["input_weight" + ours].T,
            "weight_hh": arrays["recurrent_weight" + ours].T,
            "bias_ih": bias,
            "bias_hh": second,
        }
        result |= {f"{prefix}{name}{theirs}": array for name, array in parts.items()}
    return result


def _to_layer_arrays(layer: Any, arrays: Arrays, prefix: str) -> Arrays:
    """Return the weights of a layer: the two biases of PyTorch are added, but for b' of a GRU."""
    result: Arrays = {}
    for ours, theirs in _names(layer):
        own = {
            name: arrays[f"{prefix}{name}{theirs}"]
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        result["input_weight" + ours] = own["weight_ih"].T
        result["recurrent_weight" + ours] = own["weight_hh"].T
        second = own["bias_hh"]
        if isinstance(layer, GRU):
            second = second.copy()
            result["recurrent_bias" + ours] = second[-layer.features :].copy()
            second[-layer.features :] = 0.0
        result["bias" + ours] = own["bias_ih"] + second
    return result


def _no_settings(layer: Any, shape: Shape, layout: Layout) -> dict[str, Any]:
    raise InputError(f"{type(layer).__name__} is built inside an Output")


def _pairs(layer: type[Layer]) -> tuple[Pair, Pair]:
    """Return the pair with an Output, and the one with a module alone, whose states are left."""
    name = layer.__name__

    def accepts(module: Any) -> bool:
        return type(module.layer).__name__ == name

    inside = Pair(
        layer,
        "Output",
        _no_settings,
        _to_layer,
        lambda layer, arrays: _to_torch_arrays(layer, arrays, "layer."),
        lambda layer, arrays: _to_layer_arrays(layer, arrays, "layer."),
        layout="last",
        accepts=accepts,
        build=_build,
    )
    alone = Pair(
        layer,
        name,
        _no_settings,
        _to_layer,
        lambda layer, arrays: _to_torch_arrays(layer, arrays, ""),
        lambda layer, arrays: _to_layer_arrays(layer, arrays, ""),
        layout="last",
    )
    return inside, alone


RECURRENCE = (*_pairs(LSTM), *_pairs(GRU), *_pairs(RNN))
