"""The settings of a training run, as JSON values to compare: those of a checkpoint with today's."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bp_arrays.data import fingerprint
from bp_arrays.errors import InputError

SHOWN = 70
DEPTH = 30


class Setting(NamedTuple):
    """One setting: its name in messages, as it is shown, and as it is compared."""

    name: str
    shown: str
    value: Any


def setting(name: str, value: Any, shown: str | None = None) -> Setting:
    """Return a setting; by default it is shown as its repr, shortened."""
    text = " ".join((repr(value) if shown is None else shown).split())
    return Setting(name, text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...", value)


def described(value: Any, depth: int = DEPTH) -> Any:
    """Return JSON values that are equal for equal values, whatever the process.

    Dataclasses and other objects are described by their classes and public attributes, functions
    and classes by their names.

    Examples
    --------
    >>> import bp_arrays as bp
    >>> described(bp.SGD(0.5))
    ['SGD', {'learning_rate': 0.5, 'momentum': 0.0, 'nesterov': False}]
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if depth == 0:
        return type(value).__qualname__
    if isinstance(value, np.ndarray):
        return ["array", fingerprint(value)]
    if isinstance(value, Mapping):
        return {str(key): described(part, depth - 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(part, depth - 1) for part in value]
    if isinstance(value, (set, frozenset)):  # in an order that is the same in every process
        return sorted((described(part, depth - 1) for part in value), key=json.dumps)
    if isinstance(value, functools.partial):
        return [described(part, depth - 1) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, type) or not hasattr(value, "__dict__") or callable(value):
        own = getattr(value, "__dict__", None)
        if isinstance(value, type) or not own:
            return getattr(value, "__qualname__", type(value).__qualname__)
    attributes = dict(vars(value))
    if dataclasses.is_dataclass(value):
        attributes |= {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    public = {name: part for name, part in sorted(attributes.items()) if name[:1] != "_"}
    return [type(value).__qualname__, described(public, depth - 1)]


def to_json(settings: list[Setting]) -> dict[str, Any]:
    """Return settings as JSON values."""
    return {s.name: {"shown": s.shown, "value": described(s.value)} for s in settings}


def check_settings(
    settings: list[Setting], stored: Mapping[str, Any], where: str, *, unchecked: set[str]
) -> None:
    """Raise InputError for the first setting that differs from that of a checkpoint.

    Parameters
    ----------
    settings : list of Setting
        Those of today.
    stored : mapping
        As `to_json` returned them.
    where : str
        The checkpoint, for the message.
    unchecked : set of str
        Names of settings that may differ.
    """
    for name, shown, value in settings:
        before = stored.get(name, {"shown": "none", "value": None})
        if name not in unchecked and before["value"] != described(value):
            same = before["shown"] == shown
            got = "one that differs from it" if same else shown
            raise InputError(
                f"resume: expected the {name} of the checkpoint {where}, {before['shown']}, got "
                f"{got}; pass the same {name}, or leave out resume to start training"
            )
