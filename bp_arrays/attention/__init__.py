"""Embeddings, positions, attention and the transformer block."""

__all__: list[str] = []
