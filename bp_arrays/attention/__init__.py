"""Embeddings, positions, attention and the transformer block."""

from bp_arrays.attention._embedding import Embedding, TiedEmbedding
from bp_arrays.attention._multi_head_attention import MultiHeadAttention
from bp_arrays.attention._positions import LearnedPositions, RotaryPositions, SinusoidalPositions
from bp_arrays.attention._transformer_block import FeedForward, TransformerBlock

__all__ = [
    "Embedding",
    "FeedForward",
    "LearnedPositions",
    "MultiHeadAttention",
    "RotaryPositions",
    "SinusoidalPositions",
    "TiedEmbedding",
    "TransformerBlock",
]
