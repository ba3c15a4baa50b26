"""Connect the processes of a group by TCP: process 0 listens, the others find it.

    process k → process 0    HELLO: a mark, the run, the number of processes, k
    process 0 → process k    WELCOME
    process k → process 0    JOINED

Other programs connect to open ports too: port scanners, health probes, processes of another run.
They do not say this, and are disconnected; meanwhile process 0 listens to all others. Where
another program has the port, as the store of torchrun does, process 0 listens at one of the next
ones; what does not answer WELCOME is not process 0. The marks tell programs apart by accident, not
an attacker.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from typing import NamedTuple

logger = logging.getLogger("bp_arrays")

HELLO = struct.Struct("<16s16sII")
MARK, WELCOME, JOINED = b"bp_arrays hello ", b"bp_arrays welcome", b"J"

PORTS = 16
"""The number of ports, from the given one on, at which process 0 may listen."""

ANSWER = 5.0
"""Seconds within which a program on the other side has to say what is expected."""

PENDING = 256
"""Connections that have not said who they are, of which the oldest is dropped if there are more."""


class ProcessIdentity(NamedTuple):
    """The run, the number of its processes, and the number of this one."""

    run: bytes
    size: int
    rank: int

    @classmethod
    def of_environment(cls, port: int, rank: int, size: int) -> ProcessIdentity:
        """Return the identity of a process that a launcher has started.

        Runs beside each other have different ports, and maybe names, from their launchers.
        """
        names = [os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "SLURM_JOB_ID")]
        text = " ".join([str(port), *names])
        return cls(hashlib.blake2b(text.encode(), digest_size=16).digest(), size, rank)

    def hello(self) -> bytes:
        """Return the message that says so."""
        return HELLO.pack(MARK, self.run, self.size, self.rank)


def ports_from(first: int) -> range:
    """Return the ports at which process 0 may listen."""
    # there torchrun itself listens at the first one
    taken = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return range(min(first + taken, 65535), min(first + PORTS, 65536))


def listening(ports: range) -> socket.socket:
    """Return a socket that listens at the first free port.

    Raises
    ------
    OSError
        If there is none, or listening is not allowed.
    """
    for port in ports:
        try:
            return socket.create_server(("", port), backlog=PENDING)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                raise
            logger.info("port %d is in use by another program, trying the next one", port)
    raise OSError(errno.EADDRINUSE, "no port")


def accept_others(
    server: socket.socket, own: ProcessIdentity, timeout: float
) -> list[socket.socket]:
    """Return the connections to all other processes, in the order of their ranks.

    Raises
    ------
    OSError
        If one does not connect in time.
    ValueError
        If one says that the group has another size, or that it has the rank of another one.
    """
    joined: dict[int, socket.socket] = {}
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)
        pending: dict[socket.socket, Caller] = {}
        try:
            while len(joined) < own.size - 1:
                if time.monotonic() > end:
                    missing = sorted(set(range(1, own.size)) - joined.keys())
                    raise TimeoutError(
                        f"{timeout:g} s have passed without process {', '.join(map(str, missing))}"
                    )
                for key, _ in selector.select(timeout=0.2):
                    if key.fileobj is server:
                        _accept(server, selector, pending)
                        continue
                    caller = pending[key.data]
                    if caller.reads(own):
                        continue
                    selector.unregister(caller.connection)
                    del pending[key.data]
                    if caller.rank is None:
                        caller.drop("it is no process of this group")
                    elif caller.rank in joined:
                        caller.connection.close()
                        raise ValueError(f"two processes with RANK={caller.rank}")
                    else:
                        caller.connection.setblocking(True)
                        joined[caller.rank] = caller.connection
                for caller in _overdue(pending):
                    selector.unregister(caller.connection)
                    del pending[caller.connection]
                    caller.drop("it does not say who it is")
        except BaseException:
            _close(joined.values())
            raise
        finally:
            _close(pending)
    return [joined[rank] for rank in range(1, own.size)]


class Caller:
    """A program that has connected, and has not yet said all that a process of the group says.

    `rank` is that of the process once it has joined.
    """

    def __init__(self, connection: socket.socket, address: str) -> None:
        self.connection, self.address = connection, address
        self.since = time.monotonic()
        self.rank: int | None = None
        self._said = b""

    def reads(self, own: ProcessIdentity) -> bool:
        """Read what has arrived; return whether more is to come.

        Raises
        ------
        ValueError
            If it is a process of this run with another number of processes.
        """
        try:
            part = self.connection.recv(HELLO.size + len(JOINED) - len(self._said))
        except BlockingIOError:
            return True
        except OSError:
            return False
        before, self._said = len(self._said), self._said + part
        if not part or not self._said.startswith(MARK[: len(self._said)]):
            return False
        if len(self._said) < HELLO.size:
            return True
        _, run, size, rank = HELLO.unpack(self._said[: HELLO.size])
        if run != own.run:
            return False
        if size != own.size or not 0 < rank < size:
            raise ValueError(f"a process with RANK={rank} and WORLD_SIZE={size}, not {own.size}")
        if before < HELLO.size:
            try:
                self.connection.sendall(WELCOME)
            except OSError:
                return False
        if self._said[HELLO.size :] != JOINED:
            return len(self._said) == HELLO.size
        self.rank = rank
        return False

    def drop(self, why: str) -> None:
        """Close the connection."""
        logger.info("a connection from %s was closed: %s", self.address, why)
        self.connection.close()


def _accept(
    server: socket.socket, selector: selectors.BaseSelector, pending: dict[socket.socket, Caller]
) -> None:
    try:
        connection, address = server.accept()
    except OSError:  # it has gone already
        return
    connection.setblocking(False)
    pending[connection] = Caller(connection, str(address[0]))
    selector.register(connection, selectors.EVENT_READ, connection)


def _overdue(pending: dict[socket.socket, Caller]) -> list[Caller]:
    """Return those that have been silent for too long, and the oldest ones of too many."""
    now, callers = time.monotonic(), list(pending.values())
    late = [caller for caller in callers if now - caller.since > ANSWER]
    return late or callers[: max(0, len(callers) - PENDING)]


def _close(connections: Iterable[socket.socket]) -> None:
    for connection in connections:
        connection.close()


def joined(address: str, ports: range, own: ProcessIdentity, timeout: float) -> socket.socket:
    """Return the connection to process 0, which may not listen yet.

    Raises
    ------
    OSError
        If it does not answer in time.
    """
    end, others = time.monotonic() + timeout, set[int]()
    while True:
        for port in ports:
            try:
                connection = socket.create_connection((address, port), timeout=ANSWER)
            except (ConnectionError, TimeoutError):
                continue
            if _is_welcome(connection, own):
                connection.settimeout(None)
                return connection
            connection.close()
            others.add(port)
        if time.monotonic() > end:
            found = f"; another program has port {', '.join(map(str, sorted(others)))}"
            raise TimeoutError(
                f"{timeout:g} s have passed without process 0 at ports {ports[0]} to {ports[-1]}"
                f"{found if others else ''}"
            )
        time.sleep(0.05)


def _is_welcome(connection: socket.socket, own: ProcessIdentity) -> bool:
    """Say who this is; return whether the other side is process 0 of the same group."""
    try:
        connection.sendall(own.hello())
        answer = b""
        while len(answer) < len(WELCOME) and WELCOME.startswith(answer):
            part = connection.recv(len(WELCOME) - len(answer))
            if not part:
                return False
            answer += part
        if answer != WELCOME:
            return False
        connection.sendall(JOINED)
    except OSError:
        return False
    return True
