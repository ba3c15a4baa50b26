"""Where an estimator's input lives, and that later input lives there too.

With `sklearn.set_config(array_api_dispatch=True)`, everything follows X: CuPy arrays, PyTorch
tensors and strict arrays are computed with where they are. Otherwise everything is NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.utils.validation import validate_data

from bp_arrays.devices import Device, device as find_device
from bp_arrays.devices.device import owner
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.typing import Array

HOST = Device("numpy", "cpu")
FLOATS = ("float64", "float32")


def place_of(X: Any) -> Device:
    """The device whose arrays X is made of; the host for tables, lists and sparse matrices."""
    found = owner(X) if sklearn.get_config()["array_api_dispatch"] else None
    return HOST if found is None else found


def on_host(values: Any) -> Any:
    """Arrays of another device as NumPy, anything else as it is."""
    place = owner(values)
    return values if place is None or place == HOST else place.to_numpy(values)


def validated_input(estimator: Any, X: Any, *, method: str) -> Array:
    """The input of a method after `fit`: as wide as in `fit`, with the same names, in its place.

    Raises
    ------
    ValueError
        If X does not look like the data in `fit`.
    DeviceMismatchError
        If it is of another array library or device, and dispatch is on.
    """
    check_same_place(estimator, X, method)
    return validate_data(estimator, X, accept_sparse=["csr", "csc"], dtype=floats(X), reset=False)


def check_same_place(estimator: Any, X: Any, method: str) -> None:
    """Raise DeviceMismatchError unless X lives where the data of `fit` did, if dispatch is on."""
    fitted = getattr(estimator, "_place", HOST)
    place = place_of(X)
    if sklearn.get_config()["array_api_dispatch"] and place != fitted:
        name = type(estimator).__name__
        raise DeviceMismatchError(
            f"{name}.{method}() must use the same namespace and device as {name}.fit(): X was on "
            f"{str(fitted)!r} in fit and is on {str(place)!r} now. Move X there, or fit again"
        )


def floats(X: Any) -> list[Any]:
    """The dtypes that X may keep; the first one is what anything else becomes."""
    place = place_of(X)
    found = []
    for name in FLOATS:
        try:
            found.append(place.dtype(name))
        except InputError:  # float64, on a device without it
            continue
    return found


def dtype_name(X: Any, device: Device) -> str:
    """The model's dtype for validated input X: that of X, or float32 on a device without it."""
    name = "float32" if str(X.dtype).endswith("float32") else "float64"
    try:
        device.dtype(name)
    except InputError:
        return "float32"
    return name


def computing_device(chosen: str | Device | None, X: Any) -> Device:
    """The device that was asked for by name, or None: where X is."""
    return place_of(X) if chosen is None else find_device(chosen).require()


def rows_of(X: Any, rows: np.ndarray[Any, Any], place: Device) -> Any:
    """The rows of these numbers, where X is."""
    if place == HOST:
        return X[rows]
    return place.xp.take(X, place.asarray(rows), axis=0)
