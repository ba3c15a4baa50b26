"""Where an estimator's input lives, and that later input lives there too.

With `sklearn.set_config(array_api_dispatch=True)`, everything follows X: CuPy arrays, PyTorch
tensors, JAX and strict arrays are computed with where they are. Otherwise everything is NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from sklearn.utils.validation import validate_data

from bp_arrays.devices import Device, device as find_device, device_of_or_none
from bp_arrays.errors import DeviceMismatchError, InputError
from bp_arrays.inputs import prepare_weights
from bp_arrays.typing import Array, HostArray

HOST = find_device("cpu")
FLOATS = ("float64", "float32")
SPARSE = ["csr", "csc"]
"""The sparse formats that are taken as they are; others are converted."""


@dataclass(frozen=True)
class Samples:
    """Validated data: the inputs where they came in, the rest on the host.

    Parameters
    ----------
    X : array or sparse matrix (samples, features)
    y : array (samples, ...)
        As predictions would be.
    targets : array (samples, ...)
        The same as the loss takes it.
    weight : array (samples,) or None
    """

    X: Any
    y: HostArray
    targets: HostArray
    weight: HostArray | None

    def taken(self, rows: HostArray) -> Samples:
        """The samples of these numbers."""
        place = place_of(self.X)
        here = place == HOST
        return Samples(
            self.X[rows] if here else place.xp.take(self.X, place.asarray(rows), axis=0),
            self.y[rows],
            self.targets[rows],
            None if self.weight is None else self.weight[rows],
        )


def place_of(X: Any) -> Device:
    """The device whose arrays X is made of; the host for tables, lists and sparse matrices.

    Raises
    ------
    InputError
        If X is not in the host's memory and dispatch is off.
    """
    found = device_of_or_none(X)
    if sklearn.get_config()["array_api_dispatch"]:
        return found or HOST
    if found is not None and found.kind != "cpu":
        raise InputError(
            f"X is on {str(found)!r}: to compute there, call "
            "sklearn.set_config(array_api_dispatch=True) first, with the environment variable "
            "SCIPY_ARRAY_API=1; or hand in NumPy arrays, and choose the device by device="
        )
    return HOST


def on_host(values: Any) -> Any:
    """Arrays of another device as NumPy, anything else as it is."""
    place = device_of_or_none(values)
    return values if place is None or place == HOST else place.to_numpy(values)


def validated_input(estimator: Any, X: Any, *, place: Device, method: str) -> Array:
    """The input of a method after `fit`: as wide as in `fit`, with the same names, in its place.

    Raises
    ------
    ValueError
        If X does not look like the data in `fit`.
    DeviceMismatchError
        If dispatch is on and X is not in `place`, where the data of `fit` was.
    """
    here = place_of(X)
    if sklearn.get_config()["array_api_dispatch"] and here != place:
        name = type(estimator).__name__
        raise DeviceMismatchError(
            f"{name}.{method}() must use the same namespace and device as {name}.fit(): X was on "
            f"{str(place)!r} in fit and is on {str(here)!r} now. Move X there, or fit again"
        )
    return validate_data(estimator, X, accept_sparse=SPARSE, dtype=floats(X), reset=False)


def validated_weight(sample_weight: Any, rows: int) -> HostArray | None:
    """How much each sample counts, (rows,); one number is for all of them.

    Raises
    ------
    InputError
        If there is not one finite weight of 0 or more for each sample, or all are 0.
    """
    if sample_weight is None:
        return None
    weight = np.asarray(on_host(sample_weight))
    if not weight.any():
        raise InputError("sample_weight: every weight is zero, so no sample counts")
    if weight.ndim == 0:
        weight = np.full(rows, weight)
    return prepare_weights(weight, rows, HOST, "float64")


def floats(X: Any) -> list[Any]:
    """The dtypes that X may keep; the first one is what anything else becomes."""
    place = place_of(X)
    return [place.dtype(name) for name in FLOATS if has_dtype(place, name)]


def dtype_name(dtype: Any, device: Device) -> str:
    """The model's dtype for data of this one: the same, or float32 on a device without it."""
    name = "float32" if str(dtype).endswith("float32") else "float64"
    return name if has_dtype(device, name) else "float32"


def has_dtype(device: Device, name: str) -> bool:
    """Whether a device computes in a dtype: not all have float64."""
    try:
        device.dtype(name)
    except InputError:
        return False
    return True


def computing_device(chosen: str | Device | None, X: Any) -> Device:
    """The device that was asked for by name, or None: where X is."""
    return place_of(X) if chosen is None else find_device(chosen).require()
