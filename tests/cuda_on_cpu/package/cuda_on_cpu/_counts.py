"""What a program asks of the emulated devices, counted: a measure of cost that needs no clock."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields

import cuda_on_cpu


@dataclass
class Counts:
    """Counts of what was done, on all devices and by all threads of the process.

    Attributes
    ----------
    kernels, products, algorithms : int
        What streams were told to compute, by themselves or as part of a graph that was launched:
        kernels; calls of cuBLAS; calls of CUB, Thrust, cuFFT and cuRAND, of several kernels each.
    to_device, to_host, on_device, fills : int
        What streams were told to copy and to fill, counted likewise.
    others : int
        What else streams were told: functions of the host, memory to free.
    graph_launches : int
    synchronizations : int
        How often the host waited for a stream, an event or a device. Copies to memory of the host
        that is not pinned make it wait too; those are in `to_host` alone.
    allocations : int
        Of memory from CUDA; what a pool has already is not counted.
    calls : int
        All that the host asked for: each of the above done by itself, a graph as one, the waits,
        the allocations, events recorded and waited for.
    """

    kernels: int = 0
    products: int = 0
    algorithms: int = 0
    to_device: int = 0
    to_host: int = 0
    on_device: int = 0
    fills: int = 0
    others: int = 0
    graph_launches: int = 0
    synchronizations: int = 0
    allocations: int = 0
    calls: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


def counts() -> Counts:
    """Return what was counted since the process began."""
    numbers = (ctypes.c_uint64 * len(fields(Counts)))()
    cuda_on_cpu.LOADED[0].cuda_on_cpu_counts(numbers)
    return Counts(*numbers)


@contextmanager
def counted() -> Iterator[Counts]:
    """Count what happens inside; the counts are there when it ends."""
    result, before = Counts(), counts()
    try:
        yield result
    finally:
        vars(result).update(vars(counts() - before))
