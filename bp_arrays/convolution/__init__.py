"""Convolution, pooling and upsampling: layers for images and signals, channels last."""

__all__: list[str] = []
