"""A layer tree with its parameters: one vector on one device; saved and loaded."""

from bp_arrays.model.files import load
from bp_arrays.model.model import Model

__all__ = ["Model", "load"]
