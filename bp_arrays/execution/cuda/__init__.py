"""Steps of training as CUDA graphs."""
