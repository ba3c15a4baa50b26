"""The curves of a training as a picture; needs the extra `plot`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from bp_arrays.errors import InputError, MissingExtraError
from bp_arrays.training import History

LABELS = {"loss": "loss", "accuracy": "accuracy", "r2": "R²"}


def check_plot(path: Path) -> None:
    """Raise unless a picture of this kind can be drawn: called before the training.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    InputError
        If the end of the name is no kind of picture.
    """
    kinds = _figure().canvas.get_supported_filetypes()
    kind = path.suffix[1:].lower()
    if kind not in kinds:
        raise InputError(
            f"--plot {path}: cannot draw a picture of kind {kind!r}; use .png, .pdf or .svg"
        )


def curves(history: History, test: dict[str, float], title: str, kind: str) -> bytes:
    """Loss, and the metric if there is one, over the epochs, with the held-out values.

    Parameters
    ----------
    history : History
    test : dict of str to float
        Held-out values; drawn as a dashed line.
    title : str
    kind : str
        "png", "pdf", "svg", ...

    Returns
    -------
    bytes
        The content of the picture's file.
    """
    names = [name for name in LABELS if name in history]
    figure = _figure()
    figure.set_size_inches(4.8 * len(names), 3.6)
    figure.suptitle(title, fontsize=10)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw(axes, history, test, name)
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=150)
    return content.getvalue()


def _draw(axes: Any, history: History, test: dict[str, float], name: str) -> None:
    epochs = range(1, history.epochs + 1)
    marker = "o" if history.epochs == 1 else None  # a line of one point is invisible
    axes.plot(epochs, history[name], label="training", marker=marker)
    values = list(history[name])
    if f"val_{name}" in history:
        axes.plot(epochs, history[f"val_{name}"], label="validation", marker=marker)
        values += history[f"val_{name}"]
    if name in test:
        axes.axhline(test[name], color="black", linestyle="--", linewidth=1, label="held out")
    if name == "loss" and values and min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel(LABELS[name])
    axes.grid(alpha=0.3)
    axes.legend()


def _figure() -> Any:
    """An empty figure without pyplot: no window, no state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            f'--plot needs matplotlib ({error}): pip install "bp_arrays[plot]"'
        ) from None
    return Figure(layout="constrained")
