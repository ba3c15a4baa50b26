"""Check whatever a user passes as arrays and move it to a device."""

from bp_arrays.inputs._arrays import (
    GivesSamples,
    check_batch_shape,
    check_same_device,
    first_not_finite,
    is_host_data,
    is_iterable_of_batches,
    pieces,
    to_device,
    to_host_array,
)
from bp_arrays.inputs._rows import Rows
from bp_arrays.inputs._selected import SelectedRows
from bp_arrays.inputs._targets import (
    check_finite,
    check_targets,
    check_weights,
    index_dtype,
    on_host,
    placed,
    prepare_targets,
    prepare_weights,
)

__all__ = [
    "GivesSamples",
    "Rows",
    "SelectedRows",
    "check_batch_shape",
    "check_finite",
    "check_same_device",
    "check_targets",
    "check_weights",
    "first_not_finite",
    "index_dtype",
    "is_host_data",
    "is_iterable_of_batches",
    "on_host",
    "pieces",
    "placed",
    "prepare_targets",
    "prepare_weights",
    "to_device",
    "to_host_array",
]
