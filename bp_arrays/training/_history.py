"""`History`: recorded series of a training run, one value per epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bp_arrays.errors import InputError, unknown_name
from bp_arrays.files import write_atomically
from bp_arrays.model import Model


class History(Mapping[str, list[float]]):
    """The recorded series by name: "loss", "val_loss", metrics, "learning_rate", "seconds".

    In mixed precision with float16 also "skipped_steps", whose gradients overflowed. Each is a list
    with one float per epoch. `stopped` is the reason why training ended before its
    last epoch: None, "early stopping", or "interrupted". `compiled_by` names what ran each step as
    a whole: "recorded step", "jax.jit", "CUDA graph", or "" if operations ran one by one;
    `not_compiled` is the reason why a faster way was refused, or "". `blas_threads` is the number
    of threads chosen for NumPy's matrix products, None if they were left alone. If training ended
    by restoring the best parameters, `kept_by` is the series by which they were the best, and
    `kept_epoch` their epoch, counted from 1, or None for those before the first; without restoring
    "" and None.

    Parameters
    ----------
    series : mapping of str to sequence of float, optional
        Series to begin with, of one length, such as `model.training_state.history`.

    Examples
    --------
    >>> history = History()
    >>> history.record({"loss": 0.5, "seconds": 0.1})
    >>> history.record({"loss": 0.25, "seconds": 0.1})
    >>> history["loss"], history.epochs
    ([0.5, 0.25], 2)

    Two histories are joined by `+`, for example after training was continued; a series that only
    one of them has is NaN in the epochs of the other:

    >>> (history + History({"loss": [0.125], "seconds": [0.1]}))["loss"]
    [0.5, 0.25, 0.125]
    """

    def __init__(self, series: Mapping[str, Sequence[float]] | None = None) -> None:
        self._series: dict[str, list[float]] = {"loss": [], "learning_rate": [], "seconds": []}
        for name, values in (series or {}).items():
            self._series[name] = [float(value) for value in values]
        self.stopped: str | None = None
        self.compiled_by = ""
        self.not_compiled = ""
        self.blas_threads: int | None = None
        self.kept_epoch: int | None = None
        self.kept_by = ""

    @property
    def epochs(self) -> int:
        """Number of completed epochs."""
        return len(self._series["loss"])

    def record(self, values: Mapping[str, float]) -> None:
        """Append the values of one epoch."""
        for name, value in values.items():
            self._series.setdefault(name, []).append(float(value))

    def best_epoch(self, monitor: str | None = None, maximize: bool | None = None) -> int | None:
        """Return the epoch, counted from 1, at which a series was best.

        None if no value is finite: such an epoch is never the best, as for `EarlyStopping`.

        Parameters
        ----------
        monitor : str, optional
            A series; by default "val_loss" with validation data, else "loss".
        maximize : bool, optional
            Whether larger is better; by default unless the series is a loss.

        Raises
        ------
        InputError
            For a series that was not recorded, or before the end of the first epoch.

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
            raise InputError("best_epoch: expected a completed epoch, got none; train first")
        costs = [cost(value, sign) for value in values]
        best = min(costs)
        return costs.index(best) + 1 if best < math.inf else None

    def check_names(self, *names: str, monitor: str | None = None) -> None:
        """Raise InputError for a series that was not recorded, with the nearest known name."""
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
        """Draw the curves: one panel per loss and metric, with training and validation data.

        Requires the extra `plot`. Opens no window and does not change Matplotlib's global state;
        a notebook displays the figure. To see it in a window, pass your own `ax`.

        Parameters
        ----------
        *names : str
            The series to draw; by default all except "learning_rate" and "seconds".
        monitor : str, optional
            The series whose best epoch is marked; by default the epoch whose parameters the model
            kept is marked, or else the best of "val_loss", or none without validation data.
        ax : matplotlib Axes, or one for each panel, optional
            Axes to draw into; by default in a new figure.
        path : path, optional
            File to write the figure to: .png, .pdf, .svg, .jpg or .webp.

        Returns
        -------
        matplotlib Figure
            Or `ax`, if it was passed.

        Raises
        ------
        InputError
            If no epoch was completed, for a series that was not recorded, a wrong number of
            axes, or a path that cannot be written to.
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
        if monitor is None and self.kept_by:
            best = None if self.kept_epoch is None else Best(self.kept_epoch, self.kept_by)
        elif monitor is not None or "val_loss" in self:
            epoch = self.best_epoch(monitor)
            best = None if epoch is None else Best(epoch, monitored(self, monitor)[0])
        if ax is None:
            drawn = figure = curves(self, chosen, best)
        else:
            axes = _axes_for(chosen, ax)
            draw_curves(self, chosen, axes, best=best)
            drawn, figure = ax, axes[0].figure
        if path is not None:
            save_picture(figure, path)
        return drawn

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        model: Model | None = None,
        test: Any = None,
        classes: Sequence[str] = (),
        title: str = "",
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an offline HTML page about the training run.

        It shows the curves, with the best epoch marked; with a model its layers; with a model and
        test data its scores: the confusion matrix, precision, recall and F1 of each class, or R²,
        RMSE, MAE and the predicted against the true values; of a `bp.data.Table` its columns too.

        Parameters
        ----------
        path : path, optional
            File to write the page to.
        model : Model, optional
        test : Table or (x, t), optional
            Test data; t of classes are whole numbers (rows,), of values (rows, outputs).
        classes : sequence of str, optional
            The names of the classes; by default those of the table, or numbers.
        title : str, optional
        settings : dict of str to anything, optional
            Further lines, such as {"loss": loss, "optimizer": optimizer}.

        Returns
        -------
        str
            The page.

        Raises
        ------
        InputError
            For test data without a model, or that does not fit it.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> history = History()
        >>> history.record({"loss": 0.5, "seconds": 0.1})
        >>> page = history.to_html(settings={"optimizer": "SGD(0.1)"})
        """
        from bp_arrays.training._page import page_of

        page = page_of(self, model, test, classes, title, settings or {}).to_html()
        if path is not None:
            write_atomically(path, page.encode())
        return page

    def __add__(self, later: Mapping[str, Sequence[float]]) -> History:
        """Return the history of this training run and the one that continued it."""
        if not isinstance(later, Mapping):
            return NotImplemented
        joined = joined_series(self, later)
        history = History(joined)
        if isinstance(later, History):
            history.stopped = later.stopped
            history.compiled_by, history.not_compiled = later.compiled_by, later.not_compiled
            history.kept_by = later.kept_by
            if later.kept_epoch is not None:
                history.kept_epoch = self.epochs + later.kept_epoch
            elif later.kept_by == self.kept_by:  # the best of all was in this run
                history.kept_epoch = self.kept_epoch
        return history

    def __radd__(self, earlier: Mapping[str, Sequence[float]]) -> History:
        return History(earlier) + self if isinstance(earlier, Mapping) else NotImplemented

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
    """Return the monitored series, its values, and the sign that makes smaller values better.

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


def _axes_for(names: Sequence[str], ax: Any) -> list[Any]:
    """Return the axes as a list, from one, a list, or the array of plt.subplots."""
    if hasattr(ax, "flat"):
        axes = list(ax.flat)
    else:
        axes = list(ax) if isinstance(ax, (list, tuple)) else [ax]
    if len(axes) != len(names):
        raise InputError(
            f"History.plot(ax=): expected {len(names)} axes, for {', '.join(names)}, got "
            f"{len(axes)}; name the series to draw, such as history.plot({names[0]!r}, ax=ax)"
        )
    return axes


def cost(value: float, sign: float) -> float:
    """Return a number that is smaller for a better value, and infinite for NaN and infinity."""
    return sign * value if math.isfinite(value) else math.inf


def joined_series(
    first: Mapping[str, Sequence[float]], second: Mapping[str, Sequence[float]]
) -> dict[str, list[float]]:
    """Return the series of two histories, one after the other; NaN where one lacks a series."""
    lengths = [max(map(len, series.values()), default=0) for series in (first, second)]

    def padded(series: Mapping[str, Sequence[float]], name: str, length: int) -> list[float]:
        values = list(series.get(name, ()))
        return [math.nan] * (length - len(values)) + values

    return {
        name: padded(first, name, lengths[0]) + padded(second, name, lengths[1])
        for name in {**first, **second}
    }
