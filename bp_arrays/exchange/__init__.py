"""Networks in the languages of other tools: ONNX, and PyTorch's modules."""
