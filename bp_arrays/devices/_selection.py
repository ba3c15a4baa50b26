"""Which device: from a name, by looking at the machine, or from an array."""

from __future__ import annotations

import logging
import os
import re
from typing import Any, NamedTuple

from bp_arrays.devices._device import Device, owner
from bp_arrays.errors import InputError, unknown_name

KNOWN = (
    "cpu",
    "cuda:0",
    "torch:cpu",
    "torch:cuda:0",
    "torch:mps",
    "jax:cpu",
    "jax:cuda:0",
    "strict",
    "strict:device1",
)
_PATTERN = re.compile(
    r"(?P<numpy>cpu)|(?P<cupy>cuda)(:(?P<c>\d+))?|torch:((?P<torch>cpu|mps)|cuda(:(?P<t>\d+))?)"
    r"|jax:((?P<jax>cpu)|cuda(:(?P<j>\d+))?)|strict(:(?P<strict>device1))?"
)
VARIABLE = "BP_ARRAYS_DEVICE"

logger = logging.getLogger("bp_arrays")


class DeviceStatus(NamedTuple):
    """A known device and whether it can be used here."""

    device: Device
    usable: bool
    reason: str
    advice: str


def device(spec: str | Device = "auto") -> Device:
    """The device of that name.

    Parameters
    ----------
    spec : str or Device
        "cpu" (NumPy), "cuda" or "cuda:1" (CuPy), "torch:cpu", "torch:cuda:0", "torch:mps",
        "jax:cpu", "jax:cuda:0", "strict", "strict:device1"; or "auto", which takes "cuda" if a
        probe on it really computes, else "cpu", and logs which and why. The environment variable
        BP_ARRAYS_DEVICE, if set, says what "auto" is.

    Raises
    ------
    InputError
        For an unknown name. A known device that cannot be used here raises when it is used.

    Examples
    --------
    >>> device("cuda:0").name, device("torch:cuda").name
    ('cuda:0', 'torch:cuda:0')
    """
    if isinstance(spec, Device):
        return spec
    if spec == "auto":
        return _automatic()
    match = _PATTERN.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
        if spec == "gpu":
            raise InputError("unknown device 'gpu': did you mean 'cuda', an NVIDIA GPU by CuPy?")
        raise unknown_name("device", str(spec), (*KNOWN, "auto", "cuda", "cuda:1"))
    index = int(match["c"] or match["t"] or match["j"] or 0)
    library = spec.partition(":")[0]
    if match["numpy"]:
        return Device("numpy", "cpu")
    if match["cupy"]:
        return Device("cupy", "cuda", index)
    if library == "strict":
        return Device("strict", match["strict"] or "cpu")
    return Device(library, match["torch"] or match["jax"] or "cuda", index)


def devices() -> list[DeviceStatus]:
    """Every known device, whether it can be used here and, if not, why and what to do.

    Examples
    --------
    >>> [status.device.name for status in devices() if status.device.name == "cpu"]
    ['cpu']
    """
    return [DeviceStatus(found, *_said(found)) for found in map(device, KNOWN)]


def device_of(array: Any) -> Device:
    """The device an array lives on.

    Raises
    ------
    InputError
        If it is no array of a known library.

    Examples
    --------
    >>> import numpy as np
    >>> device_of(np.zeros(2))
    device('cpu')
    """
    found = owner(array)
    if found is None:
        raise InputError(f"expected an array, got {type(array).__name__}")
    return found


def _said(found: Device) -> tuple[bool, str, str]:
    availability = found.availability()
    return availability.usable, availability.reason, availability.advice


def _automatic() -> Device:
    chosen = os.environ.get(VARIABLE)
    if chosen and chosen != "auto":
        found = device(chosen)
        logger.info("device 'auto' is %s, as %s says", found, VARIABLE)
        return found
    cuda = device("cuda")
    availability = cuda.availability()
    if availability.usable:
        logger.info("device 'auto' is %s: a probe on it computed", cuda)
        return cuda
    logger.info("device 'auto' is cpu: cuda cannot be used, %s", availability.reason)
    return device("cpu")
