"""Covers: data/_prefetch.py: items made in advance, errors, closing, and what a collector does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import pytest

from bp_arrays.data._prefetch import Prefetch


def counting(closed=None, stop=5):
    try:
        yield from range(stop)
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def test_items_come_in_order_and_end():
    items = Prefetch(counting())
    assert list(items) == [0, 1, 2, 3, 4]
    with pytest.raises(StopIteration):
        next(items)


def test_one_item_is_made_while_another_is_in_use():
    made = []

    def items():
        for k in range(10):
            made.append(k)
            yield k

    prefetched = Prefetch(items())
    next(prefetched)
    deadline = time.monotonic() + 10
    while len(made) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [0, 1]
    prefetched.close()


def test_an_error_is_raised_where_the_item_would_have_come():
    def items():
        yield 1
        raise ValueError("the second item cannot be made")

    prefetched = Prefetch(items())
    assert next(prefetched) == 1
    with pytest.raises(ValueError, match="second item"):
        next(prefetched)
    with pytest.raises(StopIteration):
        next(prefetched)


def test_closing_waits_for_the_thread_and_closes_the_generator_there():
    closed = []
    prefetched = Prefetch(counting(closed, stop=1000))
    next(prefetched)
    thread = prefetched._thread
    prefetched.close()
    assert not thread.is_alive() and closed == [thread.name]
    prefetched.close()  # again is no error
    with pytest.raises(StopIteration):
        next(prefetched)


def test_a_dropped_iterator_ends_its_thread_without_waiting():
    closed = []
    prefetched = Prefetch(counting(closed, stop=1000))
    next(prefetched)
    thread = prefetched._thread
    del prefetched
    gc.collect()
    thread.join(10)
    assert not thread.is_alive() and closed == [thread.name]


COLLECTED_WHILE_A_THREAD_STARTS = """
import faulthandler, gc, sys, threading
from bp_arrays.data._prefetch import Prefetch
faulthandler.dump_traceback_later(20, exit=True)

def items():
    while True:
        yield 1

class Collects(threading.Thread):
    def _set_ident(self):
        super()._set_ident()
        gc.set_threshold(gc.get_count()[0] + {allocations})
        gc.enable()

gc.disable()
batches = Prefetch(items())
next(batches)
cycle = [batches]
cycle.append(cycle)
del batches, cycle
Collects(target=print, args=("started",)).start()
"""


@pytest.mark.parametrize("allocations", [1, 2, 3, 4, 5, 6, 8, 12])
def test_the_garbage_collector_never_waits_for_a_thread(allocations):
    """It may run while another thread is being started, and would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTED_WHILE_A_THREAD_STARTS.format(allocations=allocations)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


def test_a_process_ends_although_an_iterator_is_left_open():
    code = (
        "from bp_arrays.data._prefetch import Prefetch\n"
        "items = Prefetch(iter_ for iter_ in range(9))\n"
        "print(next(items))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
