"""Write a network as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.formats._onnx_functions import OnnxFunctions
from bp_arrays.formats._onnx_graph import IR_VERSION, OPSET, Graph, Value
from bp_arrays.formats._onnx_operators import OPERATORS, SINGLE_PRECISION, Write
from bp_arrays.formats._onnx_shapes import BATCH
from bp_arrays.layers import Context, IndexShape, Layer
from bp_arrays.trees import map_tree
from bp_arrays.typing import Backward, ParameterTree, Shape

SIZE_LIMIT = 2**31 - 2**20
"""The maximum bytes of parameters in one protobuf message, with room for the rest."""


def onnx_bytes(
    net: Layer,
    params: ParameterTree,
    inputs: Any,
    dtype: str,
    *,
    metadata: Mapping[str, str],
    operators: Mapping[type[Layer], Write],
) -> bytes:
    """Return the content of an ONNX file that computes the net's output in evaluation.

    Parameters
    ----------
    net : Layer
    params : nested dict of NumPy arrays
    inputs : Input, or a tuple or dict of them
        The number of rows is not fixed. An array of indices is int64.
    dtype : str
        "float32" or "float64".
    metadata : mapping of str to str
    operators : mapping from layer class to function
        Functions that write custom layers; they have precedence.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    InputError
        For another dtype, a layer that cannot be written, or more than 2 GiB of parameters.
    """
    require_extra("onnx")
    import onnx

    from bp_arrays import __version__

    if dtype not in ("float32", "float64"):
        raise InputError(
            f"to_onnx: expected a model of float32 or float64, got {dtype}; save it and load it "
            'with bp.load(path, dtype="float32")'
        )
    graph = Graph(dtype)
    values = _parameters(graph, params, ())
    if sum(parameter.ByteSize() for parameter in graph.parameters) > SIZE_LIMIT:
        raise InputError("to_onnx: expected at most 2 GiB of parameters, the limit of ONNX files")
    x = _inputs(graph, inputs)
    standard = OPERATORS | SINGLE_PRECISION if dtype == "float32" else OPERATORS
    writer = _Writer(graph, standard, operators)
    context = Context(OnnxFunctions(graph), needs_input_gradient=False, visit=writer.visit)
    y, _ = context.forward("", net, values, x, needs_input_gradient=False)
    outputs = _outputs(graph, y)
    described = onnx.helper.make_graph(
        graph.nodes,
        "net",
        [_described(value) for value in graph.inputs],
        [_described(value) for value in outputs],
        graph.parameters,
    )
    model = onnx.helper.make_model(
        described,
        producer_name="bp_arrays",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(model, dict(metadata))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"to_onnx(operators=): expected valid ONNX, got {reason:.300}") from None
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@dataclass(frozen=True)
class Input:
    """One input of a model: the shape of a sample, and whether it holds indices."""

    shape: Shape
    is_index: bool = False


def _inputs(graph: Graph, inputs: Any) -> Any:
    """Return the tree of inputs as values, named "input", by their keys, or "input_0"..."""
    if isinstance(inputs, Input):
        dtype = "int64" if inputs.is_index else graph.dtype
        return graph.input("input", (BATCH, *inputs.shape), dtype)
    if isinstance(inputs, tuple):
        named = {f"input_{k}": part for k, part in enumerate(inputs)}
        return tuple(_inputs(graph, named).values())
    return {
        name: graph.input(name, (BATCH, *part.shape), "int64" if part.is_index else graph.dtype)
        for name, part in inputs.items()
    }


def _outputs(graph: Graph, y: Any) -> list[Value]:
    """Name the outputs "output", or "output_" and their key, and drop what they do not need."""
    if isinstance(y, dict):
        named = {f"output_{name}": part for name, part in y.items() if part is not None}
    elif isinstance(y, tuple):
        named = {f"output_{k}": part for k, part in enumerate(y) if part is not None}
    else:
        named = {"output": y}
    named_already = {value.name: value.name for value in graph.inputs}
    outputs = []
    for name, value in named.items():
        name = graph.fresh(name)
        if value.name in named_already:  # an ONNX graph cannot return its input, or a value twice
            first = Value(graph, named_already[value.name], value.shape, value.dtype)
            value = graph.node("Identity", first, dtype=value.dtype)
        graph.rename(value.name, name)
        named_already[value.name] = name
        outputs.append(Value(graph, name, value.shape, value.dtype))
    graph.prune(outputs)
    return outputs


def _described(value: Value) -> Any:
    import onnx

    element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    sizes = ["batch" if size == BATCH else size for size in value.shape]
    return onnx.helper.make_tensor_value_info(value.name, element, sizes)


def _parameters(graph: Graph, tree: ParameterTree, path: tuple[str, ...]) -> dict[str, Any]:
    """Return the same tree with values of the graph in place of arrays."""
    return {
        name: _parameters(graph, part, (*path, name))
        if isinstance(part, dict)
        else graph.parameter(".".join((*path, name)), part)
        for name, part in tree.items()
    }


class _Refused(InputError):
    """The error for a layer that cannot be written, with its name in the message."""


class _Writer:
    """Writer of the layers of a net, by an ONNX operator or by the operations of their forward.

    Parameters
    ----------
    graph : Graph
    standard : mapping from layer class to function
        For layers whose input is one array.
    custom : mapping from layer class to function
        These have precedence.
    """

    def __init__(
        self,
        graph: Graph,
        standard: Mapping[type[Layer], Write],
        custom: Mapping[type[Layer], Write],
    ) -> None:
        self.graph, self.standard, self.custom = graph, standard, custom

    def visit(
        self, layer: Layer, params: dict[str, Any], x: Value, ctx: Context
    ) -> tuple[Value, Backward]:
        """Write one layer; a container's forward calls this for its parts."""
        name, path = type(layer).__name__, ".".join(ctx.path)
        try:
            with self.graph.scope(path):
                y = self._write(layer, params, x, ctx)
        except _Refused:
            raise
        except Exception as error:  # a forward may raise anything for values that are not arrays
            reason = " ".join(str(error).split())
            where = f", layer {path}" if path else ""
            raise _Refused(
                f"{name} cannot be written as ONNX{where}: {reason:.200}; pass a function that "
                f"writes it, to_onnx(path, operators={{{name}: write}}), where "
                "write(layer, params, x, graph) returns, for example, "
                'graph.node("Mul", x, params["gain"])'
            ) from None
        return y, _no_backward

    def _write(self, layer: Layer, params: dict[str, Any], x: Value, ctx: Context) -> Value:
        expected = layer.init(map_tree(_sample_shape, x))[1]
        write = self.custom.get(type(layer))
        if write is None and isinstance(x, Value):
            write = self.standard.get(type(layer))
        if write is not None:
            y = write(layer, params, x, self.graph)
        else:
            y = layer.forward(params, x, ctx)[0]
        if not _fits(y, expected):
            what = f"a value of shape {(BATCH, *expected)}" if _is_shape(expected) else expected
            raise InputError(f"expected {what}, got {y!r:.80}")
        return y


def _sample_shape(x: Value) -> Shape:
    shape = x.shape[1:]
    return IndexShape(shape) if x.dtype.kind == "i" else shape


def _is_shape(tree: Any) -> bool:
    return isinstance(tree, tuple) and all(isinstance(size, int) for size in tree)


def _fits(y: Any, shapes: Any) -> bool:
    """Return whether y is a tree of values of these shapes; an entry None fits every shape."""
    if isinstance(y, Value):
        return _is_shape(shapes) and y.shape == (BATCH, *shapes)
    if isinstance(y, dict) and isinstance(shapes, dict):
        pairs = [(part, shapes.get(name)) for name, part in y.items()]
        return y.keys() == shapes.keys() and all(p is None or _fits(p, shape) for p, shape in pairs)
    if isinstance(y, tuple) and isinstance(shapes, tuple):
        return len(y) == len(shapes) and all(map(_fits, y, shapes))
    return False


def _no_backward(delta: Any) -> Any:
    raise NotImplementedError("an ONNX graph has no backward pass")
