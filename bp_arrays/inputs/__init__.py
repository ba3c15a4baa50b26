"""Check whatever a user passes as arrays and move it to a device."""

from bp_arrays.inputs._arrays import (
    as_numpy,
    check_finite,
    check_same_device,
    first_not_finite,
    is_host_data,
    is_iterable_of_batches,
    is_mapped,
    moved_to_device,
    pieces,
    place,
)
from bp_arrays.inputs._batch_spec import BatchSpec, SampleBatches
from bp_arrays.inputs._input_spec import (
    Inputs,
    InputSpec,
    as_inputs,
    described,
    only_shape,
    shapes_of,
)
from bp_arrays.inputs._rows import Rows
from bp_arrays.inputs._samples import (
    check_indices,
    check_not_empty,
    check_numbers,
    index_dtype,
    is_on_host,
    move_samples,
    read_samples,
    row_count,
    samples_to_device,
)
from bp_arrays.inputs._selected import SelectedRows
from bp_arrays.inputs._targets import (
    check_targets,
    check_weights,
    prepare_targets,
    prepare_weights,
    target_on_device,
)

__all__ = [
    "BatchSpec",
    "InputSpec",
    "Inputs",
    "Rows",
    "SampleBatches",
    "SelectedRows",
    "as_inputs",
    "as_numpy",
    "check_finite",
    "check_indices",
    "check_not_empty",
    "check_numbers",
    "check_same_device",
    "check_targets",
    "check_weights",
    "described",
    "first_not_finite",
    "index_dtype",
    "is_host_data",
    "is_iterable_of_batches",
    "is_mapped",
    "is_on_host",
    "move_samples",
    "moved_to_device",
    "only_shape",
    "pieces",
    "place",
    "prepare_targets",
    "prepare_weights",
    "read_samples",
    "row_count",
    "samples_to_device",
    "shapes_of",
    "target_on_device",
]
