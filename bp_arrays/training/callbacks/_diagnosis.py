"""How healthy a training is: what each layer's values and errors look like, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bp_arrays.errors import InputError
from bp_arrays.inputs import prepare_targets, row_count, samples_to_device
from bp_arrays.losses import Loss
from bp_arrays.model import Model
from bp_arrays.plots import draw_health
from bp_arrays.training.callbacks._callback import Callback, Run
from bp_arrays.training.callbacks._findings import findings
from bp_arrays.training.callbacks._health import LayerHealth, health_of
from bp_arrays.trees import leaves


class Diagnosis(Callback):
    """Looks at some samples after every epoch, and says in words what is wrong, if anything.

    Parameters
    ----------
    x : array (samples, *input_shape)
        A hundred samples say enough.
    t : array
        Their targets.
    loss : Loss

    Raises
    ------
    InputError
        When the training starts, for samples that do not suit the model or are not finite.

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
            raise InputError(f"Diagnosis(loss): expected a loss such as L2Loss(), got {loss!r}")
        self.x, self.t, self.loss = x, t, loss
        self.layers: list[LayerHealth] = []

    def on_start(self, run: Run) -> None:
        self.layers = []
        self._look(run.model, 0)

    def on_epoch_end(self, run: Run) -> None:
        self._look(run.model, run.history.epochs)

    @property
    def last(self) -> list[LayerHealth]:
        """The layers after the last epoch."""
        return [h for h in self.layers if h.epoch == self.layers[-1].epoch] if self.layers else []

    def findings(self) -> list[str]:
        """What is wrong after the last epoch, in words; nothing if nothing is."""
        return findings([h for h in self.layers if h.epoch == 0], self.last)

    def table(self) -> str:
        """The layers after the last epoch, as a table."""
        header = ("layer", "mean", "deviation", "saturated", "dead", "error δ", "gradient")
        rows = [
            (
                f"{h.path} {h.kind}",
                f"{h.mean:.3g}",
                f"{h.deviation:.3g}",
                _share(h.saturated),
                _share(h.dead),
                f"{h.error:.2e}",
                "" if np.isnan(h.gradient) else f"{h.gradient:.2e}",
            )
            for h in self.last
        ]
        widths = [max(len(row[k]) for row in (header, *rows)) for k in range(len(header))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if k == 0 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (header, *rows)
        )

    def plot(self, path: str | Path | None = None) -> Any:
        """Error, spread, and saturation of each layer over the epochs; needs the extra `plot`.

        Parameters
        ----------
        path : path, optional
            Where to write the picture.

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
            return "nothing seen yet: hand the Diagnosis to fit(callbacks=[...])"
        found = self.findings() or ["nothing to worry about"]
        return "\n".join([f"after epoch {self.last[0].epoch}", self.table(), "", *found])

    def _look(self, model: Model, epoch: int) -> None:
        device = model.device
        with device.activate():
            x = samples_to_device(self.x, model.inputs, device, model.dtype, "Diagnosis(x)")
            t = prepare_targets(
                self.t, row_count(x), self.loss, model.output_shape, device, model.dtype
            )
            if not (row_count(x) and all(np.isfinite(device.to_numpy(a)).all() for a in leaves(x))):
                raise InputError("Diagnosis(x): expected samples of finite values only")
            self.layers += health_of(model, x, t, self.loss, epoch)


def _share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.0%}"
