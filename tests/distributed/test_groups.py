"""Covers: agreement of processes, and their sockets, within one process."""

from __future__ import annotations

import socket
import threading

import numpy as np

import bp_arrays as bp
from bp_arrays.distributed import ProcessGroup
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
