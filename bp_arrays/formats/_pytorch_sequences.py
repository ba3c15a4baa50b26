"""Pairs of embeddings and attention and their PyTorch modules."""

from __future__ import annotations

from typing import Any

from bp_arrays.activations import GELU, ReLU
from bp_arrays.attention import (
    Embedding,
    LearnedPositions,
    MultiHeadAttention,
    TransformerBlock,
)
from bp_arrays.errors import InputError
from bp_arrays.formats._pytorch_pairs import Arrays, Layout, Pair, expect, expect_size, unchanged
from bp_arrays.layers import Layer
from bp_arrays.normalization import LayerNorm
from bp_arrays.typing import Shape


def _table_to_torch(layer: Embedding, arrays: Arrays) -> Arrays:
    """Return the table with the row of the padding set to 0, as this layer reads it."""
    table = arrays["weight"]
    if layer.padding_index is not None:
        table = table.copy()
        table[layer.padding_index] = 0.0
    return {"weight": table}


def _table_to_layer(layer: Embedding, arrays: Arrays) -> Arrays:
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


def _attention_to_torch(layer: MultiHeadAttention, arrays: Arrays) -> Arrays:
    own = flat(arrays)
    return {theirs: own[ours].T for theirs, ours in ATTENTION_NAMES.items() if ours in own}


def _attention_to_layer(layer: MultiHeadAttention, arrays: Arrays) -> Arrays:
    return {ATTENTION_NAMES[name]: array.T for name, array in arrays.items()}


def _positions(module: Any, shape: Shape, layout: Layout) -> Layer:
    expect_size(module, module.weight.shape[1], shape)
    return LearnedPositions(module.weight.shape[0])


BLOCK_NAMES = {
    "self_attn.in_proj_weight": "attention.qkv.weight",
    "self_attn.in_proj_bias": "attention.qkv.bias",
    "self_attn.out_proj.weight": "attention.out.weight",
    "self_attn.out_proj.bias": "attention.out.bias",
    "linear1.weight": "feed_forward.up.weight",
    "linear1.bias": "feed_forward.up.bias",
    "linear2.weight": "feed_forward.down.weight",
    "linear2.bias": "feed_forward.down.bias",
    "norm1.weight": "norm1.scale",
    "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.scale",
    "norm2.bias": "norm2.bias",
}


def _block_to_torch(layer: TransformerBlock, arrays: Arrays) -> Arrays:
    own, prefix = flat(arrays), "block." if layer.causal else ""
    return {prefix + theirs: own[ours].T for theirs, ours in BLOCK_NAMES.items() if ours in own}


def _block_to_layer(layer: TransformerBlock, arrays: Arrays) -> Arrays:
    return {BLOCK_NAMES[name.removeprefix("block.")]: array.T for name, array in arrays.items()}


def _build_block(layer: TransformerBlock, shape: Shape, dtype: Any) -> Any:
    import torch

    from bp_arrays.formats._torch_modules import CausalBlock, TanhGELU

    activation: Any = "relu"
    if isinstance(layer.activation, GELU):
        activation = "gelu" if layer.activation.exact else TanhGELU()
    block = torch.nn.TransformerEncoderLayer(
        shape[-1],
        layer.heads,
        layer.expansion * shape[-1],
        dropout=0.0,
        activation=activation,
        layer_norm_eps=layer.norm.epsilon,  # type: ignore[attr-defined]  # as _is_plain tested
        batch_first=True,
        norm_first=True,
        bias=layer.bias,
        device="meta",
        dtype=dtype,
    )
    block = block.to_empty(device="cpu")
    return CausalBlock(block) if layer.causal else block


def _is_plain(layer: TransformerBlock, shape: Shape) -> bool:
    """Return whether PyTorch has the block with all its settings."""
    norm = layer.norm
    return (
        layer.kv_heads in (None, layer.heads)
        and not layer.rotary
        and not layer.dropout
        and isinstance(layer.activation, (GELU, ReLU))
        and isinstance(norm, LayerNorm)
        and norm.scale
        and norm.bias == layer.bias
    )


def _block(module: Any, shape: Shape, layout: Layout) -> Layer:
    import torch

    inner = getattr(module, "block", module)
    expect(inner, "norm_first", (True,), "the norms first")
    expect(inner.self_attn, "batch_first", (True,), "the batch on the first axis")
    expect(inner.self_attn, "dropout", (0.0,), "no dropout")
    for name in ("dropout", "dropout1", "dropout2"):
        expect(getattr(inner, name), "p", (0.0,), "no dropout")
    expect_size(inner.self_attn, inner.self_attn.embed_dim, shape)
    expansion, rest = divmod(inner.linear1.out_features, shape[-1])
    if rest or inner.norm1.eps != inner.norm2.eps:
        raise InputError(
            f"TransformerEncoderLayer(dim_feedforward={inner.linear1.out_features}): expected a "
            "multiple of d_model, and one eps of both norms"
        )
    bias = inner.linear1.bias is not None
    return TransformerBlock(
        inner.self_attn.num_heads,
        expansion,
        causal=module is not inner,
        activation=_activation(inner.activation, torch),
        bias=bias,
        norm=LayerNorm(inner.norm1.eps, bias=bias),
    )


def _activation(function: Any, torch: Any) -> Layer:
    from bp_arrays.formats._torch_modules import TanhGELU

    if function is torch.nn.functional.relu or type(function) is torch.nn.ReLU:
        return ReLU()
    if function is torch.nn.functional.gelu:
        return GELU(exact=True)
    if type(function) is torch.nn.GELU:
        return GELU(exact=function.approximate == "none")
    if type(function) is TanhGELU:
        return GELU()
    raise InputError(f"TransformerEncoderLayer(activation={function!r:.60}): expected ReLU or GELU")


def _block_of(name: str, *, causal: bool) -> Pair:
    return Pair(
        TransformerBlock,
        name,
        lambda layer, shape, layout: {},
        _block,
        _block_to_torch,
        _block_to_layer,
        layout="last",
        fits=lambda layer, shape: layer.causal is causal and _is_plain(layer, shape),
        build=_build_block,
    )


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
        _table_to_torch,
        _table_to_layer,
        layout="last",
    ),
    Pair(
        MultiHeadAttention,
        "SelfAttention",
        lambda layer, shape, layout: {},
        _attention,
        _attention_to_torch,
        _attention_to_layer,
        layout="last",
        fits=_has_twin,
        build=_build_attention,
    ),
    Pair(
        LearnedPositions,
        "Positions",
        lambda layer, shape, layout: {"length": layer.length, "features": shape[-1]},
        _positions,
        unchanged,
        unchanged,
        layout="last",
    ),
    _block_of("TransformerEncoderLayer", causal=False),
    _block_of("CausalBlock", causal=True),
)
