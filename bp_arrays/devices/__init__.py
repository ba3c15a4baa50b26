"""The device-selection layer: the only room that knows the array libraries by name."""

from bp_arrays.devices.backend import Availability
from bp_arrays.devices.device import Device
from bp_arrays.devices.selection import DeviceStatus, device, device_of, devices

__all__ = [
    "Availability",
    "Device",
    "DeviceStatus",
    "device",
    "device_of",
    "devices",
]
