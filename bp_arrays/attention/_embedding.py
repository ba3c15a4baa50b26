"""`Embedding`: a row of a table for each index; `TiedEmbedding`: the table again as the output."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from bp_arrays.checks import argument_error, check_integer, check_kind
from bp_arrays.errors import InputError
from bp_arrays.initializers import Initializer, Normal
from bp_arrays.kernels import add_rows
from bp_arrays.layers import Context, IndexShape, Layer, Parameter, Specification
from bp_arrays.typing import Array, Backward, ParameterTree, Shape


@dataclass(frozen=True)
class Embedding(Layer):
    """A vector for each index: y = w[x], row x of a table w that is learned.

    Indices (batch, ...) of any number of axes become vectors (batch, ..., features). The
    derivative by a row is the sum of the errors at all positions where it was taken,
    ∂L/∂w_v = Σ_i 1[x_i = v] δ_i. There is no derivative by an index: dx is None.

    The input must be declared as indices, `bp.InputSpec(shape, "index")`. A model takes the size
    of the table from this layer, and refuses indices that are not below it.

    Parameters
    ----------
    size : int
        The number of rows: of words, characters, categories.
    features : int
        The size of a vector.
    padding_index : int, optional
        An index that stands for no entry, such as the padding at the end of a short text: its
        vector is 0, and its row of the table is never used.
    weight_init : Initializer, default Normal()
        Draws w, of shape (size, features).

    Raises
    ------
    InputError
        If a field has the wrong type or is out of range; when the model is built, if the input
        is numbers, or its indices may exceed the table.

    Notes
    -----
    PyTorch's `padding_idx` is a row that starts at 0 and has no gradient, but may be set to
    another vector; here the vector is always 0. ONNX: Gather; negative indices, which count from
    the end there, are refused.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> words = bp.InputSpec((3,), "index")
    >>> model = bp.Model(bp.Embedding(10, 2), words, device="cpu")
    >>> model.predict([[1, 0, 9]]).shape
    (1, 3, 2)
    >>> model.predict([[1, 0, 10]])
    Traceback (most recent call last):
    bp_arrays.errors.InputError: x[0, 2]: expected an index, a whole number from 0 to 9, got 10
    """

    size: int
    features: int
    padding_index: int | None = None
    weight_init: Initializer = field(default_factory=Normal)

    def __post_init__(self) -> None:
        check_integer(self, "size", at_least=1)
        check_integer(self, "features", at_least=1)
        check_kind(self, "weight_init", Initializer, "an initializer such as Normal(0.02)")
        if self.padding_index is not None:
            check_integer(self, "padding_index", at_least=0)
            if self.padding_index >= self.size:
                bound = f"an index below the size, {self.size}"
                raise argument_error("Embedding", "padding_index", self.padding_index, bound)

    @property
    def index_size(self) -> int:
        return self.size

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        if not isinstance(input_shape, IndexShape):
            raise InputError(
                f"Embedding({self.size}, {self.features}): expected indices as its input, got "
                f"numbers of shape {input_shape}; declare the model's input as "
                f'InputSpec(shape, "index")'
            )
        if input_shape.size is not None and input_shape.size > self.size:
            raise InputError(
                f"Embedding({self.size}, {self.features}): expected indices below {self.size}, "
                f"got an input of size {input_shape.size}; make the table larger"
            )
        table = Parameter((self.size, self.features), self.weight_init)
        return {"weight": table}, (*input_shape, self.features)

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, w, shape = ctx.xp, params["weight"], tuple(x.shape)
        ids = xp.reshape(x, (math.prod(shape),))
        rows = xp.take(w, ids, axis=0)  # (positions, features)
        if self.padding_index is not None:
            is_entry = (ids != self.padding_index)[:, None]
            rows = xp.where(is_entry, rows, 0.0)

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            delta = xp.reshape(delta, (math.prod(shape), self.features))
            if self.padding_index is not None:
                delta = xp.where(is_entry, delta, 0.0)
            # ∂L/∂w_v = Σ_i 1[x_i = v] δ_i
            return None, {"weight": add_rows(ids, delta, self.size, device=ctx.device, xp=xp)}

        return xp.reshape(rows, (*shape, self.features)), backward


@dataclass(frozen=True)
class TiedEmbedding(Layer):
    """A net whose output layer is the table of its embedding: y = body(w[x]) wᵀ.

    The score of an index is the product of its row with the vector that the body puts out. The
    table is one parameter, "embedding.weight", with two uses; its derivative is the sum of both:
    for h = body(w[x]), with one row for each position, ∂L/∂w = δᵀ h + the one of the embedding.

    Parameters
    ----------
    embedding : Embedding
    body : Layer
        From vectors (..., features) to vectors (..., features), with the features of the
        embedding.

    Raises
    ------
    InputError
        If `embedding` is no Embedding or `body` no layer; when the model is built, if the body
        puts out another number of features.

    Notes
    -----
    Press and Wolf, "Using the Output Embedding to Improve Language Models", 2017.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> net = bp.TiedEmbedding(bp.Embedding(10, 4), bp.Sequential(bp.Linear(4), bp.Tanh()))
    >>> model = bp.Model(net, bp.InputSpec((3,), "index"), device="cpu")
    >>> list(model.parameters), model.output_shape
    (['embedding.weight', 'body.0.weight', 'body.0.bias'], (3, 10))
    """

    embedding: Embedding
    body: Layer

    def __post_init__(self) -> None:
        check_kind(self, "embedding", Embedding, "an Embedding such as Embedding(65, 128)")
        check_kind(self, "body", Layer, "a layer such as Sequential(...)")

    def parts(self) -> dict[str, Layer]:
        return {"embedding": self.embedding, "body": self.body}

    def init(self, input_shape: Shape) -> tuple[Specification, Shape]:
        table, vectors = self.embedding.init(input_shape)
        specification, output_shape = self.body.init(vectors)
        if not output_shape or output_shape[-1] != self.embedding.features:
            raise InputError(
                f"TiedEmbedding(body=): expected an output of {self.embedding.features} features, "
                f"as the embedding has, got shape {output_shape}"
            )
        specifications = {"embedding": table, "body": specification}
        output_shape = (*output_shape[:-1], self.embedding.size)
        return {name: part for name, part in specifications.items() if part}, output_shape

    def forward(self, params: ParameterTree, x: Array, ctx: Context) -> tuple[Array, Backward]:
        xp, w = ctx.xp, params["embedding"]["weight"]
        vectors, embedding_backward = ctx.forward("embedding", self.embedding, params, x)
        h, body_backward = ctx.forward("body", self.body, params, vectors)
        shape = tuple(h.shape)
        rows = xp.reshape(h, (math.prod(shape[:-1]), shape[-1]))  # (positions, features)
        y = rows @ w.T

        def backward(delta: Array) -> tuple[Array, ParameterTree]:
            delta = xp.reshape(delta, tuple(y.shape))
            dvectors, body_gradients = body_backward(xp.reshape(delta @ w, shape))
            _, gradients = embedding_backward(dvectors)
            dw = gradients["weight"] + delta.T @ rows  # the sum over both uses
            return None, {"embedding": {"weight": dw}, "body": body_gradients}

        return xp.reshape(y, (*shape[:-1], w.shape[0])), backward
