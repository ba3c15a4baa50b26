"""Pairs of embeddings and attention and their PyTorch modules."""

from __future__ import annotations

from typing import Any

from bp_arrays.attention import Embedding, MultiHeadAttention
from bp_arrays.errors import InputError
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect, expect_size
from bp_arrays.layers import Layer
from bp_arrays.typing import Shape


def _table_there(layer: Embedding, arrays: Arrays) -> Arrays:
    """Return the table with the row of the padding set to 0, as this layer reads it."""
    table = arrays["weight"]
    if layer.padding_index is not None:
        table = table.copy()
        table[layer.padding_index] = 0.0
    return {"weight": table}


def _table_here(layer: Embedding, arrays: Arrays) -> Arrays:
    if layer.padding_index is not None and arrays["weight"][layer.padding_index].any():
        raise InputError(
            f"from_torch: Embedding(padding_idx={layer.padding_index}): expected zeros in that "
            "row, which is always zero in the layer"
        )
    return dict(arrays)


def _embedding(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect(module, "max_norm", (None,), "no limit")
    return Embedding(module.num_embeddings, module.embedding_dim, padding_index=module.padding_idx)


def _build_attention(layer: MultiHeadAttention, shape: Shape, dtype: Any) -> Any:
    import torch

    from bp_arrays.formats._torch_modules import SelfAttention

    attention = torch.nn.utils.skip_init(
        torch.nn.MultiheadAttention,
        shape[-1],
        layer.heads,
        bias=layer.bias,
        batch_first=True,
        dtype=dtype,
    )
    return SelfAttention(attention, causal=layer.causal)


def _attention(module: Any, shape: Shape, layout: Layout) -> Layer:
    inner = module.attention
    expect_size(inner, inner.embed_dim, shape)
    expect(inner, "batch_first", (True,), "the batch on the first axis")
    expect(inner, "dropout", (0.0,), "no dropout of weights")
    expect(inner, "bias_k", (None,), "no further keys")
    expect(inner, "add_zero_attn", (False,), "no further keys")
    expect(inner, "_qkv_same_embed_dim", (True,), "keys and values of the size of queries")
    has_bias = inner.in_proj_bias is not None
    return MultiHeadAttention(inner.num_heads, causal=module.causal, bias=has_bias)


ATTENTION_NAMES = {
    "attention.in_proj_weight": "qkv.weight",
    "attention.in_proj_bias": "qkv.bias",
    "attention.out_proj.weight": "out.weight",
    "attention.out_proj.bias": "out.bias",
}


def flat(arrays: dict[str, Any]) -> Arrays:
    """Return nested arrays by names such as "qkv.weight"."""
    result: Arrays = {}
    for name, part in arrays.items():
        if isinstance(part, dict):
            result |= {f"{name}.{inner}": array for inner, array in flat(part).items()}
        else:
            result[name] = part
    return result


def _attention_there(layer: MultiHeadAttention, arrays: Arrays) -> Arrays:
    own = flat(arrays)
    return {there: own[here].T for there, here in ATTENTION_NAMES.items() if here in own}


def _attention_here(layer: MultiHeadAttention, arrays: Arrays) -> Arrays:
    return {ATTENTION_NAMES[name]: array.T for name, array in arrays.items()}


def _has_twin(layer: MultiHeadAttention, shape: Shape) -> bool:
    return layer.kv_heads in (None, layer.heads) and not layer.rotary


SEQUENCES = (
    Pair(
        Embedding,
        "Embedding",
        lambda layer, shape, layout: {
            "num_embeddings": layer.size,
            "embedding_dim": layer.features,
            "padding_idx": layer.padding_index,
        },
        _embedding,
        _table_there,
        _table_here,
        layout="last",
    ),
    Pair(
        MultiHeadAttention,
        "SelfAttention",
        lambda layer, shape, layout: {},
        _attention,
        _attention_there,
        _attention_here,
        layout="last",
        fits=_has_twin,
        build=_build_attention,
    ),
)
