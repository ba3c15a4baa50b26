"""What a training recorded, one value an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class History(Mapping[str, list[float]]):
    """The recorded series by name: "loss", "val_loss", metrics, "learning_rate", "seconds".

    Each is a list with one float an epoch. `stopped` says why the training ended before its last
    epoch: None, "early stopping", or "interrupted". `compiled_by` says what
    ran each step as a whole: "jax.jit", "CUDA graph", or "" where nothing did.

    Examples
    --------
    >>> history = History()
    >>> history.record({"loss": 0.5, "seconds": 0.1})
    >>> history.record({"loss": 0.25, "seconds": 0.1})
    >>> history["loss"], history.epochs
    ([0.5, 0.25], 2)
    """

    def __init__(self) -> None:
        self._series: dict[str, list[float]] = {"loss": [], "learning_rate": [], "seconds": []}
        self.stopped: str | None = None
        self.compiled_by = ""

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self._series["loss"])

    def record(self, values: Mapping[str, float]) -> None:
        """Add the values of one more epoch."""
        for name, value in values.items():
            self._series.setdefault(name, []).append(float(value))

    def __getitem__(self, name: str) -> list[float]:
        return self._series[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v[-1]:.6g}" for k, v in self._series.items() if v)
        return f"History({self.epochs} epochs; last: {last})" if last else "History(no epochs)"
