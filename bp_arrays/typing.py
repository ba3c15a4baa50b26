"""Type aliases that all packages share.

The array API standard has no static type that NumPy, CuPy, PyTorch and JAX arrays share, so an
array is `Any` to the type checker; shapes and dtypes are documented in the docstrings and
checked at run time by the package `inputs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
"""An array of any namespace that follows the array API standard 2024.12."""

HostArray = np.ndarray[Any, Any]
"""A NumPy array of any shape and dtype."""

Namespace = Any
"""A module of array functions, such as `device.xp`."""

Shape = tuple[int, ...]

ParameterTree = dict[str, Any]
"""Arrays by name, nested like the layers: {"0": {"weight": ..., "bias": ...}, "2": ...}."""

StateUpdates = dict[tuple[str, ...], Array]
"""New values of non-trainable parameters by path: ("0", "mean")."""

Backward = Callable[[Array], tuple[Array, ParameterTree]]
"""delta (the derivative of the loss by a layer's output) -> (derivative by its input, by its
parameters)."""
