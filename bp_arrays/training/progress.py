"""The progress bar: how far, the loss, the rate. Silent where nobody watches."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

REFRESH_SECONDS = 0.1


class Progress:
    """A bar over all steps of a training; shows nothing unless stderr is a terminal."""

    def __init__(self, total: int | None, *, enabled: bool) -> None:
        self._bar: Any = None
        self._shown = 0.0
        if enabled:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="step", disable=None, leave=True)
            if self._bar.disable:
                self._bar = None

    def steps(self, count: int, loss: float, rate: float) -> None:
        """Note that so many more steps are done."""
        if self._bar is None:
            return
        self._bar.update(count)
        if time.perf_counter() - self._shown > REFRESH_SECONDS:
            self._bar.set_postfix_str(f"loss {loss:.4g}, rate {rate:.3g}", refresh=False)
            self._shown = time.perf_counter()

    def epoch(self, values: dict[str, float]) -> None:
        """Show the values of the epoch just finished."""
        if self._bar is not None:
            shown = (f"{k} {v:.4g}" for k, v in values.items() if k != "learning_rate")
            self._bar.set_description_str(", ".join(shown), refresh=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
