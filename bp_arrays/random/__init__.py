"""Random numbers that are the same on every device.

Initial weights and the order of the samples are drawn once, on the host, by `host_generator`.
Dropout masks are drawn in every step, on the device, by `Stream`, with the counter-based generator
of the package `kernels`: its bits are equal on every backend, eager or compiled.
"""

from bp_arrays.random._host import host_generator
from bp_arrays.random._seeds import checked_seed
from bp_arrays.random._stream import BatchPart, Stream

__all__ = [
    "BatchPart",
    "Stream",
    "checked_seed",
    "host_generator",
]
