"""Convert networks to PyTorch modules and back, for the layers that both libraries have.

Images are (batch, height, width, channels) here and (batch, channels, height, width) in PyTorch.
A converted net expects what is usual in its library, so that no axes are moved where images stay
images: where one becomes a vector, `Flatten` numbers the values in another order, and the rows of
the next Linear layer's weight are reordered with it. Elsewhere a module `Permute` moves the
channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.formats._pytorch_convolution import CONVOLUTION, GLOBAL_POOLING
from bp_arrays.formats._pytorch_normalization import NORMALIZATION
from bp_arrays.formats._pytorch_pairs import (
    BASIC,
    Arrays,
    Layout,
    Pair,
    channels_first_order,
    described,
)
from bp_arrays.formats._pytorch_recurrence import RECURRENCE
from bp_arrays.formats._pytorch_sequences import SEQUENCES
from bp_arrays.layers import Flatten, Layer, Linear, Sequential
from bp_arrays.typing import HostArray, ParameterTree, Shape

PAIRS = (*BASIC, *NORMALIZATION, *CONVOLUTION, *RECURRENCE, *SEQUENCES)
"""The pairs of all layers that PyTorch has too; the first that fits is used."""

DTYPES = ("float32", "float64", "float16", "bfloat16")


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

    steps = list(_steps(net, params, input_shape, ""))
    exporter = _Exporter(steps, getattr(torch, dtype))
    module = exporter.module(net)
    if not isinstance(net, Sequential):
        module = torch.nn.Sequential(module)
    return module.eval()


@dataclass(frozen=True)
class _Step:
    """One layer of a net, between Sequential ones.

    Parameters
    ----------
    layer : Layer
    path : str
    params : dict of arrays
    shape, output_shape : tuple of int
    pair : Pair
    """

    layer: Layer
    path: str
    params: Arrays
    shape: Shape
    output_shape: Shape
    pair: Pair


def _steps(layer: Layer, params: ParameterTree, shape: Shape, path: str) -> Iterator[_Step]:
    """Yield the layers of a net in order."""
    if type(layer) is Sequential:
        for name, part in layer.parts().items():
            part_path = f"{path}.{name}" if path else name
            yield from _steps(part, params.get(name, {}), shape, part_path)
            shape = part.init(shape)[1]
        return
    pair = next((p for p in PAIRS if p.layer is type(layer) and p.fits(layer, shape)), None)
    if pair is None:
        known = ", ".join(dict.fromkeys(["Sequential", *(p.layer.__name__ for p in PAIRS)]))
        where = f", layer {path}" if path else ""
        if any(p.layer is type(layer) for p in PAIRS):
            raise InputError(
                f"PyTorch has no module for these settings{where}: {layer!r:.200}; to_onnx writes "
                "every layer of this library"
            )
        raise InputError(
            f"PyTorch has no module for {type(layer).__name__}{where}; to_torch converts {known}"
        )
    yield _Step(layer, path, params, shape, layer.init(shape)[1], pair)


class _Exporter:
    """Builds the module of each layer of a net, in order.

    Parameters
    ----------
    steps : list of _Step
    dtype : torch dtype
    """

    def __init__(self, steps: Sequence[_Step], dtype: Any) -> None:
        self.steps, self.dtype, self.done = steps, dtype, 0
        self.layout: Layout = "last"
        if steps and len(steps[0].shape) > 1:
            self.layout = _entry(step.pair for step in steps)
        self.order: HostArray | None = None

    def module(self, layer: Layer) -> Any:
        """Return the module of a layer, with those before it that move the channels."""
        import torch

        if type(layer) is not Sequential:
            named = self._named("0")
            return named["0"] if len(named) == 1 else torch.nn.Sequential(named)
        children: OrderedDict[str, Any] = OrderedDict()
        for name, part in layer.parts().items():
            if type(part) is Sequential:
                children[name] = self.module(part)
            else:
                children.update(self._named(name))
        return torch.nn.Sequential(children)

    def _named(self, name: str) -> OrderedDict[str, Any]:
        from bp_arrays.formats._torch_modules import channels_first, channels_last

        step, following = self.steps[self.done], self.steps[self.done + 1 :]
        self.done += 1
        named: OrderedDict[str, Any] = OrderedDict()
        wanted = step.pair.layout
        if isinstance(step.layer, Flatten) and self.layout == "first":
            if _linear_follows(following):
                self.order = channels_first_order(step.shape)
            else:
                wanted = "last"
        if len(step.shape) > 1 and wanted is not None and wanted != self.layout:
            move = channels_first if wanted == "first" else channels_last
            named[f"{name}_permute"] = move(len(step.shape) + 1)
            self.layout = wanted
        named[name] = self._built(step)
        if len(step.output_shape) < 2:
            self.layout = "last"
        return named

    def _built(self, step: _Step) -> Any:
        import torch

        pair, params = step.pair, step.params
        if self.order is not None and isinstance(step.layer, Linear):
            params, self.order = params | {"weight": params["weight"][self.order]}, None
        arrays = pair.to_module_arrays(step.layer, params)
        if pair.build is not None:
            module = pair.build(step.layer, step.shape, self.dtype)
        else:
            settings = pair.settings(step.layer, step.shape, self.layout)
            if not arrays:
                return module_class(pair)(**settings)
            module = torch.nn.utils.skip_init(module_class(pair), dtype=self.dtype, **settings)
        with torch.no_grad():
            for name, array in arrays.items():
                values = torch.tensor(np.array(array, order="C"))
                _tensor(module, name).copy_(values)
        return module


def _tensor(module: Any, name: str) -> Any:
    """Return a parameter or buffer of a module by its name."""
    owner, _, last = name.rpartition(".")
    return getattr(module.get_submodule(owner), last)


def module_class(pair: Pair) -> Any:
    """Return the class of a pair's module, in `torch.nn` or among those of this library."""
    import torch

    from bp_arrays.formats import _torch_modules

    return getattr(_torch_modules, pair.module, None) or getattr(torch.nn, pair.module)


def _linear_follows(steps: Iterable[_Step]) -> bool:
    """Return whether the next layer that depends on the order of features is a Linear layer."""
    dependent = (step.layer for step in steps if step.pair.depends_on_channel_order)
    return isinstance(next(dependent, None), Linear)


def from_module(module: Any, input_shape: Shape) -> tuple[Layer, dict[str, HostArray], str]:
    """Return a `torch.nn.Sequential` as a net, its parameters by name, and its dtype.

    Parameters
    ----------
    module : torch.nn.Module
        On any device.
    input_shape : tuple of int
        Of one sample, the channels last.

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
    parts = list(_parts(module, ""))
    reader = _Reader(parts, input_shape)
    net = reader.net(module, ())
    state = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    tensors = [*module.parameters(), *state]
    dtypes = sorted({str(each.dtype).removeprefix("torch.") for each in tensors})
    if len(dtypes) > 1 or not set(dtypes) <= set(DTYPES):
        raise InputError(
            f"from_torch: expected parameters of one float dtype, got {', '.join(dtypes)}; "
            "convert them first with module.float()"
        )
    return net, reader.values, dtypes[0] if dtypes else "float32"


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


@dataclass(frozen=True)
class _Part:
    """One module of a net, between Sequential ones; without a pair it moves the channels.

    Global pooling with its Flatten in a Sequential of their own is one module, `is_flattened`.
    """

    module: Any
    where: str
    pair: Pair | None
    is_flattened: bool = False


def _parts(module: Any, path: str) -> Iterator[_Part]:
    """Yield the modules of a net in order."""
    import torch

    where = f"from_torch: module {path!r}, " if path else "from_torch: "
    name = type(module).__name__
    _check_hooks(module, where)
    if type(module) is torch.nn.Sequential and not _is_global_pooling(module):
        _check_forward(module, where)
        for key, part in module._modules.items():  # named_children skips repeated modules
            yield from _parts(part, f"{path}.{key}" if path else key)
        return
    is_flattened = _is_global_pooling(module)
    kind = type(module[0] if is_flattened else module)
    pair = next((p for p in PAIRS if module_class(p) is kind and p.accepts(module)), None)
    if pair is None and not _is_permutation(module):
        known = ", ".join(dict.fromkeys(["Sequential", *(pair.module for pair in PAIRS)]))
        raise InputError(f"{where}{name} has no counterpart; from_torch converts {known}")
    for part in module.modules():
        _check_forward(part, where)
        _check_hooks(part, where)
    yield _Part(module[0] if is_flattened else module, where, pair, is_flattened)


def _is_global_pooling(module: Any) -> bool:
    """Return whether it is pooling over all positions and Flatten, as `to_module` writes it."""
    import torch

    if type(module) is not torch.nn.Sequential or len(module) != 2:
        return False
    pool = type(module[0]).__name__
    return pool in GLOBAL_POOLING and _flattens_all(module[1], GLOBAL_POOLING[pool])


def _flattens_all(module: Any, axes: int) -> bool:
    """Return whether it is a Flatten of all axes of a sample, so many."""
    import torch

    if type(module) is not torch.nn.Flatten:
        return False
    return module.start_dim == 1 and module.end_dim in (-1, axes)


def _is_permutation(module: Any) -> bool:
    """Return whether it is a Permute, of this library or of torchvision."""
    return type(module).__name__ == "Permute" and isinstance(getattr(module, "dims", 0), Sequence)


class _Reader:
    """Builds the layer of each module of a net, in order, and reads their parameters.

    Parameters
    ----------
    parts : list of _Part
    shape : tuple of int
        Of one sample of the input, the channels last.
    """

    def __init__(self, parts: Sequence[_Part], shape: Shape) -> None:
        self.parts, self.shape, self.done = parts, shape, 0
        self.values: dict[str, HostArray] = {}
        self.order: HostArray | None = None
        self.layout: Layout = "last" if len(shape) < 2 else _entry(p.pair for p in parts)

    def net(self, module: Any, path: tuple[str, ...]) -> Layer:
        """Return the layer that computes what the module does."""
        import torch

        if type(module) is not torch.nn.Sequential or _is_global_pooling(module):
            layer = self._layer(path)
            return Sequential() if layer is None else layer
        layers: list[Layer] = []
        for part in module._modules.values():
            own = (*path, str(len(layers)))
            is_nested = type(part) is torch.nn.Sequential and not _is_global_pooling(part)
            layer = self.net(part, own) if is_nested else self._layer(own)
            if layer is not None:
                layers.append(layer)
        return Sequential(*layers)

    def _layer(self, path: tuple[str, ...]) -> Layer | None:
        """Return the layer of the next module; None for one that moves the channels."""
        part, following = self.parts[self.done], self.parts[self.done + 1 :]
        self.done += 1
        pair, module = part.pair, part.module
        if pair is None:
            _check_permutation(part, len(self.shape) + 1, self.layout)
            self.layout = OTHER[self.layout]
            return None
        if len(self.shape) > 1 and pair.layout not in (None, self.layout):
            needed = "torch.nn.Flatten() before it"
            raise InputError(
                f"{part.where}{type(module).__name__}: expected the channels on the "
                f"{'last axis' if pair.layout == 'last' else 'axis after the batch'}, which the "
                f"modules before it have elsewhere; put {needed}, or move them by "
                "torchvision.ops.Permute"
            )
        try:
            layer = pair.to_layer(module, self.shape, self.layout)
            specification, output_shape = layer.init(self.shape)
        except InputError as error:
            raise InputError(f"{part.where}{error}") from None
        if isinstance(layer, Flatten) and self.layout == "first":
            self._flatten(part, following)
        if pair.module in GLOBAL_POOLING and not part.is_flattened:
            _check_flattened(part, following)
        arrays = self._arrays(part, layer, specification)
        self.values |= {".".join((*path, name)): array for name, array in arrays.items()}
        self.shape = output_shape
        if len(output_shape) < 2:
            self.layout = "last"
        return layer

    def _flatten(self, part: _Part, following: Sequence[_Part]) -> None:
        """Note the order of the values of a flattened image for the Linear layer after it."""
        order = channels_first_order(self.shape)
        if np.array_equal(order, np.arange(order.size)):
            return
        dependent = next(
            (p for p in following if p.pair is None or p.pair.depends_on_channel_order), None
        )
        if dependent is None or dependent.pair is None or dependent.pair.layer is not Linear:
            raise InputError(
                f"{part.where}Flatten: expected a Linear module after it, since channels are last "
                "here and the order of the values differs; put torchvision.ops.Permute([0, 2, 3, "
                "1]) before it"
            )
        self.order = order

    def _arrays(self, part: _Part, layer: Layer, specification: dict[str, Any]) -> Arrays:
        """Return the parameters of a layer, with values from its module."""
        assert part.pair is not None
        expected = part.pair.to_module_arrays(layer, _zeros(specification))
        tensors = dict(part.module.named_parameters()) | dict(part.module.named_buffers())
        arrays = {}
        for name, zeros in expected.items():
            got = tuple(tensors[name].shape) if name in tensors else "none"
            if got != zeros.shape:
                kind = "buffer" if "running" in name else "parameter"
                raise InputError(
                    f"{part.where}{described(part.module)}: expected a {kind} {name!r} of shape "
                    f"{zeros.shape}, got {got}"
                )
            arrays[name] = _host(tensors[name])
        arrays = part.pair.to_layer_arrays(layer, arrays)
        if isinstance(layer, Linear) and self.order is not None:
            arrays["weight"] = arrays["weight"][np.argsort(self.order)]
            self.order = None
        return arrays


def _check_flattened(part: _Part, following: Sequence[_Part]) -> None:
    """Raise InputError unless Flatten follows global pooling, whose layer returns vectors."""
    name = type(part.module).__name__
    after = following[0].module if following else None
    if not _flattens_all(after, GLOBAL_POOLING[name]):
        got = "nothing" if after is None else repr(after).partition("\n")[0]
        raise InputError(
            f"{part.where}{name}: expected torch.nn.Flatten() right after it, since the layer "
            f"returns (batch, channels), got {got:.80}; put torch.nn.Flatten() there"
        )


def _zeros(specification: dict[str, Any]) -> Arrays:
    """Return an array for each parameter of a layer, by names such as "qkv.weight"."""
    arrays: Arrays = {}
    for name, part in specification.items():
        if isinstance(part, dict):
            arrays |= {f"{name}.{inner}": array for inner, array in _zeros(part).items()}
        else:
            arrays[name] = np.zeros(part.shape)
    return arrays


OTHER: dict[Layout, Layout] = {"first": "last", "last": "first"}


def _entry(pairs: Iterable[Pair | None]) -> Layout:
    """Return where the channels of the input are: where the first module expects them.

    A module without a pair moves them.
    """
    layout: Layout = "last"
    moves = 0
    for pair in pairs:
        if pair is None:
            moves += 1
        elif pair.layout is not None:
            layout = pair.layout
            break
        elif pair.layer is Flatten:  # what is behind it acts on vectors
            break
    return OTHER[layout] if moves % 2 else layout


def _check_permutation(part: _Part, axes: int, layout: Layout) -> None:
    """Raise InputError unless a module moves the channels from where they are."""
    to_last, to_first = (0, *range(2, axes), 1), (0, axes - 1, *range(1, axes - 1))
    expected = to_last if layout == "first" else to_first
    if tuple(range(axes)[k] for k in part.module.dims if -axes <= k < axes) != expected:
        raise InputError(
            f"{part.where}{part.module}: expected a permutation that moves the channels, {expected}"
        )


def _host(tensor: Any) -> HostArray:
    import torch

    host = tensor.detach().cpu()
    if host.dtype is torch.bfloat16:  # NumPy lacks it; float32 represents it exactly
        host = host.float()
    array: HostArray = host.numpy()
    return array


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
