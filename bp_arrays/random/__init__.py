"""Random numbers that are the same on every device.

Two kinds, for two needs. What is drawn once (initial weights, the order of the samples) is drawn
on the host by `host_generator` and then moved. What is drawn inside every step (dropout masks) is
computed on the device by `Stream`, from a counter-based generator written in the array API:
its bits are equal on every backend, eager or compiled.
"""

from bp_arrays.random._host import filled, host_generator, orthonormal_columns
from bp_arrays.random._stream import Stream
from bp_arrays.random._threefry import threefry2x32

__all__ = [
    "Stream",
    "filled",
    "host_generator",
    "orthonormal_columns",
    "threefry2x32",
]
