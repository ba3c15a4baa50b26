"""The device-selection layer: the only room that knows the array libraries by name."""

from bp_arrays.devices._backend import Availability
from bp_arrays.devices._device import Device, owner
from bp_arrays.devices._namespaces import library_of
from bp_arrays.devices._selection import DeviceStatus, device, device_of, devices

__all__ = [
    "Availability",
    "Device",
    "DeviceStatus",
    "device",
    "device_of",
    "devices",
    "library_of",
    "owner",
]
