"""Layers: forward pass and derivative in one small class each; `_layer.py` has the contract."""

from bp_arrays.layers._context import Context, Visit
from bp_arrays.layers._dropout import Dropout
from bp_arrays.layers._ensemble import Ensemble, layers_of
from bp_arrays.layers._flatten import Flatten
from bp_arrays.layers._in_precision import InPrecision as InPrecision
from bp_arrays.layers._index_shape import IndexShape
from bp_arrays.layers._layer import Layer, Parameter, Specification
from bp_arrays.layers._linear import Linear
from bp_arrays.layers._merge import Add, Concatenate, Multiply
from bp_arrays.layers._parallel import Parallel
from bp_arrays.layers._reshape import Reshape
from bp_arrays.layers._residual import Residual
from bp_arrays.layers._select import Select
from bp_arrays.layers._sequential import Sequential
from bp_arrays.layers._standardize import Standardize
from bp_arrays.layers._tree import Node, walk

__all__ = [
    "Add",
    "Concatenate",
    "Context",
    "Dropout",
    "Ensemble",
    "Flatten",
    "IndexShape",
    "Layer",
    "Linear",
    "Multiply",
    "Node",
    "Parallel",
    "Parameter",
    "Reshape",
    "Residual",
    "Select",
    "Sequential",
    "Specification",
    "Standardize",
    "Visit",
    "layers_of",
    "walk",
]
