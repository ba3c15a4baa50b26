"""Progress bar with loss and learning rate, shown only in a terminal or a notebook."""

from __future__ import annotations

import sys
import time
import warnings
from types import TracebackType
from typing import Any

from bp_arrays.plots import in_notebook

REFRESH_SECONDS = 0.1


class Progress:
    """A bar over all steps of a training run, in a terminal or a notebook; none in a pipe."""

    def __init__(self, total: int | None, *, enabled: bool) -> None:
        self._bar: Any = None
        self._shown = 0.0
        if enabled:
            self._bar = _new_bar(total)

    def steps(self, count: int, loss: float, rate: float) -> None:
        """Advance the bar by this number of steps."""
        if self._bar is None:
            return
        self._bar.update(count)
        if time.perf_counter() - self._shown > REFRESH_SECONDS:
            self._bar.set_postfix_str(f"loss {loss:.4g}, rate {rate:.3g}", refresh=False)
            self._shown = time.perf_counter()

    def epoch(self, values: dict[str, float]) -> None:
        """Show the values of the completed epoch."""
        if self._bar is not None:
            texts = (f"{k} {v:.4g}" for k, v in values.items() if k != "learning_rate")
            self._bar.set_description_str(", ".join(texts), refresh=False)

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
    """Create a bar, or return None outside terminals and notebooks."""
    if not in_notebook():
        if not _is_terminal(sys.stderr):
            return None
        from tqdm import tqdm

        return tqdm(total=total, unit="step")
    if not _is_open(sys.stdout):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, the bar is text
        from tqdm.auto import tqdm
    # A notebook shows stderr in the color of errors: the bar goes to stdout.
    return tqdm(total=total, unit="step", file=sys.stdout)


def _is_open(stream: Any) -> bool:
    """Return whether there is such a stream: a process without a console has None."""
    return stream is not None and not getattr(stream, "closed", False)


def _is_terminal(stream: Any) -> bool:
    return _is_open(stream) and hasattr(stream, "isatty") and bool(stream.isatty())
