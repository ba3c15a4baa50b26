"""`ProcessGroup`: the processes that train one model together, and what they exchange.

Every method but `abort` is collective: all processes call it, in the same order. Between the
processes of a group nothing but sums of vectors is exchanged in a step, so a process that fails
would leave the others waiting for ever. Two things end them instead:

    1.  `guard`: a process that raises an error waits a few seconds for the others to fail alike,
        as they do for a wrong argument; if they do not, it ends all of them with its error.
    2.  A second thread ends all processes if one waits for the others longer than `timeout`.
"""

from __future__ import annotations

import sys
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from bp_arrays.checks import as_number
from bp_arrays.devices import Device
from bp_arrays.errors import InputError
from bp_arrays.typing import Array, HostArray

FAIL_TOGETHER = 3.0
"""Seconds that a process with an error waits for the others to fail too."""

SHOWN = 60
"""Characters of a setting that messages show."""


class ProcessGroup(ABC):
    """Base class of groups of processes.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        The number of processes.
    local_rank : int
        The number of this process among those of its machine.
    timeout : float
        Seconds that a process waits for the others before it ends all of them.
    """

    rank: int
    size: int
    local_rank: int

    def __init__(self, timeout: float) -> None:
        self.timeout = as_number(type(self).__name__, "timeout", timeout, above=0.0)
        self._since: float | None = None
        self._watching = False

    # -- what a kind of group defines ----------------------------------------------------------

    @abstractmethod
    def _sum(self, sent: HostArray, received: HostArray) -> None:
        """Write the sum of the processes' float arrays to `received`, the same bits in each."""

    @abstractmethod
    def _gather(self, value: Any) -> list[Any]:
        """Return the values of all processes in the order of their ranks."""

    @abstractmethod
    def _all_failed(self, seconds: float) -> bool:
        """Return True if every process calls this within some seconds."""

    @abstractmethod
    def _end(self) -> NoReturn:
        """End all processes at once."""

    def _lost(self) -> str:
        """Return why another process cannot be reached any more; "" if it can."""
        return ""

    def why_not_on(self, device: Device) -> str:
        """Return why arrays of a device cannot be summed; "" if they can."""
        return ""

    # -- what processes exchange -----------------------------------------------------------------

    def sum_into(self, sent: HostArray, received: HostArray) -> None:
        """Write the sum of the processes' float vectors on the host to `received`."""
        self._since = time.monotonic()
        self._sum(sent, received)
        self._since = None

    def sum_of(self, vector: Array, device: Device) -> Array:
        """Return the sum of the processes' float vectors on a device; by way of the host."""
        sent = device.to_numpy(vector)
        received = sent.copy()
        self.sum_into(sent, received)
        return device.asarray(received, str(received.dtype))

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes: None, numbers, text, and lists and dicts of them."""
        self._since = time.monotonic()
        values = self._gather(value)
        self._since = None
        return values

    def first(self, value: Any) -> Any:
        """Return the value of process 0."""
        return self.gather(value if self.rank == 0 else None)[0]

    # -- failures ------------------------------------------------------------------------------

    def abort(self, message: str) -> NoReturn:
        """Write a line to stderr, and end all processes."""
        line = f"bp_arrays: process {self.rank} of {self.size}: {' '.join(message.split())}"
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}; all processes end\n")
            sys.stderr.flush()
        self._end()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """End all processes if the block fails in this one and not in all of them."""
        if self.size > 1 and not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, daemon=True).start()
        try:
            yield
        except BaseException as error:
            self._since = None
            if self.size > 1 and not self._all_failed(FAIL_TOGETHER):
                self.abort(f"{type(error).__name__}: {error}")
            raise

    @contextmanager
    def checked_together(self) -> Iterator[None]:
        """Raise the first process's InputError in all of them, if the block raises any."""
        message = None
        try:
            yield
        except InputError as error:
            message = str(error)
            self.gather(message)
            raise
        for rank, text in enumerate(self.gather(message)):
            if text is not None:
                raise InputError(f"process {rank} of {self.size}: {text}")

    def require_same(self, **facts: Any) -> None:
        """Raise InputError in all processes unless each has the same facts, which are compared.

        Parameters
        ----------
        **facts
            By name, compared and shown as text.
        """
        texts = {name.replace("_", " "): str(value) for name, value in facts.items()}
        everyone = self.gather(texts)
        for rank, others in enumerate(everyone):
            for name, text in everyone[0].items():
                other = others.get(name, "none")
                if other != text:
                    shown, got = text[:SHOWN], other[:SHOWN]
                    if shown == got:  # they differ in what is cut off
                        shown, got = (f"{each[:20]}... {_checksum(each)}" for each in (text, other))
                    raise InputError(
                        f"fit(distributed=): expected the same {name} in all processes, got "
                        f"{shown} in process 0 and {got} in process {rank}; start all of them with "
                        "the same script, options and files"
                    )

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.timeout / 4))
            since = self._since
            if since is not None and time.monotonic() - since > self.timeout:
                self.abort(
                    f"waited {self.timeout:g} s for another process, which is stuck or much "
                    "slower (see timeout=)"
                )
            if since is not None and (lost := self._lost()):
                self.abort(lost)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank} of {self.size})"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
