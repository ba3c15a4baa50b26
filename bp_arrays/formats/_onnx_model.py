"""A network as an ONNX model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.extras import require_extra
from bp_arrays.formats._onnx_functions import OnnxFunctions
from bp_arrays.formats._onnx_graph import BATCH, IR_VERSION, OPSET, Graph, Value
from bp_arrays.formats._onnx_operators import OPERATORS, SINGLE_PRECISION, Write
from bp_arrays.layers import Context, Layer
from bp_arrays.typing import Backward, ParameterTree, Shape

SIZE_LIMIT = 2**31 - 2**20
"""Bytes of parameters that go into one protobuf message, with room for the rest."""


def onnx_bytes(
    net: Layer,
    params: ParameterTree,
    input_shape: Shape,
    dtype: str,
    *,
    metadata: Mapping[str, str],
    operators: Mapping[type[Layer], Write],
) -> bytes:
    """The content of an ONNX file that computes what the net does when it is used.

    Parameters
    ----------
    net : Layer
    params : nested dict of NumPy arrays
    input_shape : tuple of int
        Of one sample; the number of rows is left open.
    dtype : str
        "float32" or "float64".
    metadata : mapping of str to str
    operators : mapping from layer class to function
        How layers of your own are written, before anything else is tried.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    InputError
        For another dtype, a layer that cannot be written, more than 2 GiB of parameters.
    """
    require_extra("onnx")
    import onnx

    from bp_arrays import __version__

    if dtype not in ("float32", "float64"):
        raise InputError(
            f"to_onnx writes float32 and float64, but this model is {dtype}: save it and read it "
            'again with bp.load(path, dtype="float32")'
        )
    graph = Graph(dtype)
    values = _parameters(graph, params, ())
    if sum(parameter.ByteSize() for parameter in graph.parameters) > SIZE_LIMIT:
        raise InputError("to_onnx: an ONNX file holds at most 2 GiB of parameters")
    x = graph.input("input", (BATCH, *input_shape))
    standard = OPERATORS | SINGLE_PRECISION if dtype == "float32" else OPERATORS
    writer = _Writer(graph, standard | dict(operators))
    context = Context(OnnxFunctions(graph), needs_input_gradient=False, visit=writer.visit)
    y, _ = context.forward("", net, values, x, needs_input_gradient=False)
    if y.name == x.name:  # nothing was done, and a graph may not give out its input
        y = graph.node("Identity", y)
    output = graph.fresh("output")
    graph.rename(y.name, output)
    element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    described = onnx.helper.make_graph(
        graph.nodes,
        "net",
        [onnx.helper.make_tensor_value_info(x.name, element, ["batch", *input_shape])],
        [onnx.helper.make_tensor_value_info(output, element, ["batch", *net.init(input_shape)[1]])],
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
        raise InputError(f"the operators given do not make valid ONNX: {reason:.300}") from None
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _parameters(graph: Graph, tree: ParameterTree, path: tuple[str, ...]) -> dict[str, Any]:
    """The same tree with values of the graph in place of arrays."""
    return {
        name: _parameters(graph, part, (*path, name))
        if isinstance(part, dict)
        else graph.parameter(".".join((*path, name)), part)
        for name, part in tree.items()
    }


class _Refused(InputError):
    """A layer that cannot be written, named already."""


class _Writer:
    """Writes each layer of a net into a graph: by an operator of its own, or as it computes.

    Parameters
    ----------
    graph : Graph
    operators : mapping from layer class to function
    """

    def __init__(self, graph: Graph, operators: Mapping[type[Layer], Write]) -> None:
        self.graph, self.operators = graph, operators

    def visit(
        self, layer: Layer, params: dict[str, Any], x: Value, ctx: Context
    ) -> tuple[Value, Backward]:
        """Write one layer; a container's forward comes back here for its parts."""
        name, path = type(layer).__name__, ".".join(ctx.path)
        try:
            with self.graph.scope(path):
                y = self._write(layer, params, x, ctx)
        except _Refused:
            raise
        except Exception as error:  # a forward may do anything to arrays that are none
            reason = " ".join(str(error).split())
            where = f", layer {path}" if path else ""
            raise _Refused(
                f"{name} cannot be written as ONNX{where}: {reason:.200}. Say how, with "
                f"to_onnx(path, operators={{{name}: write}}), where write(layer, params, x, graph) "
                'returns such as graph.node("Mul", x, params["gain"])'
            ) from None
        return y, _no_backward

    def _write(self, layer: Layer, params: dict[str, Any], x: Value, ctx: Context) -> Value:
        expected = (BATCH, *layer.init(tuple(x.shape[1:]))[1])
        write = self.operators.get(type(layer))
        if write is not None:
            y = write(layer, params, x, self.graph)
        else:  # every operation of its forward becomes a node
            y = layer.forward(params, x, ctx)[0]
        if not isinstance(y, Value) or y.shape != expected:
            raise InputError(f"it gave {y!r:.80} instead of shape {expected}")
        return y


def _no_backward(delta: Any) -> Any:
    raise NotImplementedError("an ONNX graph has no way back")
