"""Checkpoints: the whole state of training, saved to a folder and read back."""

from bp_arrays.training.checkpoints._checkpoint import Checkpoint

__all__ = ["Checkpoint"]
