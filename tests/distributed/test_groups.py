"""Covers: agreement of processes, and their sockets, within one process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import bp_arrays as bp
from bp_arrays.distributed import ProcessGroup, _rendezvous as rendezvous
from bp_arrays.distributed._rendezvous import HELLO, MARK, WELCOME, ProcessIdentity
from bp_arrays.distributed._sockets import Sockets
from bp_arrays.training._agreement import share_parameters


class SecondOfTwo(ProcessGroup):
    """The process 1 of 2, where process 0 has these vectors."""

    rank, size, local_rank = 1, 2, 1

    def __init__(self, firsts):
        super().__init__(60.0)
        self.firsts = iter(firsts)

    def _sum(self, sent, received):
        received[...] = sent + next(self.firsts)

    def _gather(self, value):
        return [value if isinstance(value, bool) else value + 1, value]

    def _all_failed(self, seconds):
        return True

    def _end(self):
        raise SystemExit


def test_parameters_that_differ_by_rounding_become_those_of_the_first_process(device):
    model = bp.Model(bp.Linear(2), 3, device=device, dtype="float32", seed=0)
    options = {"loss": bp.L2Loss(), "optimizer": bp.Adam(0.1)}
    bp.fit(model, np.ones((4, 3)), np.ones((4, 2)), **options)

    def vectors():
        arrays = (*model.current_vectors(), *model.training_state.vectors)
        return list(map(model.device.to_numpy, arrays))

    firsts = [vector * np.float32(1.0 + 1e-6) for vector in vectors()]
    share_parameters(SecondOfTwo(firsts), model)
    for own, first in zip(vectors(), firsts, strict=True):
        np.testing.assert_array_equal(own, first)


def test_after_an_error_in_all_processes_they_wait_for_each_other_as_before():
    """The short time to wait for the error of the others does not stay."""
    groups = [object.__new__(Sockets) for _ in range(2)]
    groups[0]._zero, groups[1]._others = None, []
    connection, groups[1]._zero = socket.socketpair()
    groups[0]._others = [connection]
    together = []
    threads = [
        threading.Thread(target=lambda g=g: together.append(g._all_failed(20.0))) for g in groups
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [True, True]
    assert [end.gettimeout() for end in (connection, groups[1]._zero)] == [None, None]
    connection.close()
    groups[1]._zero.close()


PROGRAM = """
import json, os, sys
from bp_arrays.distributed import _rendezvous
from bp_arrays.distributed._sockets import Sockets
_rendezvous.ANSWER = 0.5
group = Sockets(float(sys.argv[1]))
print(json.dumps(group.gather(group.rank * 10)))
"""


def free_port():
    """Return a port with free ones behind it."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    return port if port < 60000 else port - 20000


def started(rank, size, port, timeout=30, **variables):
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(size)} | variables
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(timeout)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def results(*processes):
    done = [process.communicate(timeout=60) for process in processes]
    return [json.loads(out) if out else err.splitlines()[-1] for out, err in done]


def connected(port):
    """Return a connection to a process that may not listen yet."""
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_strangers_that_connect_are_no_processes_of_the_group():
    """A port scanner, a health probe, a web browser, one that says nothing, another run."""
    port = free_port()
    first = started(0, 3, port)
    probe = connected(port)
    probe.close()
    aborted = connected(port)
    aborted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    aborted.close()  # with a reset
    browser, silent, other_run, beside, cut_off, deaf = (connected(port) for _ in range(6))
    browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    other_run.sendall(HELLO.pack(MARK, b"another run", 3, 1))
    beside.sendall(ProcessIdentity.of_environment(port + 1, 1, 4).hello())  # of the next port
    own = ProcessIdentity.of_environment(port, 1, 3).hello()
    cut_off.sendall(own[:20])
    deaf.sendall(own + b"?")  # as process 1, but it does not join
    others = started(1, 3, port), started(2, 3, port)
    assert results(first, *others) == [[0, 10, 20]] * 3
    for stranger in (browser, other_run, beside, silent, cut_off, deaf):
        stranger.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert stranger.recv(100) == (WELCOME if stranger is deaf else b"")
        stranger.close()


def test_a_process_that_gave_up_and_came_again_is_let_in():
    """Process 0 may have been too busy to answer it in time."""
    port = free_port()
    first = started(0, 2, port)
    early = connected(port)
    early.sendall(ProcessIdentity.of_environment(port, 1, 2).hello())
    assert early.recv(100) == WELCOME
    early.close()
    assert results(first, started(1, 2, port)) == [[0, 10]] * 2


@pytest.mark.parametrize("how", ["silent", "talks"])
def test_where_another_program_has_the_port_the_next_one_is_used(how):
    port = free_port()
    with socket.create_server(("", port)) as stranger:
        stranger.settimeout(30)
        group = started(0, 2, port), started(1, 2, port)
        connection, _ = stranger.accept()
        if how == "talks":
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        assert results(*group) == [[0, 10]] * 2
        connection.close()


def test_the_port_of_torchruns_own_store_is_left_alone():
    port = free_port()
    variables = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "a"}
    with socket.create_server(("", port)) as store:
        assert results(*(started(k, 2, port, **variables) for k in range(2))) == [[0, 10]] * 2
        store.setblocking(False)
        with pytest.raises(BlockingIOError):
            store.accept()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ((1, 3), "a process with RANK=1 and WORLD_SIZE=3, not 2"),
        (None, "1 s have passed without process 1"),
    ],
)
def test_a_group_that_is_not_complete_is_an_error_in_one_line(second, message):
    port = free_port()
    first = started(0, 2, port, timeout=30 if second else 1)
    if second:
        other = started(*second, port, timeout=1)
    [error] = results(first)
    assert f"process 0 of 2 cannot connect to the others at 127.0.0.1:{port}" in error
    assert message in error
    if second:
        assert re.search("1 s have passed without process 0 at ports", results(other)[0])


def test_two_processes_of_one_rank_are_refused():
    first = ProcessIdentity(b"run".ljust(16, b"\0"), 3, 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def join():
            with contextlib.suppress(OSError):
                rendezvous.joined("127.0.0.1", [port], first._replace(rank=1), 2.0).close()

        others = [threading.Thread(target=join) for _ in range(2)]
        for thread in others:
            thread.start()
        with pytest.raises(ValueError, match="two processes with RANK=1"):
            rendezvous.accept_others(server, first, 5.0)
    for thread in others:
        thread.join()
