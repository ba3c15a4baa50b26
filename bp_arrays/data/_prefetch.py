"""Items made in advance by a second thread."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_END: Any = object()


class Prefetch(Iterator[T], Generic[T]):
    """The items of a generator, the next one made by a second thread while one is in use.

    An error in making an item is raised where that item would have come. `close` it where the
    loop ends early: that waits for the item under way, and closes the generator. An iterator
    that is only dropped tells its thread to do so, and waits for nothing: a garbage collector may
    run anywhere, even while a thread is being started, and must never wait for another one.

    Parameters
    ----------
    items : generator
        Runs in the second thread alone, its closing included.

    Examples
    --------
    >>> with_squares = Prefetch(n * n for n in range(3))
    >>> list(with_squares)
    [0, 1, 4]
    """

    def __init__(self, items: Generator[T]) -> None:
        # SimpleQueue.put may be called from anywhere, a finalizer included.
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._ended = False
        # A daemon: an iterator that nobody closed must not keep the process from ending.
        self._thread = threading.Thread(
            target=_make, args=(items, self._orders, self._made), daemon=True
        )
        self._thread.start()
        self._orders.put(True)

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item, error = self._made.get()
        if error is not None or item is _END:
            self._ended = True
            if error is not None:
                raise error
            raise StopIteration
        self._orders.put(True)
        made: T = item
        return made

    def close(self) -> None:
        """Stop making items: wait for the one under way, and close the generator."""
        self._ended = True
        self._orders.put(False)
        self._thread.join()

    def __del__(self) -> None:
        self._orders.put(False)


def _make(
    items: Generator[T],
    orders: SimpleQueue[bool],
    made: SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    """Make one item per order, until there is none left or the order is to stop."""
    try:
        while orders.get():
            item = next(items, _END)
            made.put((item, None))
            if item is _END:
                return
            del item  # or it would live on while the next one is made
    except BaseException as error:
        made.put((None, error))
    finally:
        items.close()
