"""Checkpoints: the whole state of training, saved to a folder and read back."""

from bp_arrays.training.checkpoints._checkpoint import Checkpoint
from bp_arrays.training.checkpoints._session import Session, as_checkpoint, recorded_series
from bp_arrays.training.checkpoints._settings import Setting, setting

__all__ = ["Checkpoint", "Session", "Setting", "as_checkpoint", "recorded_series", "setting"]
