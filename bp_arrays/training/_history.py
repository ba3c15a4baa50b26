"""What a training recorded, one value an epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bp_arrays.errors import InputError, unknown_name


class History(Mapping[str, list[float]]):
    """The recorded series by name: "loss", "val_loss", metrics, "learning_rate", "seconds".

    Each is a list with one float an epoch. `stopped` says why the training ended before its last
    epoch: None, "early stopping", or "interrupted". `compiled_by` says what
    ran each step as a whole: "recorded step", "jax.jit", "CUDA graph", or "" where operations ran
    one by one; `not_compiled` says why a faster way was refused, "" if none was.

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
        self.not_compiled = ""

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self._series["loss"])

    def record(self, values: Mapping[str, float]) -> None:
        """Add the values of one more epoch."""
        for name, value in values.items():
            self._series.setdefault(name, []).append(float(value))

    def best_epoch(self, monitor: str | None = None, maximize: bool | None = None) -> int:
        """The epoch, counted from 1, at which a series was best.

        Parameters
        ----------
        monitor : str, optional
            A series; by default "val_loss" with validation data, else "loss".
        maximize : bool, optional
            Whether larger is better; by default where the series is not a loss.

        Raises
        ------
        InputError
            For a series that was not recorded, or before the first epoch ended.

        Examples
        --------
        >>> history = History()
        >>> for loss in (0.5, 0.25, 0.75):
        ...     history.record({"loss": loss})
        >>> history.best_epoch()
        2
        """
        _, values, sign = monitored(self, monitor, maximize)
        if not values:
            raise InputError("there is no best epoch yet: no epoch has been completed")
        costs = [math.inf if math.isnan(value) else sign * value for value in values]
        return costs.index(min(costs)) + 1

    def check_names(self, *names: str, monitor: str | None = None) -> None:
        """Raise InputError for a series that was not recorded, naming the nearest one that was."""
        for name in names:
            if name not in self:
                raise unknown_name("series", name, self)
        monitored(self, monitor)

    def plot(
        self,
        *names: str,
        monitor: str | None = None,
        ax: Any = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Draw the curves, each loss and metric in a panel, validation beside training.

        Needs the extra `plot`. No window is opened and nothing of Matplotlib's global state is
        changed; a notebook shows the figure. To see it in a window, hand in your own `ax`.

        Parameters
        ----------
        *names : str
            The series to draw; by default all but "learning_rate" and "seconds".
        monitor : str, optional
            The series whose best epoch is marked; by default "val_loss", and nothing is marked
            without validation data.
        ax : matplotlib Axes, or one for each panel, optional
            Where to draw; by default in a new figure.
        path : path, optional
            Where to write the picture: .png, .pdf, .svg, .jpg or .webp.

        Returns
        -------
        matplotlib Figure
            Or `ax`, if it was handed in.

        Raises
        ------
        InputError
            If no epoch was completed, for a series that was not recorded, another number of
            axes than of panels, or a path that no picture can be written to.
        MissingExtraError
            If Matplotlib is not installed.

        Examples
        --------
        >>> history = History()
        >>> for k in range(1, 6):
        ...     history.record({"loss": 1 / k, "accuracy": 1 - 0.5 / k, "val_loss": 2 / k})
        >>> [ax.get_ylabel() for ax in history.plot().axes]
        ['loss', 'accuracy']
        """
        from bp_arrays.plots import (
            Best,
            check_picture,
            curves,
            draw_curves,
            panel_names,
            save_picture,
        )

        if path is not None:
            check_picture(path)
        self.check_names(*names, monitor=monitor)
        chosen = panel_names(self, names)
        best = None
        if monitor is not None or "val_loss" in self:
            best = Best(self.best_epoch(monitor), monitored(self, monitor)[0])
        if ax is None:
            drawn = figure = curves(self, chosen, best)
        else:
            axes = _one_for_each(chosen, ax)
            draw_curves(self, chosen, axes, best=best)
            drawn, figure = ax, axes[0].figure
        if path is not None:
            save_picture(figure, path)
        return drawn

    def __getitem__(self, name: str) -> list[float]:
        return self._series[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v[-1]:.6g}" for k, v in self._series.items() if v)
        return f"History({self.epochs} epochs; last: {last})" if last else "History(no epochs)"


def monitored(
    history: History, monitor: str | None, maximize: bool | None = None
) -> tuple[str, list[float], float]:
    """The series that is watched, its values, and the sign with which less is better.

    Raises
    ------
    InputError
        For a series that was not recorded.
    """
    name = monitor or ("val_loss" if "val_loss" in history else "loss")
    if name not in history:
        raise unknown_name("series to monitor", name, history)
    if maximize is None:
        maximize = not name.endswith("loss")
    return name, history[name], -1.0 if maximize else 1.0


def _one_for_each(names: Sequence[str], ax: Any) -> list[Any]:
    """The axes as a list, from one, a list, or the array that plt.subplots gives."""
    axes = list(getattr(ax, "flat", ax if isinstance(ax, (list, tuple)) else [ax]))
    if len(axes) != len(names):
        raise InputError(
            f"history.plot(ax=): expected {len(names)} axes, for {', '.join(names)}, got "
            f"{len(axes)}; name what to draw, such as history.plot({names[0]!r}, ax=ax)"
        )
    return axes
