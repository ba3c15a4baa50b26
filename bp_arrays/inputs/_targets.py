"""Check targets and sample weights against the loss, and move them to a device."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from bp_arrays.checks import array_error
from bp_arrays.devices import Device, device as find_device
from bp_arrays.errors import InputError, unknown_name
from bp_arrays.inputs._arrays import (
    as_numpy,
    check_finite,
    describe_location,
    is_array_like,
    is_host_data,
    value_at,
)
from bp_arrays.inputs._samples import (
    check_largest,
    first_bad_index,
    first_bad_sum,
    first_index,
    first_outside,
    index_dtype,
    kind_of,
)
from bp_arrays.layers import Context
from bp_arrays.losses import CombinedLoss, Loss
from bp_arrays.trees import Tree, described_tree, is_shape
from bp_arrays.typing import Array, HostArray, Shape


def check_targets(
    t: Any,
    rows: int,
    loss: Loss | None,
    output_shape: Tree,
    device: Device,
    dtype: str,
    metrics: Sequence[Any] = (),
) -> tuple[Tree, Tree]:
    """Return targets in the shape of the loss, on the host, and their dtype on the device.

    For several outputs both are nested like the losses.

    The one place where targets are checked: shape, kind and range for the loss, then for each
    metric. For one output, (rows,) is accepted as (rows, 1). Data on disk is read piece by piece.
    Without a loss, targets are any finite numbers, one or more per row.

    Raises
    ------
    InputError, DeviceMismatchError
        As `prepare_targets`.
    """
    check_outputs(loss, output_shape)
    if isinstance(loss, CombinedLoss):
        return _check_several(t, rows, loss, output_shape, device, dtype, metrics)
    if loss is None and is_several(t):
        names = t if isinstance(t, Mapping) else range(len(t))
        hosts, dtypes = {}, {}
        for key in names:
            with _of_output(key):
                hosts[key], dtypes[key] = check_targets(t[key], rows, None, (), device, dtype)
        return _nested(hosts, t), _nested(dtypes, t)
    host = as_numpy(t, "t", device)
    if host.ndim == 0 or host.shape[0] != rows:
        raise InputError(
            f"t: expected targets for the {rows} rows of x, got shape {tuple(host.shape)}"
        )
    if loss is None:
        check_finite(host, "t")
        return host, dtype if host.dtype.kind == "f" else index_dtype(device)
    outputs = (rows, *output_shape)
    if host.shape == (rows,) and loss.target_shape(outputs) == (rows, 1) and not loss.takes_classes:
        host = host.reshape(rows, 1)
    loss.check_shapes(outputs, tuple(host.shape))
    is_classes = host.ndim < len(outputs) and not (
        host.shape == loss.target_shape(outputs) and not loss.takes_classes
    )
    if is_classes:
        _check_classes(host, outputs, device, loss)
    else:
        _check_finite(host, loss)
        check_largest(host, "t", dtype)
        _check_values(host, loss)
        _check_range(host, loss)
        _check_sums(host, loss)
    for metric in metrics:
        metric.check_targets(host, output_shape, loss)
    return host, index_dtype(device) if is_classes else dtype


def check_outputs(loss: Loss | None, output_shape: Tree) -> None:
    """Raise InputError unless a loss is that of the outputs of a net, one or several."""
    if isinstance(loss, CombinedLoss):
        loss.check_outputs(output_shape)
    elif loss is not None and not is_shape(output_shape):
        raise array_error(
            "fit",
            "loss",
            f"a CombinedLoss for {described_tree(output_shape)}, the outputs of the net",
            type(loss).__name__,
            "or end the net with Select(...)",
        )


def is_several(t: Any) -> bool:
    """Return True for targets of several outputs: a dict, or a tuple of arrays."""
    if isinstance(t, Mapping):
        return not is_array_like(t)
    return isinstance(t, tuple) and len(t) > 0 and all(map(is_array_like, t))


def _check_several(
    t: Any,
    rows: int,
    loss: CombinedLoss,
    output_shape: Tree,
    device: Device,
    dtype: str,
    metrics: Sequence[Any],
) -> tuple[Tree, Tree]:
    """Return the targets of several outputs, and their dtypes, as `check_targets`."""
    names = [str(key) for key, _ in loss.items()]
    if isinstance(loss.losses, dict):
        if not isinstance(t, Mapping) or is_array_like(t):
            got = kind_of(t)
            raise InputError(f"t: expected a dict of {', '.join(names)}, got {got}")
        for name in t:
            if name not in names:
                raise InputError(f"t: {unknown_name('output with a loss', str(name), names)}")
        for name in names:
            if name not in t:
                raise InputError(
                    f"t: expected a dict of {', '.join(names)}, but {name!r} is missing"
                )
    elif not isinstance(t, (tuple, list)) or len(t) != len(names):
        raise InputError(f"t: expected a tuple of {len(names)}, got {kind_of(t)}")
    hosts, dtypes = {}, {}
    for key, part in loss.items():
        with _of_output(key):
            hosts[key], dtypes[key] = check_targets(
                t[key], rows, part, output_shape[key], device, dtype
            )
    host = _nested(hosts, loss.losses)
    for metric in metrics:
        metric.check_targets(host, output_shape, loss)
    return host, _nested(dtypes, loss.losses)


@contextmanager
def _of_output(key: str | int) -> Iterator[None]:
    """Name the output in the error of its targets."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"output {key!r}: {error}") from None


def _nested(parts: dict[Any, Any], like: Any) -> Tree:
    """Return parts by name or position as a dict, or as a tuple."""
    return parts if isinstance(like, Mapping) else tuple(parts.values())


def prepare_targets(
    t: Any, rows: int, loss: Loss, output_shape: Tree, device: Device, dtype: str
) -> Tree:
    """Return targets on the device: classes as integers, anything else in the model's dtype.

    Raises
    ------
    InputError, DeviceMismatchError
        If the number of rows or the shape is wrong, a class or a value is out of range, a value
        is NaN or infinite, or t is an array of another device.
    """
    host, needed = check_targets(t, rows, loss, output_shape, device, dtype)
    return target_on_device(t, host, device, needed)


def check_weights(
    weight: Any,
    rows: int,
    device: Device,
    dtype: str,
    positions: Shape = (),
    metrics: Sequence[Any] = (),
) -> HostArray:
    """Return sample weights (rows,), or (rows, *positions) for each position, on the host, checked.

    Raises
    ------
    InputError, DeviceMismatchError
        If there is not one finite weight >= 0 for each row, or for each position, or one is too
        large or too small for a model of this dtype, or a metric does not take weights.
    """
    for metric in metrics:
        try:
            inspect.signature(metric.sums).bind("y", "t", "ctx", weight=None)  # as it is called
        except TypeError:
            raise InputError(
                f"sample_weight: expected metrics that take weights, {type(metric).__name__} does "
                "not; define sums(self, y, t, ctx, weight=None)"
            ) from None
    host = as_numpy(weight, "sample_weight", device)
    if host.shape not in ((rows,), (rows, *positions)):
        also = f" or {(rows, *positions)}" if positions else ""
        raise InputError(f"sample_weight: expected shape ({rows},){also}, got {tuple(host.shape)}")
    check_finite(host, "sample_weight")
    if rows and host.min() < 0:
        index = tuple(map(int, np.argwhere(host < 0)[0]))
        where = describe_location("sample_weight", index)
        raise InputError(f"{where}: expected a number >= 0, got {host[index]}")
    _check_magnitude(host, dtype)
    return host


HEADROOM = 1e8
"""The factor by which weights stay within the numbers of their dtype, in which they are added, and
multiplied by losses and class weights."""


def weight_dtype(dtype: str) -> str:
    """Return the dtype of sample weights for a model of a dtype: not half precision.

    It would round 1e-9 to 0 and 257/256 to 1, and 1e5 to infinity.
    """
    return "float64" if dtype == "float64" else "float32"


def _check_magnitude(weight: HostArray, dtype: str) -> None:
    """Raise InputError for a weight that would become 0 or infinite on the device.

    Multiplying all weights by one number would change the mean's divisor, on which a penalty and
    the metrics of the user depend: so this is left to the user.
    """
    name = weight_dtype(dtype)
    limits = np.finfo(name)
    low, high = np.float64(limits.tiny) * HEADROOM, np.float64(limits.max) / HEADROOM
    index = first_index(weight, lambda values: (values > high) | ((values > 0) & (values < low)))
    if index is not None:
        raise InputError(
            f"{describe_location('sample_weight', index)}: expected 0, or a number from {low:.0e} "
            f"to {high:.0e}, as weights are {name}, got {weight[index]:g}; set negligible "
            "weights to 0, or multiply all by one number"
        )


def prepare_weights(
    weight: Any,
    rows: int,
    device: Device,
    dtype: str,
    positions: Shape = (),
    metrics: Sequence[Any] = (),
) -> Array | None:
    """Return sample weights (rows,), or (rows, *positions), on the device; None stays None.

    Raises
    ------
    InputError, DeviceMismatchError
        If the weights do not fit, as of `check_weights`, or all are 0.
    """
    if weight is None:
        return None
    host = check_weights(weight, rows, device, dtype, positions, metrics)
    if not host.any():
        raise InputError("sample_weight: expected a weight > 0, got only zeros")
    return target_on_device(weight, host, device, weight_dtype(dtype))


CHUNK = 4096
"""Rows whose weights are computed at once; nearly always the first of them have one."""


def check_counted(t: Tree, weight: Any, loss: Loss, output_shape: Tree, dtype: str) -> None:
    """Raise InputError if no sample counts: each has the weight 0.

    Parameters
    ----------
    t : array (rows, ...)
        Checked targets on the host.
    weight : array (rows, ...), or None
        Checked sample weights on the host.
    loss : Loss
        Its class weights and ignored targets count too.
    output_shape : tuple of int
    dtype : str
        That of the model.
    """
    if isinstance(loss, CombinedLoss):
        for key, loss_of_output in loss.items():
            with _of_output(key):
                check_counted(t[key], weight, loss_of_output, output_shape[key], dtype)
        return
    zero = np.zeros((), weight_dtype(dtype))
    ctx = Context(find_device("cpu").xp)
    for start in range(0, len(t), CHUNK):
        part = np.asarray(t[start : start + CHUNK])
        y = np.broadcast_to(zero, (len(part), *output_shape))
        weights = None if weight is None else weight[start : start + CHUNK].astype(zero.dtype)
        if loss.total_weight(part, y, ctx, weights) > 0.0:
            return
    raise no_sample_counts()


def no_sample_counts() -> InputError:
    """Return the error of data in which the weight of every sample is 0."""
    return InputError(
        "t: expected samples that count, but each has the weight 0, by sample_weight or by "
        "class_weights, ignore_index or ignore_nan of the loss"
    )


def target_on_device(value: Any, host: Tree, device: Device, dtype: Tree) -> Tree:
    """Return targets or weights on the device: the array passed, if it has dtype and shape.

    `host` is a checked copy of it on the host. For several outputs all are nested alike.
    """
    if isinstance(host, (dict, tuple)):
        parts = {
            key: target_on_device(value[key], host[key], device, dtype[key])
            for key in (host if isinstance(host, dict) else range(len(host)))
        }
        return _nested(parts, host)
    target = device.dtype(dtype)
    if not is_host_data(value) and value.dtype == target and tuple(value.shape) == host.shape:
        return device.detached(value)
    return device.asarray(host, dtype)


def _check_finite(t: HostArray, loss: Loss) -> None:
    """Raise InputError if a target that counts is NaN or infinite."""
    if loss.counted(t[:1]) is None:
        check_finite(t, "t")
        return

    def is_bad(values: HostArray) -> HostArray:
        return np.asarray(~np.isfinite(values) & np.asarray(loss.counted(values)))

    index = first_index(t, is_bad)
    if index is not None:
        raise InputError(
            f"{describe_location('t', index)}: expected a finite number, or NaN, which "
            f"{type(loss).__name__} ignores, got {value_at(t, index)}"
        )


def _check_values(t: HostArray, loss: Loss) -> None:
    """Raise InputError for a target that is none of the only values that the loss takes."""
    values = loss.target_values
    if values is None:
        return
    index = first_index(t, lambda part: ~np.isin(part, values) & ~np.isnan(part))
    name = type(loss).__name__
    if index is not None:
        listed = ", ".join(f"{value:g}" for value in values)
        raise InputError(
            f"{describe_location('t', index)}: expected one of {listed} for {name}, got "
            f"{value_at(t, index)}"
        )
    negatives = [value for value in values if value <= 0.0]
    seen = [first_index(t, partial(np.equal, value)) for value in negatives]
    if len(seen) > 1 and None not in seen:
        places = " and ".join(
            f"{value:g} ({describe_location('t', place)})"
            for value, place in zip(negatives, seen, strict=True)
            if place is not None
        )
        raise InputError(f"t: expected 0 and 1, or -1 and 1, for {name}, got both {places}")


def _check_range(t: HostArray, loss: Loss) -> None:
    if loss.target_range is None:
        return
    index = first_outside(t, *loss.target_range)
    if index is not None:
        where, name = describe_location("t", index), type(loss).__name__
        raise target_out_of_range(where, loss.target_range, name, value_at(t, index))


def target_out_of_range(
    where: str, target_range: tuple[float, float], loss: str, got: Any
) -> InputError:
    """Return the error of a target outside the range of a loss."""
    low, high = target_range
    bounds = f"from {low:g} to {high:g}" if high < math.inf else f">= {low:g}"
    advice = "; code two classes as 0 and 1" if high == 1.0 else ""
    return InputError(f"{where}: expected a target {bounds} for {loss}, got {got}{advice}")


def _check_sums(t: HostArray, loss: Loss) -> None:
    index = first_bad_sum(t) if loss.targets_sum_to_one else None
    if index is not None:
        a_class = "a class, or " if loss.takes_classes else ""
        raise InputError(
            f"{describe_location('t', index)}: expected {a_class}probabilities that sum to 1, "
            f"for {type(loss).__name__}, got {t[index].tolist()!s:.60}; for several labels per "
            "sample use BinaryCrossEntropy()"
        )


def _check_classes(t: HostArray, outputs: Shape, device: Device, loss: Loss) -> None:
    check_finite(t, "t")
    classes = loss.target_classes(outputs)
    size = np.iinfo(index_dtype(device)).max if classes is None else classes
    index = first_bad_index(t, device, size, counted=loss.counted)
    if index is None:
        _check_refused(t, outputs, loss)
        return
    expected = f"classes 0 to {size - 1}, as the model has {size} outputs"
    if classes is None:
        expected = f"a class, a whole number from 0, for {type(loss).__name__}"
    raise InputError(
        f"{describe_location('t', index)}: expected {expected}, got {value_at(t, index)}"
    )


def _check_refused(t: HostArray, outputs: Shape, loss: Loss) -> None:
    """Raise InputError for class targets that the loss itself refuses."""
    for k, (_, expected) in enumerate(loss.refused(np.asarray(t[:1]), outputs)):

        def is_bad(part: HostArray, k: int = k) -> HostArray:
            return np.asarray([*loss.refused(np.asarray(part), outputs)][k][0])

        index = first_index(t, is_bad)
        if index is not None:
            got = value_at(t, index) if len(index) == t.ndim else t[index].tolist()
            raise InputError(
                f"{describe_location('t', index)}: expected {expected}, for {type(loss).__name__}, "
                f"got {got!s:.60}"
            )
