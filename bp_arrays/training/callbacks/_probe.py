"""The samples on which callbacks measure a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs import prepare_targets, row_count, samples_to_device
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.trees import leaves
from bp_arrays.typing import HostArray


def probe_samples(where: str, model: Model, x: Any, t: Any, loss: Loss) -> tuple[Any, Any]:
    """Return samples and their targets on the model's device, within its `activate`.

    Raises
    ------
    InputError
        If they do not fit the model, are not finite, or there are none.
    """
    device = model.device
    x = samples_to_device(x, model.inputs, device, model.dtype, f"{where}(x=)")
    t = prepare_targets(t, row_count(x), loss, model.output_shape, device, model.dtype)
    is_finite = all(np.isfinite(device.to_numpy(array)).all() for array in leaves(x))
    if not (row_count(x) and is_finite):
        raise InputError(f"{where}(x=): expected at least one sample of finite values")
    return x, t


def trained_parameters(model: Model) -> HostArray:
    """Return the trained parameters as one vector on the host."""
    return model.device.to_numpy(model.current_vectors()[0]).astype(np.float64)
