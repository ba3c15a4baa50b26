"""`Workers`: run the cases in threads; a case that does not return ends the run and is named."""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

POLL = 0.1
"""Seconds between two looks at the cases that are running."""


class TimedOut(Exception, Generic[Item]):
    """An item that did not return within the limit."""

    def __init__(self, item: Item) -> None:
        super().__init__()
        self.item = item


class Workers:
    """A number of threads that apply a function to items.

    The threads are daemons, unlike those of concurrent.futures: a case that never returns then
    does not keep the process alive.

    Parameters
    ----------
    count : int
    limit : float, optional
        Seconds after which an item counts as hanging.
    watchdog : Watchdog, optional
        Told of every item that starts and ends.
    """

    def __init__(self, count: int, limit: float | None = None, watchdog: Any = None) -> None:
        self.count, self.limit, self.watchdog = count, limit, watchdog

    def mapped(
        self,
        items: Sequence[Item],
        function: Callable[[Item], Result],
        name: Callable[[Item], str],
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in order.

        Raises
        ------
        TimedOut
            With the first item that runs for longer than the limit.
        """
        if self.count == 1 and self.limit is None:
            yield from ((item, function(item)) for item in items)
            return
        stop = threading.Event()
        numbers = itertools.count()  # its next() is atomic
        results: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        started: dict[int, float] = {}

        def work() -> None:
            while not stop.is_set() and (number := next(numbers)) < len(items):
                started[number] = time.monotonic()
                result, raised = None, None
                try:
                    self._tell(f"+ {number} {name(items[number])}")
                    result = function(items[number])
                except BaseException as error:  # raised again by the thread that reads it
                    raised = error
                self._tell(f"- {number}")
                started.pop(number, None)
                results.put((number, result, raised))

        for _ in range(min(self.count, len(items))):
            threading.Thread(target=work, daemon=True).start()
        ready: dict[int, Any] = {}
        try:
            for number, item in enumerate(items):
                while number not in ready:
                    with suppress(queue.Empty):
                        done, result, error = results.get(timeout=POLL)
                        if error is not None:
                            raise error
                        ready[done] = result
                        continue
                    self._check_limit(items, started)
                yield item, ready.pop(number)
        finally:
            stop.set()

    def _check_limit(self, items: Sequence[Item], started: dict[int, float]) -> None:
        if self.limit is None:
            return
        now = time.monotonic()
        for number, since in list(started.items()):
            if now - since > self.limit:
                raise TimedOut(items[number])

    def _tell(self, line: str) -> None:
        if self.watchdog is not None:
            self.watchdog.tell(line)


PROGRAM = r"""
import os, select, signal, sys, time
parent, limit = int(sys.argv[1]), float(sys.argv[2])
running, rest = {}, b""
def say(what):
    for _, name in running.values():
        print(f"bp-arrays: error: {name} {what}", file=sys.stderr, flush=True)
while True:
    if select.select([0], [], [], 0.2)[0]:
        data = os.read(0, 65536)
        if not data:  # the process ended
            say("was running when the process ended; run it alone with --only and --workers 1")
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            sign, _, text = line.decode().partition(" ")
            number, _, name = text.partition(" ")
            if sign == "+":
                running[number] = (time.monotonic(), name)
            else:
                running.pop(number, None) if sign == "-" else running.clear()
    late = {n: r for n, r in running.items() if time.monotonic() - r[0] > limit}
    if late:
        running = late
        say("did not return and blocks Python; try --workers 1")
        os.kill(parent, signal.SIGKILL)
        break
"""


class Watchdog:
    """A process that names the running case if this one dies, or is blocked for too long.

    A library that waits in C while it holds Python's lock stops every thread, also the one that
    looks at the time. Only another process can end that.

    Parameters
    ----------
    limit : float
        Seconds after which a case that is running ends this process.
    """

    def __init__(self, limit: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", PROGRAM, str(os.getpid()), str(limit)],
            stdin=subprocess.PIPE,
        )

    def tell(self, line: str) -> None:
        """Send a line: "+ number name" when a case starts, "- number" when it ends."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # it ended, or was told to
            os.write(self._process.stdin.fileno(), f"{line}\n".encode())

    def __enter__(self) -> Watchdog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.tell("done")
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
