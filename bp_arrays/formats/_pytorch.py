"""Convert networks to PyTorch modules and back, for the layers that both libraries have."""

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
"""The threshold of PyTorch's Softplus to its linear part: e⁻⁴⁰ is below the eps of float64."""


@dataclass(frozen=True)
class Pair:
    """A layer class and its module, with the conversions between them.

    Parameters
    ----------
    layer : Layer class
    module : str
        The name of the module in `torch.nn`.
    to_module : function
        Returns the keyword arguments of the module for a layer.
    to_layer : function
        Returns the layer for a module and the shape of a sample; raises InputError for settings
        that the layer does not have.
    """

    layer: type[Layer]
    module: str
    to_module: Callable[[Any], dict[str, Any]]
    to_layer: Callable[[Any, Shape], Layer]


def _plain(layer: type[Layer]) -> Pair:
    """Return a pair of the same name and without settings."""
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
    _plain(activations.Mish),
    _plain(activations.Hardsigmoid),
    _plain(activations.Hardswish),
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
    """Return the net as a `torch.nn.Sequential` on the CPU, in evaluation mode.

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
            f"PyTorch has no module for {type(layer).__name__}{where}; to_torch converts {known}"
        )
    settings = pair.to_module(layer)
    if type(layer) is not Linear:
        return getattr(torch.nn, pair.module)(**settings)
    weight = params["weight"]
    module = torch.nn.utils.skip_init(torch.nn.Linear, weight.shape[0], dtype=dtype, **settings)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight.T.copy()))  # (out, in) in PyTorch
        if layer.bias:
            module.bias.copy_(torch.tensor(params["bias"]))
    return module


def from_module(
    module: Any, input_shape: Shape
) -> tuple[Layer, dict[str, np.ndarray[Any, Any]], str]:
    """Return a `torch.nn.Sequential` as a net, its parameters by name, and its dtype.

    Parameters
    ----------
    module : torch.nn.Module
        On any device.
    input_shape : tuple of int
        Of one sample.

    Raises
    ------
    InputError
        If it is not a module, or has no counterpart; if modules share parameters, or parameters
        have different dtypes or no values.
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
            raise InputError(f"from_torch: expected values for parameter {name!r}, got none")
        other = first.setdefault(parameter.data_ptr(), name)
        if other != name and parameter.numel():
            raise InputError(
                f"from_torch: expected a parameter for each module, got one shared by {other!r} "
                f"and {name!r}; give each module its own copy, with copy.deepcopy"
            )


def _layer(module: Any, path: str, shape: Shape) -> tuple[Layer, Shape]:
    """Return the layer that computes what the module does, and its output shape."""
    import torch

    where = f"from_torch: module {path!r}, " if path else "from_torch: "
    name = type(module).__name__
    _check_hooks(module, where)
    layer: Layer
    if type(module) is torch.nn.Sequential:
        _check_forward(module, where)
        layers = []
        for key, part in module._modules.items():  # named_children skips repeated modules
            layer, shape = _layer(part, f"{path}.{key}" if path else key, shape)
            layers.append(layer)
        return Sequential(*layers), shape
    pair = next((p for p in PAIRS if getattr(torch.nn, p.module) is type(module)), None)
    if pair is None:
        known = ", ".join(["Sequential", *(pair.module for pair in PAIRS)])
        raise InputError(f"{where}{name} has no counterpart; from_torch converts {known}")
    _check_forward(module, where)
    if pair.layer is Linear:
        _check_linear(module, where)
    try:
        layer = pair.to_layer(module, shape)
        output_shape = layer.init(shape)[1]
    except InputError as error:
        raise InputError(f"{where}{error}") from None
    if isinstance(layer, Linear) and shape[-1:] != (module.in_features,):
        raise InputError(
            f"{where}{module}: expected {module.in_features} values on the last axis, got {shape}"
        )
    return layer, output_shape


def _check_hooks(module: Any, where: str) -> None:
    """Raise InputError for hooks, also those of all modules, which may change what it computes."""
    from torch.nn.modules import module as common

    names = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    if any(getattr(module, f"_{name}") for name in names):
        raise InputError(
            f"{where}{type(module).__name__}: expected no hooks, which would be lost; remove them"
        )
    if any(getattr(common, f"_global_{name}", None) for name in names):
        raise InputError(
            f"{where}expected no hooks of all modules, which would be lost; remove them"
        )


def _check_forward(module: Any, where: str) -> None:
    """Raise InputError if the module does not compute what its class does."""
    if "forward" in vars(module) or "_call_impl" in vars(module):
        raise InputError(
            f"{where}{type(module).__name__}: expected the forward of its class, got one of this "
            "module alone, which would be lost; write a layer that computes it"
        )


def _check_linear(module: Any, where: str) -> None:
    """Raise InputError unless weight and bias are parameters of the shapes the module names."""
    rows, columns = module.out_features, module.in_features
    parameters = dict(module.named_parameters(recurse=False))
    for name, shape in (("weight", (rows, columns)), ("bias", (rows,))):
        if name == "bias" and module.bias is None:
            continue
        got = tuple(parameters[name].shape) if name in parameters else "none"
        if got != shape:
            raise InputError(
                f"{where}{module}: expected a parameter {name!r} of shape {shape}, got {got}"
            )


def _parameters(module: Any, path: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import torch

    if type(module) is torch.nn.Sequential:
        for k, part in enumerate(module):
            yield from _parameters(part, (*path, str(k)))
        return
    for name, parameter in module.named_parameters():
        host = parameter.detach().cpu()
        if host.dtype is torch.bfloat16:  # NumPy lacks it; float32 represents it exactly
            host = host.float()
        yield ".".join((*path, name)), host.numpy().T  # the transpose of a bias is the bias


def _expect(module: Any, name: str, values: tuple[Any, ...], what: str) -> None:
    """Raise InputError unless a setting of the module has a value that the layer implements."""
    value = getattr(module, name)
    if value not in values:
        raise InputError(
            f"{type(module).__name__}({name}={value}): expected {what}, {values[0]}, as in the "
            "layer"
        )
