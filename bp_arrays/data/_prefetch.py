"""`Prefetch`: the items of a generator, computed in advance by a second thread."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END: Any = object()


class Prefetch(Iterator[T], Generic[T]):
    """The items of a generator, the next one computed by a second thread while one is in use.

    An error is raised in place of the item that caused it. Call `close` if the loop ends early:
    it waits for the item being computed, and closes the generator. An iterator that is only
    deleted stops its thread without waiting: a garbage collector may run anywhere, even while a
    thread is being started, and must never wait for another one.

    Parameters
    ----------
    items : generator
        Runs in the second thread only, its closing included.

    Examples
    --------
    >>> with_squares = Prefetch(n * n for n in range(3))
    >>> list(with_squares)
    [0, 1, 4]
    """

    def __init__(self, items: Generator[T]) -> None:
        # SimpleQueue.put may be called from anywhere, a finalizer included
        self._requests: SimpleQueue[bool] = SimpleQueue()
        self._results: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._ended = False
        # a daemon, as an iterator that was not closed must not keep the process alive
        self._thread = threading.Thread(
            target=_compute, args=(items, self._requests, self._results), daemon=True
        )
        self._thread.start()
        self._requests.put(True)

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item, error = self._results.get()
        if error is not None or item is _END:
            self._ended = True
            if error is not None:
                raise error
            raise StopIteration
        self._requests.put(True)
        result: T = item
        return result

    def close(self) -> None:
        """Stop: wait for the item being computed, and close the generator."""
        self._ended = True
        self._requests.put(False)
        self._thread.join()

    def __del__(self) -> None:
        self._requests.put(False)


def _compute(
    items: Generator[T],
    requests: SimpleQueue[bool],
    results: SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    """Compute one item per request, until none is left or the request is False."""
    try:
        while requests.get():
            item = next(items, _END)
            results.put((item, None))
            if item is _END:
                return
            del item  # frees its memory before the next one is computed
    except BaseException as error:
        results.put((None, error))
    finally:
        items.close()
