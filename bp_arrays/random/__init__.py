"""Random numbers that are the same on every device.

Two kinds, for two needs. What is drawn once (initial weights, the order of the samples) is drawn
on the host by `host_generator` and then moved. What is drawn inside every step (dropout masks) is
computed on the device by `Stream`, from the counter-based generator of the room `kernels`: its
bits are equal on every backend, eager or compiled.
"""

from bp_arrays.random._host import host_generator
from bp_arrays.random._stream import Stream

__all__ = [
    "Stream",
    "host_generator",
]
