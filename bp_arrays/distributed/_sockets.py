"""`Sockets`: the processes that a launcher such as torchrun has started, connected by TCP.

For what is small: settings, metrics, the id of a communicator. Process 0 listens at MASTER_ADDR and
MASTER_PORT, or the next free port, the others connect to it: see `_rendezvous`. A message is JSON
or the bytes of an array, never a pickle, which would run what anybody on the network sends.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, NoReturn

import numpy as np

from bp_arrays.distributed._group import ProcessGroup
from bp_arrays.distributed._rendezvous import (
    ProcessIdentity,
    accept_others,
    joined,
    listening,
    ports_from,
)
from bp_arrays.errors import InputError
from bp_arrays.typing import HostArray

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
REGULAR, FAILED = b"R", b"F"
HEADER = struct.Struct("<cQ")


class Sockets(ProcessGroup):
    """Processes with the environment variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.

    Parameters
    ----------
    timeout : float
        Seconds to wait for the other processes.

    Raises
    ------
    InputError
        If a variable is missing, or the processes cannot be connected.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__(timeout)
        missing = [name for name in VARIABLES if name not in os.environ]
        if missing:
            raise InputError(
                f"NCCL: expected the environment variables {', '.join(VARIABLES)}, as torchrun "
                f"sets them, or a start by mpiexec; {', '.join(missing)} is missing"
            )
        self.rank, self.size = _number("RANK", 0), _number("WORLD_SIZE", 1)
        self.local_rank = _number("LOCAL_RANK", 0) if "LOCAL_RANK" in os.environ else self.rank
        if self.rank >= self.size:
            raise InputError(f"NCCL: expected RANK < WORLD_SIZE={self.size}, got {self.rank}")
        self._others: list[socket.socket] = []  # of process 0: to the others, in order
        self._zero: socket.socket | None = None  # of the others: to process 0
        self._connect(os.environ["MASTER_ADDR"], _number("MASTER_PORT", 1))

    def _sum(self, sent: HostArray, received: HostArray) -> None:
        parts = self._exchange(np.ascontiguousarray(sent).tobytes())
        arrays = [np.frombuffer(part, sent.dtype).reshape(sent.shape) for part in parts]
        received[...] = np.sum(arrays, axis=0, dtype=sent.dtype)

    def _gather(self, value: Any) -> list[Any]:
        text = json.dumps(value, default=_encoded).encode()
        return [json.loads(part, object_hook=_decoded) for part in self._exchange(text)]

    def _all_failed(self, seconds: float) -> bool:
        for connection in self._connections():
            connection.settimeout(seconds)
        try:
            return self._exchange(b"", FAILED) != []
        except OSError:
            return False
        finally:
            for connection in self._connections():
                connection.settimeout(None)

    def _end(self) -> NoReturn:
        for connection in self._connections():
            connection.close()
        os._exit(1)

    def _lost(self) -> str:
        for connection in self._connections():
            try:
                if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    return "the connection to another process was closed: it has ended"
            except BlockingIOError:
                pass
            except OSError as error:
                return f"the connection to another process failed: {error}"
        return ""

    def _connections(self) -> list[socket.socket]:
        return self._others if self._zero is None else [self._zero]

    def _connect(self, address: str, port: int) -> None:
        own, ports = ProcessIdentity.of_environment(port, self.rank, self.size), ports_from(port)
        try:
            if self.rank > 0:
                self._zero = joined(address, ports, own, self.timeout)
            elif self.size > 1:
                with listening(ports) as server:
                    self._others = accept_others(server, own, self.timeout)
        except (OSError, ValueError) as error:
            raise InputError(
                f"NCCL: process {self.rank} of {self.size} cannot connect to the others at "
                f"{address}:{port} (MASTER_ADDR, MASTER_PORT): {error}"
            ) from None

    def _exchange(self, message: bytes, kind: bytes = REGULAR) -> list[bytes]:
        """Return the messages of all processes; none if one of them has another kind."""
        if self._zero is not None:
            _send(self._zero, kind, message)
            reply, body = _receive(self._zero)
            return _split(body) if reply == kind else []
        received = [(kind, message), *map(_receive, self._others)]
        if any(other != kind for other, _ in received):
            if kind == REGULAR:
                rank = next(k for k, (other, _) in enumerate(received) if other != kind)
                raise InputError(f"process {rank} of {self.size} has failed")
            return []
        body = b"".join(struct.pack("<Q", len(part)) + part for _, part in received)
        for connection in self._others:
            _send(connection, kind, body)
        return [part for _, part in received]


def _number(name: str, least: int) -> int:
    text = os.environ[name]
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"NCCL: expected a whole number >= {least} in {name}, got {text!r}")
    return int(text)


def _send(connection: socket.socket, kind: bytes, body: bytes) -> None:
    connection.sendall(HEADER.pack(kind, len(body)) + body)


def _receive(connection: socket.socket) -> tuple[bytes, bytes]:
    kind, length = HEADER.unpack(_received(connection, HEADER.size))
    return kind, _received(connection, length)


def _received(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 2**20))
        if not part:
            raise ConnectionError("another process has ended")
        parts += part
    return bytes(parts)


def _split(body: bytes) -> list[bytes]:
    parts, start = [], 0
    while start < len(body):
        (length,) = struct.unpack_from("<Q", body, start)
        parts.append(body[start + 8 : start + 8 + length])
        start += 8 + length
    return parts


def _encoded(value: Any) -> Any:
    """Return NumPy's arrays and numbers for JSON."""
    if isinstance(value, np.ndarray) and value.ndim:
        return {"dtype": value.dtype.name, "shape": value.shape, "values": value.ravel().tolist()}
    return value.item()


def _decoded(value: dict[str, Any]) -> Any:
    if value.keys() == {"dtype", "shape", "values"}:
        return np.asarray(value["values"], value["dtype"]).reshape(value["shape"])
    return value
