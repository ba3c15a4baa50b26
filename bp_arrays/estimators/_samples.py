"""Validation of an estimator's input, and the device it is on.

With `sklearn.set_config(array_api_dispatch=True)`, everything follows X: CuPy arrays, PyTorch
tensors, JAX and strict arrays are processed on their device. Otherwise everything is NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from sklearn.utils.validation import validate_data

from bp_arrays.devices import Device, device as find_device, device_of_or_none, name_of_dtype
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.inputs import prepare_weights
from bp_arrays.typing import Array, HostArray

HOST = find_device("cpu")
FLOATS = ("float64", "float32")
SPARSE = ["csr", "csc"]
"""The sparse formats used without conversion."""


@dataclass(frozen=True)
class Samples:
    """Validated data: X on its own device, the rest on the host.

    Parameters
    ----------
    X : array or sparse matrix (samples, features)
    y : array (samples, ...)
        In the form of predictions.
    targets : array (samples, ...)
        In the form the loss expects.
    weight : array (samples,) or None
    """

    X: Any
    y: HostArray
    targets: HostArray
    weight: HostArray | None

    def take(self, rows: HostArray) -> Samples:
        """Return the samples with these row numbers."""
        device = input_device(self.X)
        with device.activate():
            on_host = device == HOST
            X = self.X[rows] if on_host else device.xp.take(self.X, device.asarray(rows), axis=0)
        return Samples(
            X,
            self.y[rows],
            self.targets[rows],
            None if self.weight is None else self.weight[rows],
        )


def input_device(X: Any) -> Device:
    """Return the device that X is on; the host for tables, lists and sparse matrices.

    Raises
    ------
    InputError
        If X is not in the host's memory and dispatch is off.
    """
    device = device_of_or_none(X)
    if sklearn.get_config()["array_api_dispatch"]:
        return device or HOST
    if device is not None and device.kind != "cpu":
        raise InputError(
            f"X: expected data in the host's memory, got an array on {str(device)!r}; to compute "
            "there, call sklearn.set_config(array_api_dispatch=True) first, with the environment "
            "variable SCIPY_ARRAY_API=1; or pass NumPy arrays and choose the device by device="
        )
    return HOST


def moved_to_host(values: Any) -> Any:
    """Copy an array of another device to the host; return anything else unchanged."""
    device = device_of_or_none(values)
    return values if device is None or device == HOST else device.to_numpy(values)


def readable_input(X: Any) -> Any:
    """Return X as scikit-learn can read it: with dispatch off, in NumPy.

    scikit-learn cannot read tensors of PyTorch that require a gradient or are in bfloat16.

    Raises
    ------
    InputError
        As `input_device`.
    """
    return moved_to_host(X) if input_device(X) == HOST else X


def validated_input(
    estimator: Any,
    X: Any,
    *,
    device: Device,
    method: str,
    accepted: Callable[[Any], dict[str, Any]],
) -> Array:
    """Validate the input of a method after `fit`: the columns, names and device of `fit`.

    Raises
    ------
    ValueError
        If X does not have the columns of `fit`.
    DeviceMismatchError
        If dispatch is on and X is not on `device`, where the data of `fit` was.
    """
    X, current = readable_input(X), input_device(X)
    if sklearn.get_config()["array_api_dispatch"] and current != device:
        name = type(estimator).__name__
        raise DeviceMismatchError(
            f"{name}.{method}() must use the same namespace and device as {name}.fit(): X was on "
            f"{str(device)!r} in fit and is on {str(current)!r} now; move X there, or fit again"
        )
    with current.activate():  # scikit-learn makes arrays on CuPy's current device
        return validate_data(estimator, X, reset=False, **accepted(X))


def validated_weight(sample_weight: Any, rows: int) -> HostArray | None:
    """Validate sample weights, (rows,); one number applies to all samples.

    Raises
    ------
    InputError
        Unless each sample has a finite weight of 0 or more, and at least one is not 0.
    """
    if sample_weight is None:
        return None
    weight = np.asarray(moved_to_host(sample_weight))
    if not weight.any():
        raise InputError("sample_weight: expected a weight above 0, but every weight is zero")
    if weight.ndim == 0:
        weight = np.full(rows, weight)
    return prepare_weights(weight, rows, HOST, "float64")


def floats(X: Any) -> list[Any]:
    """Return the dtypes that X may have; any other is converted to the first of them."""
    device = input_device(X)
    return [device.dtype(name) for name in FLOATS if has_dtype(device, name)]


def dtype_name(dtype: Any, device: Device) -> str:
    """Return the model's dtype for data of this dtype: the same, or float32 without float64."""
    name = "float32" if name_of_dtype(dtype) == "float32" else "float64"
    return name if has_dtype(device, name) else "float32"


def has_dtype(device: Device, name: str) -> bool:
    """Return whether a device supports a dtype: not all have float64."""
    try:
        device.dtype(name)
    except InputError:
        return False
    return True


def computing_device(chosen: str | Device | None, X: Any) -> Device:
    """Return the chosen device or, for None, the device of X."""
    return input_device(X) if chosen is None else find_device(chosen).require()
