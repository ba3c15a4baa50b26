"""Networks as PyTorch modules and back, for the layers that both have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays import activations
from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.layers import Dropout, Flatten, Layer, Linear, Sequential
from bp_arrays.typing import ParameterTree, Shape

DTYPES = ("float32", "float64", "float16", "bfloat16")

ACCURATE_SOFTPLUS = 40.0
"""Where PyTorch's Softplus may become a straight line: e⁻⁴⁰ is below float64's eps."""


@dataclass(frozen=True)
class Pair:
    """A layer and its module, and how each is made of the other.

    Parameters
    ----------
    layer : Layer class
    module : str
        The name of the module in `torch.nn`.
    to_module : function
        From the layer to the keyword arguments of its module.
    to_layer : function
        From the module and the shape of a sample to the layer; raises InputError for settings
        that the layer does not have.
    """

    layer: type[Layer]
    module: str
    to_module: Callable[[Any], dict[str, Any]]
    to_layer: Callable[[Any, Shape], Layer]


def _plain(layer: type[Layer]) -> Pair:
    """A pair without settings, of the same name."""
    return Pair(layer, layer.__name__, lambda _: {}, lambda module, shape: layer())


def _over_last_axis(layer: type[Layer]) -> Pair:
    def to_layer(module: Any, shape: Shape) -> Layer:
        _expect(module, "dim", (-1, len(shape)), "the last axis")
        return layer()

    return Pair(layer, layer.__name__, lambda _: {"dim": -1}, to_layer)


def _flatten(module: Any, shape: Shape) -> Layer:
    _expect(module, "start_dim", (1,), "the axis after the batch")
    _expect(module, "end_dim", (-1, len(shape)), "the last axis")
    return Flatten()


def _softplus(module: Any, shape: Shape) -> Layer:
    _expect(module, "beta", (1,), "1")
    if module.threshold < 20:
        raise InputError(f"Softplus(threshold={module.threshold}): expected 20 or more")
    return activations.Softplus()


def _gelu(module: Any, shape: Shape) -> Layer:
    return activations.GELU(exact=module.approximate == "none")


PAIRS = (
    Pair(
        Linear,
        "Linear",
        lambda layer: {"out_features": layer.out_features, "bias": layer.bias},
        lambda module, shape: Linear(module.out_features, bias=module.bias is not None),
    ),
    Pair(Dropout, "Dropout", lambda layer: {"p": layer.rate}, lambda m, shape: Dropout(m.p)),
    Pair(Flatten, "Flatten", lambda _: {}, _flatten),
    _plain(activations.Identity),
    _plain(activations.Sigmoid),
    _plain(activations.Tanh),
    _plain(activations.ReLU),
    _plain(activations.SELU),
    _plain(activations.SiLU),
    Pair(
        activations.LeakyReLU,
        "LeakyReLU",
        lambda layer: {"negative_slope": layer.negative_slope},
        lambda module, shape: activations.LeakyReLU(module.negative_slope),
    ),
    Pair(
        activations.ELU,
        "ELU",
        lambda layer: {"alpha": layer.alpha},
        lambda module, shape: activations.ELU(module.alpha),
    ),
    Pair(
        activations.GELU,
        "GELU",
        lambda layer: {"approximate": "none" if layer.exact else "tanh"},
        _gelu,
    ),
    Pair(activations.Softplus, "Softplus", lambda _: {"threshold": ACCURATE_SOFTPLUS}, _softplus),
    _over_last_axis(activations.Softmax),
    _over_last_axis(activations.LogSoftmax),
)


def to_module(net: Layer, params: ParameterTree, input_shape: Shape, dtype: str) -> Any:
    """The net as a `torch.nn.Sequential` on the CPU, in evaluation mode.

    Parameters
    ----------
    net : Layer
    params : nested dict of NumPy arrays
    input_shape : tuple of int
    dtype : str

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed.
    InputError
        If PyTorch has no module for a layer.
    """
    require_extra("torch")
    import torch

    module = _module(net, params, getattr(torch, dtype))
    if not isinstance(module, torch.nn.Sequential):
        module = torch.nn.Sequential(module)
    return module.eval()


def _module(layer: Layer, params: ParameterTree, dtype: Any, path: str = "") -> Any:
    import torch

    if type(layer) is Sequential:
        parts = layer.parts()
        return torch.nn.Sequential(
            *(
                _module(part, params.get(name, {}), dtype, f"{path}.{name}" if path else name)
                for name, part in parts.items()
            )
        )
    pair = next((pair for pair in PAIRS if pair.layer is type(layer)), None)
    if pair is None:
        known = ", ".join(["Sequential", *(pair.layer.__name__ for pair in PAIRS)])
        where = f", layer {path}" if path else ""
        raise InputError(
            f"PyTorch has no module for {type(layer).__name__}{where}; to_torch knows {known}"
        )
    settings = pair.to_module(layer)
    if type(layer) is not Linear:
        return getattr(torch.nn, pair.module)(**settings)
    weight = params["weight"]
    module = torch.nn.utils.skip_init(torch.nn.Linear, weight.shape[0], dtype=dtype, **settings)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight.T.copy()))  # (out, in) there
        if layer.bias:
            module.bias.copy_(torch.tensor(params["bias"]))
    return module


def from_module(
    module: Any, input_shape: Shape
) -> tuple[Layer, dict[str, np.ndarray[Any, Any]], str]:
    """A `torch.nn.Sequential` as a net, its parameters by name, and its dtype.

    Parameters
    ----------
    module : torch.nn.Module
        On any device.
    input_shape : tuple of int
        Of one sample.

    Raises
    ------
    InputError
        If it is no module, or one without a counterpart here; for parameters that several
        modules share, that are of several dtypes, or that have no values.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"from_torch: expected a torch.nn.Module, got {module!r:.80}")
    _check_parameters(module)
    net, _ = _layer(module, "", input_shape)
    dtypes = sorted({str(p.dtype).removeprefix("torch.") for p in module.parameters()})
    if len(dtypes) > 1 or not set(dtypes) <= set(DTYPES):
        raise InputError(
            f"from_torch: expected parameters of one float dtype, got {', '.join(dtypes)}; "
            "convert them first with module.float()"
        )
    return net, dict(_parameters(module, ())), dtypes[0] if dtypes else "float32"


def _check_parameters(module: Any) -> None:
    from torch.nn.parameter import is_lazy

    first: dict[int, str] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if is_lazy(parameter) or parameter.is_meta:
            raise InputError(f"from_torch: parameter {name!r} has no values yet")
        other = first.setdefault(parameter.data_ptr(), name)
        if other != name and parameter.numel():
            raise InputError(
                f"from_torch: {other!r} and {name!r} are one parameter; shared parameters have no "
                "counterpart here. Give each module its own copy, with copy.deepcopy"
            )


def _layer(module: Any, path: str, shape: Shape) -> tuple[Layer, Shape]:
    """The layer that does what the module does, and the shape that it gives."""
    import torch

    where = f"from_torch: module {path!r}, " if path else "from_torch: "
    name = type(module).__name__
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    if any(hooks) or module._backward_pre_hooks:
        raise InputError(f"{where}{name}, has hooks, which would be lost: remove them first")
    layer: Layer
    if type(module) is torch.nn.Sequential:
        layers = []
        for own, part in module._modules.items():  # named_children leaves out what comes twice
            layer, shape = _layer(part, f"{path}.{own}" if path else own, shape)
            layers.append(layer)
        return Sequential(*layers), shape
    pair = next((p for p in PAIRS if getattr(torch.nn, p.module) is type(module)), None)
    if pair is None:
        known = ", ".join(["Sequential", *(pair.module for pair in PAIRS)])
        raise InputError(f"{where}{name}, has no counterpart here; from_torch knows {known}")
    try:
        layer = pair.to_layer(module, shape)
        output_shape = layer.init(shape)[1]
    except InputError as error:
        raise InputError(f"{where}{error}") from None
    if isinstance(layer, Linear) and shape[-1:] != (module.in_features,):
        raise InputError(
            f"{where}{module} takes {module.in_features} values on the last axis, but gets {shape}"
        )
    return layer, output_shape


def _parameters(module: Any, path: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import torch

    if type(module) is torch.nn.Sequential:
        for k, part in enumerate(module):
            yield from _parameters(part, (*path, str(k)))
        return
    for name, parameter in module.named_parameters():
        host = parameter.detach().cpu()
        if host.dtype is torch.bfloat16:  # which NumPy lacks; float32 holds it exactly
            host = host.float()
        yield ".".join((*path, name)), host.numpy().T  # a bias is its own transpose


def _expect(module: Any, name: str, values: tuple[Any, ...], what: str) -> None:
    """Raise InputError unless a setting of the module is one that the layer stands for."""
    value = getattr(module, name)
    if value not in values:
        raise InputError(
            f"{type(module).__name__}({name}={value}): expected {what}, {values[0]}, for the "
            "layer here"
        )
