"""Cases of the layers of `attention`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bp_arrays.attention import (
    Embedding,
    FeedForward,
    LearnedPositions,
    MultiHeadAttention,
    RotaryPositions,
    SinusoidalPositions,
    TiedEmbedding,
    TransformerBlock,
)
from bp_arrays.kernels import add_rows
from bp_arrays.layers import Layer, Linear
from bp_arrays.random import host_generator
from bp_arrays.testing._case import DTYPES, DTYPES_WITH_HALF, Case
from bp_arrays.testing._placement import HostArrays, Placement
from bp_arrays.testing.cases._inputs import normal
from bp_arrays.testing.cases._layer import layer_case
from bp_arrays.testing.witnesses._attention import (
    add_rows_values,
    attention_values,
    block_values,
    embedding_values,
    feed_forward_values,
    positions_values,
    tied_values,
)
from bp_arrays.testing.witnesses._witness import formula
from bp_arrays.trees import Tree
from bp_arrays.typing import Array, HostArray

EMBEDDINGS: dict[str, tuple[Embedding, tuple[int, ...]]] = {
    "ordinary": (Embedding(7, 3), (4, 5)),
    "one index per sample": (Embedding(5, 4), (6,)),
    "batch of 1": (Embedding(3, 2), (1, 1)),
    "large table": (Embedding(300, 3), (3, 2, 11)),
    "padding": (Embedding(6, 3, padding_index=2), (3, 7)),
}
"""Each variant with the shape of its indices, (batch, ...)."""

POSITIONS = {
    "LearnedPositions, ordinary": (LearnedPositions(4), (3, 4, 5)),
    "LearnedPositions, short sequences": (LearnedPositions(6), (2, 4, 3)),
    "SinusoidalPositions, ordinary": (SinusoidalPositions(), (2, 5, 4)),
    "SinusoidalPositions, odd sizes": (SinusoidalPositions(100.0), (1, 3, 5)),
    "RotaryPositions, ordinary": (RotaryPositions(), (2, 5, 6)),
    "RotaryPositions, heads": (RotaryPositions(100.0), (1, 2, 3, 4)),
    "RotaryPositions, interleaved": (RotaryPositions(interleaved=True), (2, 3, 6)),
}
BASES = {"odd sizes": 100.0, "heads": 100.0}

ATTENTION: dict[str, tuple[MultiHeadAttention, tuple[int, int, int]]] = {
    "ordinary": (MultiHeadAttention(2), (2, 3, 4)),
    "causal": (MultiHeadAttention(3, causal=True, bias=False), (2, 5, 6)),
    "one position": (MultiHeadAttention(1, causal=True), (1, 1, 3)),
    "grouped queries": (MultiHeadAttention(4, kv_heads=2, causal=True), (2, 3, 8)),
    "mask": (MultiHeadAttention(2), (3, 4, 4)),
    "rotary, lengths": (MultiHeadAttention(2, causal=True, rotary=True), (3, 4, 8)),
}
"""Each variant with the shape of its sequences, (batch, time, features)."""

BLOCKS: dict[str, tuple[Layer, tuple[int, ...], Callable[[HostArrays], HostArrays]]] = {
    "FeedForward, ordinary": (FeedForward(2), (2, 3, 3), feed_forward_values),
    "FeedForward, without bias": (FeedForward(3, bias=False), (4, 1), feed_forward_values),
    "TransformerBlock, ordinary": (
        TransformerBlock(2, expansion=2),
        (2, 3, 4),
        partial(block_values, heads=2, causal=False),
    ),
    "TransformerBlock, causal, lengths": (
        TransformerBlock(2, expansion=1, causal=True, rotary=True),
        (3, 4, 4),
        partial(block_values, heads=2, causal=True, rotary=True),
    ),
}
"""Each variant with the shape of its input, (batch, ..., features), and its witness."""

HALVES = ("ordinary", "padding", "causal", "mask")


def attention_cases() -> Iterator[Case]:
    """Yield the cases of every layer."""
    for variant, (embedding, shape) in EMBEDDINGS.items():
        yield layer_case(
            embedding,
            partial(_indices, variant, shape, embedding.size),
            variant,
            analytic=True,
            witnesses=formula(partial(embedding_values, padding_index=embedding.padding_index)),
            dtypes=_dtypes(variant),
        )
    for name, (layer, positions_shape) in POSITIONS.items():
        component, _, variant = name.partition(", ")
        witness = partial(positions_values, name, base=BASES.get(variant, 10000.0))
        yield layer_case(
            layer,
            partial(normal, component, variant, "x", shape=positions_shape),
            variant,
            analytic=True,
            witnesses=formula(witness),
            dtypes=_dtypes(variant),
        )
    for variant, (attention, sequences) in ATTENTION.items():
        heads = attention.heads
        values = partial(
            attention_values,
            heads=heads,
            kv_heads=attention.kv_heads or heads,
            causal=attention.causal,
            rotary=bool(attention.rotary),
        )
        yield layer_case(
            attention,
            partial(_sequences, "MultiHeadAttention", variant, sequences),
            variant,
            delta=_of_numbers,
            witnesses=formula(partial(_of_entries, values)),
            dtypes=_dtypes(variant),
        )
    for name, (block, block_shape, block_witness) in BLOCKS.items():
        component, _, variant = name.partition(", ")
        yield layer_case(
            block,
            partial(_sequences, component, variant, block_shape),
            variant,
            delta=_of_numbers,
            witnesses=formula(partial(_of_entries, block_witness)),
            dtypes=_dtypes(variant),
        )
    for variant, indices in {"ordinary": (3, 4), "batch of 1": (1, 2)}.items():
        yield layer_case(
            TiedEmbedding(Embedding(5, 3), Linear(3)),
            partial(_indices, variant, indices, 5),
            variant,
            analytic=True,
            witnesses=formula(tied_values),
            dtypes=_dtypes(variant),
        )


def add_rows_cases() -> Iterator[Case]:
    """Yield the cases of the kernel that adds rows by index, with few rows and with many."""
    for variant, size, count in (("ordinary", 6, 40), ("large table", 257, 100), ("one row", 1, 1)):
        yield Case(
            "add rows",
            variant,
            "kernel",
            partial(_rows, variant, size, count),
            partial(_added, size),
            witnesses=formula(partial(add_rows_values, size)),
            dtypes=DTYPES_WITH_HALF,
        )


def _dtypes(variant: str) -> tuple[str, ...]:
    return DTYPES_WITH_HALF if variant in HALVES else DTYPES


def _indices(variant: str, shape: tuple[int, ...], size: int) -> HostArray:
    """Draw indices from half of the table at most, so that rows repeat and others are not used."""
    generator = host_generator(2026, "case", "indices", variant)
    return generator.integers(0, size // 2 + 1, shape)


def _sequences(component: str, variant: str, shape: tuple[int, ...]) -> HostArray | HostArrays:
    """Draw sequences; with "mask" or "lengths" in the variant, one of them without any key."""
    x = normal(component, variant, "x", shape=shape)
    if "mask" in variant:
        return {"x": x, "mask": np.array([[1.0, 0.0, 1.0, 1.0], [0.0] * 4, [1.0, 1.0, 0.0, 0.0]])}
    if "lengths" in variant:
        return {"x": x, "lengths": np.array([2, 4, 0])}
    return x


def _of_numbers(drawn: Tree) -> Tree:
    """Return the errors of a case without that of a mask."""
    return drawn | {"mask": None} if isinstance(drawn, dict) and "mask" in drawn else drawn


def _of_entries(values: Callable[[HostArrays], HostArrays], inputs: HostArrays) -> HostArrays:
    """Call a witness with the entries of a dict, "x.x" and "x.mask", by their own names."""
    if "x" in inputs:
        return values(inputs)
    results = values({name.removeprefix("x."): array for name, array in inputs.items()})
    return {f"{name}.x": array for name, array in results.items()}


def _rows(variant: str, size: int, count: int) -> HostArrays:
    rows = normal("add rows", variant, "rows", shape=(count, 3))
    return {"ids": _indices(variant, (count,), size), "rows": rows}


def _added(size: int, placement: Placement, arrays: dict[str, Array]) -> dict[str, Array]:
    ids, rows = arrays["ids"], arrays["rows"]
    return {"total": add_rows(ids, rows, size, device=placement.native, xp=placement.xp)}
