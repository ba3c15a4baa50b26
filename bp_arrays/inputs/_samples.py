"""Read samples, one array or a tuple or dict of arrays, check them and move them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bp_arrays.devices import Device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.inputs._arrays import (
    array_of_device,
    check_batch_shape,
    check_finite,
    describe_location,
    is_array_like,
    is_host_data,
    moved_to_device,
    pieces,
    readable,
    value_at,
)
from bp_arrays.inputs._input_spec import Inputs, InputSpec, described
from bp_arrays.trees import Tree, leaves
from bp_arrays.typing import Array, HostArray

ROUNDING = 1e-6
"""How far outside its range a number may lie, as interpolated probabilities do by rounding."""


def samples_to_device(x: Any, inputs: Inputs, device: Device, dtype: str, what: str = "x") -> Tree:
    """Return a batch of samples on the device, in the dtypes of `inputs`.

    Host data is moved; arrays already on the device in their dtype are not copied. Indices are
    checked, numbers may be NaN or infinite, and there may be no rows.

    Raises
    ------
    InputError, DeviceMismatchError
        If x does not fit `inputs`, or is on another device.
    """
    samples = read_samples(x, inputs, device, what)
    check_indices(samples, inputs, device, what)
    check_overflow(samples, inputs, dtype, what)
    check_masks(samples, what)
    return move_samples(samples, inputs, device, dtype)


def error_on_device(delta: Tree, y: Tree, device: Device, dtype: str, what: str = "delta") -> Tree:
    """Return the error δ of outputs y on the device; None, in place of an error, stays None.

    Raises
    ------
    InputError, DeviceMismatchError
        If δ is nested otherwise than y, has another shape, or is on another device.
    """
    if isinstance(y, (dict, tuple)):
        is_like = isinstance(delta, type(y)) and len(delta) == len(y)
        if not is_like or (isinstance(y, dict) and set(delta) != set(y)):
            raise InputError(f"{what}: expected {kind_of(y)}, as the outputs, got {kind_of(delta)}")
        names = _names(y, what)
        if isinstance(y, dict):
            return {
                k: None if delta[k] is None else error_on_device(delta[k], y[k], device, dtype, at)
                for k, at in names.items()
            }
        return tuple(
            None if each is None else error_on_device(each, output, device, dtype, at)
            for each, output, at in zip(delta, y, names, strict=True)
        )
    array = samples_to_device(delta, None, device, dtype, what)
    shape = getattr(array, "shape", None)
    if shape != y.shape:
        got = kind_of(array) if shape is None else tuple(shape)
        raise InputError(f"{what}: expected the shape of y, {tuple(y.shape)}, got {got}")
    return array


def read_samples(x: Any, inputs: Inputs | None, device: Device, what: str = "x") -> Tree:
    """Return samples as arrays, where they are: NumPy's, `Rows`, or the device's.

    Without `inputs`, samples of any shape: one array, or a tuple or dict of them.

    Raises
    ------
    InputError, DeviceMismatchError
        If the names, the number, the shapes or the dtypes of the arrays do not fit `inputs`, their
        numbers of rows differ, or one is on another device.
    """
    parts = _parts(x, inputs, what)

    def read(value: Any, name: str, spec: InputSpec | None) -> Any:
        if is_host_data(value):
            array = readable(value, name)
        else:
            array = array_of_device(value, device, name)
        if spec is not None:
            check_batch_shape(array.shape, spec.shape, name)
        elif len(array.shape) == 0:
            raise InputError(f"{name}: expected an array (rows, ...), got a single number")
        return array

    samples = _each(read, parts, inputs, what)
    _check_rows(samples, what)
    return samples


def row_count(samples: Tree) -> int:
    """Return the number of samples."""
    array = next(leaves(samples)) if isinstance(samples, (dict, tuple)) else samples
    return int(array.shape[0])


def is_on_host(samples: Tree) -> bool:
    """Return True if all inputs are on the host."""
    return all(map(is_host_data, leaves(samples)))


def check_not_empty(samples: Tree, what: str = "x") -> None:
    """Raise InputError if there is no sample, or an input has no numbers."""

    def check(array: Any, name: str, _: None) -> None:
        if not math.prod(array.shape):
            raise InputError(
                f"{name}: expected at least one row and feature, got shape {tuple(array.shape)}"
            )

    _each(check, samples, None, what)


def check_numbers(
    samples: Tree, inputs: Inputs | None, device: Device | None, what: str = "x"
) -> None:
    """Raise InputError, naming the index, if a number is NaN or infinite.

    Without a device only numbers on the host are checked.
    """

    def check(array: Any, name: str, spec: InputSpec | None) -> None:
        if (spec is None or not spec.is_index) and (device is not None or is_host_data(array)):
            check_finite(array, name, device)

    _each(check, samples, inputs, what)


LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float(np.finfo(np.float32).max),
}
"""The largest number of each dtype that host data may exceed."""


def check_masks(samples: Tree, what: str = "x") -> None:
    """Raise InputError, naming the index, for NaN in the mask of a sequence, on the host.

    It is a number to `predict`, which accepts NaN, but would count as a real position.
    """
    if isinstance(samples, dict) and "mask" in samples and is_host_data(samples["mask"]):
        check_finite(samples["mask"], f"{what}['mask']")


def check_overflow(samples: Tree, inputs: Inputs | None, dtype: str, what: str = "x") -> None:
    """Raise InputError if a finite number of host data would be infinite in the model's dtype.

    Numbers on an accelerator are not checked, which would wait for it.
    """

    def check(array: Any, name: str, spec: InputSpec | None) -> None:
        if (spec is None or not spec.is_index) and is_host_data(array):
            check_largest(array, name, dtype)

    _each(check, samples, inputs, what)


def check_largest(array: Any, name: str, dtype: str) -> None:
    """Raise InputError if a finite number of an array on the host would be infinite in a dtype."""
    largest = np.float64(LARGEST.get(dtype, np.inf))
    limits = {"f": np.finfo, "i": np.iinfo, "u": np.iinfo}.get(array.dtype.kind)
    if limits is None or float(limits(array.dtype).max) <= largest:
        return
    index = first_index(array, lambda values: (np.abs(values) > largest) & np.isfinite(values))
    if index is not None:
        raise InputError(
            f"{describe_location(name, index)}: expected a number up to {largest:.4g}, the largest "
            f"of {dtype}, got {value_at(array, index):g}; scale the data, or use a model of float64"
        )


def check_indices(samples: Tree, inputs: Inputs | None, device: Device, what: str = "x") -> None:
    """Raise InputError, naming the location, if a value is not an index or is out of range.

    Indices on a device are copied to the host: out of range, JAX returns NaN and CuPy wraps around.
    """
    if inputs is None or (isinstance(inputs, InputSpec) and not inputs.is_index):
        return

    def check(array: Any, name: str, spec: InputSpec) -> None:
        if not spec.is_index:
            return
        highest = np.iinfo(index_dtype(device)).max
        index = first_bad_index(array, device, spec.size or highest + 1)
        if index is None:
            return
        value = value_at(array, index, device)
        bound = f"from 0 to {spec.size - 1}" if spec.size else ">= 0"
        if not spec.size and value > highest:
            bound = f"up to {highest}, the largest {index_dtype(device)} of {device}"
        raise InputError(
            f"{describe_location(name, index)}: expected an index, a whole number {bound}, "
            f"got {value}"
        )

    _each(check, samples, inputs, what)


def move_samples(samples: Tree, inputs: Inputs | None, device: Device, dtype: str) -> Tree:
    """Return checked samples on the device, numbers in `dtype`."""

    def move(array: Any, _: str, spec: InputSpec | None) -> Array:
        return moved_to_device(array, device, dtype_of(spec, device, dtype))

    return _each(move, samples, inputs, "")


def sample_dtypes(samples: Tree, inputs: Inputs | None, device: Device, dtype: str) -> Tree:
    """Return the name of the dtype of each input on the device."""
    return _each(lambda _, __, spec: dtype_of(spec, device, dtype), samples, inputs, "")


def dtype_of(spec: InputSpec | None, device: Device, dtype: str) -> str:
    """Return the name of the dtype of an input in a model of the dtype `dtype`."""
    return index_dtype(device) if spec is not None and spec.is_index else dtype


def index_dtype(device: Device) -> str:
    """Return the widest signed integer dtype of a device: int32 for JAX without x64."""
    try:
        device.dtype("int64")
    except InputError:
        return "int32"
    return "int64"


def first_bad_index(
    array: Any,
    device: Device | None,
    size: int,
    *,
    counted: Callable[[HostArray], HostArray | None] | None = None,
) -> tuple[int, ...] | None:
    """Return the index of the first value that is no whole number from 0 to size - 1, or None.

    `counted` returns a mask of the values to check; by default all are.
    """

    def is_bad(values: HostArray) -> HostArray:
        bad = (values < 0) | (values >= size)
        if values.dtype.kind == "f":
            bad |= values != np.floor(values)  # true for NaN
        mask = None if counted is None else counted(values)
        return bad if mask is None else bad & mask

    return first_index(array, is_bad, device)


def first_index(
    array: Any, is_bad: Callable[[HostArray], HostArray], device: Device | None = None
) -> tuple[int, ...] | None:
    """Return the index of the first value, or the first row, for which is_bad is true, or None.

    Without a device the array is on the host.
    """
    for start, part in pieces(array):
        if device is not None and not isinstance(part, np.ndarray):
            part = device.to_numpy(part)
        bad = is_bad(part)
        if bad.any():
            row, *rest = (int(i) for i in np.argwhere(bad)[0])
            return (start + row, *rest)
    return None


def first_outside(array: HostArray, low: float, high: float) -> tuple[int, ...] | None:
    """Return the index of the first number outside [low, high] by more than rounding, or None."""
    return first_index(array, lambda values: (values < low - ROUNDING) | (values > high + ROUNDING))


def first_bad_sum(array: HostArray) -> tuple[int, ...] | None:
    """Return the index of the first position whose probabilities do not sum to 1, or None."""

    def is_bad(values: HostArray) -> HostArray:
        # those of many classes in half precision do up to a few thousandths
        return np.asarray(np.abs(values.sum(axis=-1, dtype=np.float64) - 1.0) > 0.01)

    return first_index(array, is_bad)


# -- several inputs ------------------------------------------------------------------------------


def _each(function: Callable[..., Any], parts: Tree, inputs: Inputs | None, what: str) -> Tree:
    """Return function(part, name, specification) for each input, nested like `inputs`.

    Without `inputs` the specification is None.
    """
    nest = parts if inputs is None else inputs
    if not isinstance(nest, (dict, tuple)):
        return function(parts, what, inputs)
    names = _names(nest, what)
    if isinstance(nest, dict):
        return {k: function(parts[k], names[k], inputs and inputs[k]) for k in nest}
    specs = inputs or (None,) * len(nest)
    return tuple(function(*each) for each in zip(parts, names, specs, strict=True))


def _names(parts: Tree, what: str) -> Tree:
    """Return the name of each input in messages: "x['ids']", "x[0]"."""
    if isinstance(parts, dict):
        return {name: f"{what}[{name!r}]" for name in parts}
    if isinstance(parts, tuple):
        return tuple(f"{what}[{k}]" for k in range(len(parts)))
    return what


def _parts(x: Any, inputs: Inputs | None, what: str) -> Any:
    """Return the value passed for each input, nested and in the order of `inputs`."""
    if inputs is None:
        if isinstance(x, (Mapping, tuple)) and not is_array_like(x) and not len(x):
            raise InputError(f"{what}: expected at least one input, got {kind_of(x)}")
        return dict(x) if isinstance(x, Mapping) and not is_array_like(x) else x
    if isinstance(inputs, dict):
        return _named_parts(x, inputs, what)
    if isinstance(inputs, tuple):
        if isinstance(x, list) and len(x) == len(inputs) and all(map(is_array_like, x)):
            x = tuple(x)  # PyTorch's DataLoader makes lists of tuples
        if not isinstance(x, tuple):
            raise InputError(f"{what}: expected {described(inputs)} inputs, got {kind_of(x)}")
        if len(x) != len(inputs):
            raise InputError(
                f"{what}: expected {described(inputs)} inputs, got a tuple of {len(x)}"
            )
        return x
    if isinstance(x, tuple) and any(len(getattr(part, "shape", ())) > 1 for part in x):
        raise InputError(
            f"{what}: expected {described(inputs)}, the model's only input, got a tuple of {len(x)}"
        )
    return x


def _named_parts(x: Any, inputs: dict[str, InputSpec], what: str) -> dict[str, Any]:
    if not isinstance(x, Mapping):
        raise InputError(f"{what}: expected {described(inputs)}, got {kind_of(x)}")
    for name in x:
        if name not in inputs:
            raise InputError(f"{what}: {unknown_name('input', name, inputs)}")
    for name in inputs:
        if name not in x:
            raise InputError(f"{what}: expected {described(inputs)}, but {name!r} is missing")
    return {name: x[name] for name in inputs}


def kind_of(x: Any) -> str:
    """Describe an argument in words: "a dict of x, y", "one array"."""
    if isinstance(x, tuple):
        return f"a tuple of {len(x)}" if x else "an empty tuple"
    if isinstance(x, Mapping):
        return f"a dict of {', '.join(map(str, x))}" if len(x) else "an empty dict"
    return "one array" if is_array_like(x) else f"a {type(x).__name__}"


def _check_rows(samples: Tree, what: str) -> None:
    """Raise InputError unless all inputs have the same number of rows."""
    if not isinstance(samples, (dict, tuple)):
        return
    (first, *others), (name, *other_names) = leaves(samples), leaves(_names(samples, what))
    for array, other in zip(others, other_names, strict=True):
        if array.shape[0] != first.shape[0]:
            raise InputError(
                f"{other}: expected {first.shape[0]} rows, as {name} has, got {array.shape[0]}"
            )
