"""Layers: each one small class, its derivation in one place. `layer.py` holds the contract."""

from bp_arrays.layers.context import Context
from bp_arrays.layers.dropout import Dropout
from bp_arrays.layers.flatten import Flatten
from bp_arrays.layers.layer import Layer, Parameter
from bp_arrays.layers.linear import Linear
from bp_arrays.layers.residual import Residual
from bp_arrays.layers.sequential import Sequential
from bp_arrays.layers.standardize import Standardize

__all__ = [
    "Context",
    "Dropout",
    "Flatten",
    "Layer",
    "Linear",
    "Parameter",
    "Residual",
    "Sequential",
    "Standardize",
]
