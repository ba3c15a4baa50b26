"""Work done ahead by a second thread."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def ahead(items: Generator[T]) -> Iterator[T]:
    """The same items, the next one made by a second thread while the last is in use.

    An error in making an item is raised where that item would have come. Whoever stops early
    waits for the item under way, and `items` is closed.
    """
    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            following = thread.submit(next, items, _END)
            while True:
                item = following.result()
                if item is _END:
                    return
                following = thread.submit(next, items, _END)
                yield item
                del item  # or it would live on while the one after the next is made
    finally:
        items.close()
