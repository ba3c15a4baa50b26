"""The workloads: multilayer perceptrons with ReLU, cross-entropy and Adam, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bp_arrays.command_line._speed import operations

HostArray = np.ndarray[Any, Any]

Epoch = Callable[[HostArray], float]
"""A contestant: trains one epoch on the rows in that order, returns its mean loss."""

LEARNING_RATE, EPSILON = 2e-4, 1e-12
"""Chosen to make the libraries comparable: scikit-learn clips the loss of a sample at 15.9, which
these losses do not reach, and like Thinc adds ε to √v instead of √v̂, equal for an ε this small."""


@dataclass(frozen=True)
class Workload:
    """A network and a batch size, with the data, initial weights and batches that all share.

    Parameters
    ----------
    layers : tuple of int
        Inputs, hidden units, classes.
    batch : int
    steps : int
        Steps of one measured run: enough to make its start negligible.
    """

    layers: tuple[int, ...]
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.layers))}, {self.batch}"

    @property
    def parameters(self) -> int:
        return sum((n + 1) * m for n, m in zip(self.layers, self.layers[1:], strict=False))

    @property
    def operations(self) -> int:
        """Return the multiplications and additions of a step's matrix products."""
        return operations(self.layers, self.batch)

    @cached_property
    def x(self) -> HostArray:
        rng = np.random.default_rng(0)
        return rng.normal(size=(self.batch * self.steps, self.layers[0])).astype(np.float32)

    @cached_property
    def t(self) -> HostArray:
        return np.random.default_rng(1).integers(0, self.layers[-1], self.batch * self.steps)

    @cached_property
    def weights(self) -> list[tuple[HostArray, HostArray]]:
        """Return (w, b) of each layer, with w of shape (in, out)."""
        rng = np.random.default_rng(2)
        return [
            (
                (rng.normal(size=(n, m)) * np.sqrt(2.0 / n)).astype(np.float32),
                np.zeros(m, np.float32),
            )
            for n, m in zip(self.layers, self.layers[1:], strict=False)
        ]


CPU = (
    Workload((784, 30, 10), 10, 2000),
    Workload((64, 32, 10), 32, 4000),
    Workload((784, 100, 10), 200, 200),
    Workload((784, 512, 512, 10), 128, 100),
    Workload((1024, 2048, 2048, 2048, 10), 256, 6),
)
GPU = (
    *CPU[:3],
    Workload((784, 512, 512, 10), 128, 200),
    Workload((1024, 2048, 2048, 2048, 10), 256, 50),
    Workload((4096, 4096, 4096, 10), 4096, 8),
)


def shuffled(workload: Workload, epoch: int) -> HostArray:
    """Return the order of the rows in an epoch, the same for every library."""
    return np.random.default_rng([3, epoch]).permutation(len(workload.x))


def batches(workload: Workload, order: HostArray) -> Iterator[tuple[HostArray, HostArray]]:
    """Yield the rows of each step, gathered by NumPy."""
    for start in range(0, len(order), workload.batch):
        rows = order[start : start + workload.batch]
        yield workload.x[rows], workload.t[rows]
