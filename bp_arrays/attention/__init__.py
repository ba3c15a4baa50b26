"""Embeddings, positions, attention and the transformer block."""

from bp_arrays.attention._embedding import Embedding
from bp_arrays.attention._multi_head_attention import MultiHeadAttention
from bp_arrays.attention._positions import LearnedPositions, RotaryPositions, SinusoidalPositions

__all__ = [
    "Embedding",
    "LearnedPositions",
    "MultiHeadAttention",
    "RotaryPositions",
    "SinusoidalPositions",
]
