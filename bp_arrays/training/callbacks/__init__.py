"""Callbacks: early stopping, curves, TensorBoard, training health."""
