"""`ReadyFeed`: batches from an iterable."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from bp_arrays.data._feed import Batch, BatchIterator, Feed, Order
from bp_arrays.data._prefetch import Prefetch
from bp_arrays.errors import InputError
from bp_arrays.inputs import BatchSpec


class ReadyFeed(Feed):
    """An iterable whose items are batches, each checked as it is read.

    Parameters
    ----------
    spec : BatchSpec
    batches : iterable
        Of (x, t) or (x, t, sample_weight); of samples alone if no targets are needed. x may be a
        tuple or dict of arrays; a tuple of samples alone is ((x1, x2),), since a tuple is always
        (x, t). Iterated over once per epoch. One with a method `fingerprint`, which returns a text
        that is the same for the same batches, is compared by it when training is resumed.
    what : str, optional
        The name of the batches in messages.
    """

    rows = None
    repeats = False

    def __init__(self, spec: BatchSpec, batches: Iterable[Any], *, what: str = "") -> None:
        self.spec, self.batches, self.what = spec, batches, what
        self.once = iter(batches) is batches
        self._was_iterated = False

    def order(self, shuffle: bool | Order, seed: int, epoch: int) -> None:
        return None

    def fingerprint(self) -> str:
        own = getattr(self.batches, "fingerprint", None)
        if callable(own):
            return f"an iterable {own()}"
        return "an iterable"  # its batches are compared where an epoch continues

    def epoch(self, batch_size: int, order: Any, start: int = 0) -> BatchIterator:
        batches = self._checked(start)
        return Prefetch(batches) if self.spec.device.is_asynchronous else batches

    def steps(self, batch_size: int, size: int = 1) -> int | None:
        try:
            return len(self.batches)  # type: ignore[arg-type]
        except TypeError:
            return None

    def _checked(self, start: int) -> Generator[Batch]:
        number = 0
        second_pass, self._was_iterated = self._was_iterated, True
        for number, item in enumerate(self.batches, start=1):
            if number <= start:
                continue
            try:
                with self.spec.device.activate():
                    batch = self._batch(item)
            except InputError as error:
                raise type(error)(f"{self.what}batch {number}: {error}") from None
            yield batch
        if number == 0:
            if second_pass:
                got = (
                    "got none in its second pass; a generator can be iterated over only once: pass "
                    "an iterable that starts over, such as a list"
                )
            else:
                got = "(x, t), got an empty iterable"
            raise InputError(f"{self.what}batches: expected at least one batch, {got}")

    def _batch(self, item: Any) -> Batch:
        if not isinstance(item, (tuple, list)):
            item = (item,)
        if not 1 <= len(item) <= 3:
            raise InputError(f"expected (x, t) or (x, t, sample_weight), got {len(item)} parts")
        x, t, weight = (*item, None, None)[:3]
        return Batch(*self.spec.batch(x, t, weight))
