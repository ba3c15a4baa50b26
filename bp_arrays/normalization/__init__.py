"""Normalization layers: zero mean and unit variance over a batch, a sample or a group."""

__all__: list[str] = []
