"""Devices: selection, and the backends of array libraries; no other package names libraries."""

from bp_arrays.devices._backend import Availability, Backend
from bp_arrays.devices._device import Device, device_of_or_none, name_of_dtype
from bp_arrays.devices._direct import (
    active,
    direct_array,
    direct_classes,
    direct_indices,
    direct_values,
)
from bp_arrays.devices._jax import ask_for_float64
from bp_arrays.devices._memory import amount_asked_for, is_out_of_memory, memory_advice
from bp_arrays.devices._namespaces import MARK as MARK, library_of
from bp_arrays.devices._selection import DeviceList, DeviceStatus, device, device_of, devices

__all__ = [
    "Availability",
    "Backend",
    "Device",
    "DeviceList",
    "DeviceStatus",
    "active",
    "amount_asked_for",
    "ask_for_float64",
    "device",
    "device_of",
    "device_of_or_none",
    "devices",
    "direct_array",
    "direct_classes",
    "direct_indices",
    "direct_values",
    "is_out_of_memory",
    "library_of",
    "memory_advice",
    "name_of_dtype",
]
