"""The progress bar: how far, the loss, the rate. Silent where nobody watches."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any

from bp_arrays.plots import in_notebook

REFRESH_SECONDS = 0.1


class Progress:
    """A bar over all steps of a training, in a terminal or a notebook; in a pipe, nothing."""

    def __init__(self, total: int | None, *, enabled: bool) -> None:
        self._bar: Any = None
        self._shown = 0.0
        if enabled:
            bar = _new_bar(total)
            self._bar = None if bar.disable else bar

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


def _new_bar(total: int | None) -> Any:
    """A bar that is disabled where nobody watches."""
    if not in_notebook():
        from tqdm import tqdm

        return tqdm(total=total, unit="step", disable=None)  # shown if stderr is a terminal
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is missing: the bar is text then
        from tqdm.auto import tqdm
    # A notebook's streams are no terminals, yet watched; what goes to stderr looks like an error.
    return tqdm(total=total, unit="step", file=sys.stdout)
