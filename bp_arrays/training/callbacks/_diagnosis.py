"""`Diagnosis`: statistics of each layer's values and errors after every epoch, and findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.losses import Loss, doubled_activations
from bp_arrays.model import Model
from bp_arrays.plots import draw_health
from bp_arrays.training.callbacks._callback import Callback, Run
from bp_arrays.training.callbacks._findings import crawls, findings
from bp_arrays.training.callbacks._health import LayerHealth, Movement, gain_of, health_of
from bp_arrays.training.callbacks._probe import probe_samples, trained_parameters
from bp_arrays.typing import HostArray


class Diagnosis(Callback):
    """Record statistics of each layer on some samples after every epoch, and report problems.

    Parameters
    ----------
    x : array (samples, *input_shape)
        About a hundred samples are enough.
    t : array
        The targets of the samples.
    loss : Loss

    Raises
    ------
    InputError
        At the start of training, for samples that do not fit the model or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import bp_arrays as bp
    >>> from bp_arrays.training import Diagnosis
    >>> x, t = np.ones((4, 2)), np.zeros((4, 1))
    >>> diagnosis = Diagnosis(x, t, bp.L2Loss())
    >>> net = bp.Sequential(bp.Linear(3), bp.Sigmoid(), bp.Linear(1))
    >>> history = bp.fit(bp.Model(net, 2, device="cpu"), x, t, loss=bp.L2Loss(),
    ...                  optimizer=bp.SGD(0.1), callbacks=[diagnosis])
    >>> diagnosis.findings()
    []
    """

    def __init__(self, x: Any, t: Any, loss: Loss) -> None:
        if not isinstance(loss, Loss):
            raise InputError(f"Diagnosis(loss=): expected a loss such as L2Loss(), got {loss!r}")
        self.x, self.t, self.loss = x, t, loss
        self.layers: list[LayerHealth] = []
        self.steps: list[Movement] = []
        self._start: HostArray | None = None
        self._doubled: list[str] = []

    def on_start(self, run: Run) -> None:
        self.layers, self.steps = [], []
        self._doubled = doubled_activations(run.model.net, self.loss)
        self._start = trained_parameters(run.model)
        self._measure(run.model, 0)

    def on_epoch_end(self, run: Run) -> None:
        self._measure(run.model, run.history.epochs)

    def on_end(self, run: Run) -> None:
        self._start = None  # as large as the model

    def state(self) -> dict[str, Any]:
        return {
            "layers": [vars(layer) for layer in self.layers],
            "steps": [vars(step) for step in self.steps],
            "start": self._start,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.layers = [
            LayerHealth(**values | {"same": tuple(map(tuple, values["same"]))})
            for values in state["layers"]
        ]
        self.steps = [Movement(**values) for values in state["steps"]]
        self._start = state["start"]

    @property
    def last(self) -> list[LayerHealth]:
        """Statistics of the layers after the last epoch."""
        if not self.layers:
            return []
        epoch = self.layers[-1].epoch
        return [h for h in self.layers if h.epoch == epoch]

    def findings(self) -> list[str]:
        """List the problems after the last epoch, each in one sentence."""
        before = [h for h in self.layers if h.epoch == 0]
        return [*self._doubled, *findings(before, self.last, self.steps)]

    def table(self) -> str:
        """Format the statistics after the last epoch as a table."""
        header = ("layer", "mean", "std", "saturated", "dead", "error δ", "gradient")
        rows = [
            (
                f"{h.path} {h.kind}",
                f"{h.mean:.3g}",
                f"{h.std:.3g}",
                _percent(h.saturated),
                _percent(h.dead),
                f"{h.error:.2e}",
                "" if np.isnan(h.gradient) else f"{h.gradient:.2e}",
            )
            for h in self.last
        ]
        widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]

        def line(row: tuple[str, ...]) -> str:
            first, *others = row
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            return "  ".join([first.ljust(widths[0]), *cells]).rstrip()

        return "\n".join(line(row) for row in (header, *rows))

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw error, spread and saturation of each layer over the epochs (extra: plot).

        Parameters
        ----------
        path : path, optional
            File to write the figure to.

        Returns
        -------
        matplotlib Figure
        """
        figure = draw_health(self.layers)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def __str__(self) -> str:
        if not self.layers:
            return "no epoch recorded: pass the Diagnosis to fit(callbacks=[...])"
        problems = self.findings() or ["no problems"]
        return "\n".join([f"after epoch {self.last[0].epoch}", self.table(), "", *problems])

    def _measure(self, model: Model, epoch: int) -> None:
        with model.device.activate():
            x, t = probe_samples("Diagnosis", model, self.x, self.t, self.loss)
            layers, loss = health_of(model, x, t, self.loss, epoch)
            self.layers += layers
            step = Movement(epoch, loss, self._distance(model))
            if self.steps and crawls(self.steps[0], step):
                step = replace(step, gain=gain_of(model, x, t, self.loss))
            self.steps.append(step)

    def _distance(self, model: Model) -> float:
        """Return how far the parameters are from those at the start, as a part of their length."""
        if self._start is None or not self._start.any():
            return float("nan")
        distance = np.linalg.norm(trained_parameters(model) - self._start)
        return float(distance / np.linalg.norm(self._start))


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"
